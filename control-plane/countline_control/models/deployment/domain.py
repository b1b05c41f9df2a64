"""What a deployment is asked for, and what it reports. Pure."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class GoldenClip:
    """The clip that an upload brings."""

    clip: str = ""
    """Name for people."""
    size_bytes: float = 0.0
    """0 if the upload brings no clip."""
    digest: str = ""
    truth: str = ""
    """JSON, see `countline_models.deploy.truth`."""


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """The header of an upload."""

    name: str
    size_bytes: float
    digest: str
    """SHA-256 of the ONNX file, 64 hexadecimal digits."""
    labels: tuple[str, ...] = ()
    """Class names that replace those of the file."""
    comment: str = ""
    promote: bool = False
    golden: GoldenClip = GoldenClip()
    target: str = ""
    """`cpu` or `gpu`; empty for `cpu`."""
    max_latency_ms: float = 0.0
    """0 for the server's own limit."""


class StepOutcome(StrEnum):
    """The state of a step of a deployment."""

    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class StepReport:
    """The progress of one step of a deployment."""

    step: str
    state: StepOutcome
    detail: str = ""
    progress: float = 0.0
    """0..1 for a running step; 0 if it is unknown."""

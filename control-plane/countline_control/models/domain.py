"""Models, their versions and their trials as this service knows them. Pure: no IO and no protobuf.

A version is stored as registered, validated or retired. Whether it is live, a shadow or a canary follows from its model
and from the running trials, so only one place says it. Triton serves every validated version: the live one, those on
trial, and those on standby, to which a rollback is instant.

Times are Unix seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from countline_common.errors import NotFoundError
from countline_common.triton import ModelRef
from countline_models.contract_model import ContractModel
from countline_models.deploy import CountedLine, ModelBackend, ModelTarget, Tuning
from countline_models.trials.verdict import PairedCounts

MOST_DEPLOYMENTS: Final = 2
"""The default limit of concurrent deployments."""


class VersionState(StrEnum):
    """The stored state of a version."""

    REGISTERED = "registered"
    VALIDATED = "validated"
    RETIRED = "retired"


class TrialMode(StrEnum):
    """Whose counts are the cameras' counts during a trial: the incumbent's (shadow) or the challenger's (canary)."""

    SHADOW = "shadow"
    CANARY = "canary"


class TrialOutcome(StrEnum):
    """The state of a trial."""

    RUNNING = "running"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    STOPPED = "stopped"


class GoldenState(StrEnum):
    """Whether the counts of a version were checked on a golden clip."""

    UNSPECIFIED = ""
    UNCHECKED = "unchecked"
    PASSED = "passed"


# Models and versions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """The result of counting a golden clip."""

    state: GoldenState
    clip: str = ""
    lines: tuple[CountedLine, ...] = ()
    detail: str = ""
    """Why the counts are unchecked."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What a deployment measured; zeros and None for a model that was found in the repository."""

    frames_per_s: float = 0.0
    """Through Triton, frames sent one after another."""
    latency_p50_ms: float = 0.0
    latency_p95_ms: float = 0.0
    golden: GoldenResult | None = None


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version as the database keeps it."""

    name: str
    version: int
    state: VersionState
    digest: str
    """SHA-256 of the model file, 64 hexadecimal digits."""
    size_bytes: int
    score_threshold: float
    fused: str
    comment: str
    validation: Validation
    created_by: str
    """Empty for a version that was found in the repository."""
    created_at: float
    promoted_by: str = ""
    promoted_at: float | None = None

    @property
    def ref(self) -> ModelRef:
        """`NAME@VERSION`."""
        return ModelRef(self.name, self.version)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as the database keeps it, with its versions, the oldest first."""

    name: str
    contract: ContractModel
    """Properties shared by all versions; `score_threshold` comes from the first version."""
    tuning: Tuning
    target: ModelTarget
    live_version: int
    """0 for none."""
    previous_version: int
    """The version that was live before; 0 for none."""
    created_at: float
    updated_at: float
    versions: tuple[StoredVersion, ...] = ()
    backend: ModelBackend = ModelBackend.ONNXRUNTIME

    def version(self, number: int) -> StoredVersion:
        """Return one version.

        Raises:
            NotFoundError: the model has no version of that number.
        """
        for version in self.versions:
            if version.version == number:
                return version
        known = ", ".join(str(version.version) for version in self.versions) or "none"
        raise NotFoundError(f"there is no {ModelRef(self.name, number)}", hint=f"it has the versions: {known}")

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that Triton should serve."""
        return tuple(version.version for version in self.versions if version.state is VersionState.VALIDATED)

    @property
    def thresholds(self) -> dict[int, float]:
        """The score thresholds of the served versions."""
        return {version.version: version.score_threshold for version in self.versions if version.version in self.served}


def next_number(given: Iterable[int]) -> int:
    """Return the number of a new version: above every number that was ever given."""
    return max(given, default=0) + 1


def given_to_another(given: Mapping[int, str], found: Mapping[int, str]) -> tuple[int, ...]:
    """Return the numbers whose content differs from the content that they were given to.

    Args:
        given: number → digest of the content that it was given to.
        found: number → digest of the content that was found.
    """
    return tuple(number for number, digest in sorted(found.items()) if given.get(number, digest) != digest)


# Trials --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What a caller asks of a new trial."""

    name: str
    challenger: int
    mode: TrialMode | None
    camera_ids: tuple[str, ...]
    margin: float
    """0 for the default."""
    promote_if_better: bool
    time_limit_s: float
    """0 for none."""


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A trial as the database keeps it."""

    trial_id: str
    name: str
    challenger: int
    incumbent: int
    mode: TrialMode
    state: TrialOutcome
    camera_ids: tuple[str, ...]
    margin: float
    promote_if_better: bool
    created_by: str
    started_at: float
    ends_by: float | None = None
    ended_at: float | None = None
    verdict: str = ""
    looks: int = 0
    """Number of looks at the sums so far; `countline_models.trials.verdict` limits them."""

    @property
    def counting(self) -> ModelRef:
        """The version whose counts are the cameras' counts."""
        return ModelRef(self.name, self.challenger if self.mode is TrialMode.CANARY else self.incumbent)

    @property
    def following(self) -> ModelRef:
        """The version that runs beside it."""
        return ModelRef(self.name, self.incumbent if self.mode is TrialMode.CANARY else self.challenger)


@dataclass(frozen=True, slots=True)
class LineTally:
    """Crossings of one line in one direction, matched between the two versions."""

    line_id: str
    direction: str
    """`in` or `out`."""
    tally: PairedCounts


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What a worker reports of a trial: one camera over one span of capture time."""

    trial_id: str
    camera_id: str
    start: float
    end: float
    frames: int
    """Frames that the counting version processed."""
    frames_missed: int
    """Those of them that the follower did not get."""
    tallies: tuple[LineTally, ...]


@dataclass(frozen=True, slots=True)
class CameraSpan:
    """How much of a camera both versions have processed."""

    seconds: float
    frames: int
    frames_missed: int


@dataclass(frozen=True, slots=True)
class CrossingBucket:
    """Crossings that each version counted in one bucket of time."""

    start: float
    incumbent: int
    challenger: int


Tallies = dict[tuple[str, str], PairedCounts]
"""By camera and line, both directions together."""
Spans = dict[str, CameraSpan]
"""By camera."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial with what its workers reported so far."""

    trial: StoredTrial
    tallies: Tallies
    spans: Spans
    buckets: tuple[CrossingBucket, ...] = ()


def sum_of(tallies: Iterable[PairedCounts]) -> PairedCounts:
    """Add tallies up."""
    found = list(tallies)
    return PairedCounts(
        sum(tally.both for tally in found),
        sum(tally.only_incumbent for tally in found),
        sum(tally.only_challenger for tally in found),
    )


# Which version counts a camera ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelRouting:
    """What decides which version counts a camera; `routing` applies it."""

    live: Mapping[str, int]
    """Model → live version."""
    trials: tuple[StoredTrial, ...] = ()
    """The running trials."""
    default_model: str = ""
    """For cameras that name no model."""


@dataclass(frozen=True, slots=True)
class Follower:
    """A second version on the frames of a camera, whose counts are compared and then dropped."""

    trial_id: str
    model: str
    """`NAME@VERSION`."""
    is_challenger: bool
    """True for the new version (a shadow), false for the old one (of a canary)."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The version that counts a camera, and the one that runs beside it."""

    model: str
    """`NAME@VERSION`; empty where no version is known: the worker then uses the model that the camera names."""
    follower: Follower | None = None

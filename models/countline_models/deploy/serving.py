"""Triton as a deployment sees it: load, compare, warm up, measure."""

from dataclasses import dataclass
from typing import Self

from countline_common.triton import ModelRef
from countline_models.contract_model import ContractModel
from countline_models.deploy.examination import Candidate
from countline_models.deploy.folder import ModelFolder


@dataclass(frozen=True, slots=True)
class Speed:
    """Frames sent one after another."""

    frames_per_s: float
    latency_p50_ms: float
    latency_p95_ms: float


class Serving:
    """Triton; an async context manager that is made and used on one loop."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def check(self) -> None:
        """Raises `UnavailableError` while Triton does not answer."""
        raise NotImplementedError

    async def load(self, folder: ModelFolder, name: str) -> None:
        """Load a model from its config and wait until every version of its policy is ready."""
        raise NotImplementedError

    async def unload(self, name: str) -> None:
        """Let a model go; nothing happens where it is not loaded."""
        raise NotImplementedError

    async def verify(self, ref: ModelRef, candidate: Candidate) -> None:
        """Hold what Triton answers to what ONNX Runtime answers here."""
        raise NotImplementedError

    async def warm_up(self, ref: ModelRef, contract: ContractModel) -> None:
        """Send frames until the first, slow ones are over."""
        raise NotImplementedError

    async def measure(self, ref: ModelRef, contract: ContractModel, seconds: float = 2.0) -> Speed:
        """How fast it answers, frames one after another."""
        raise NotImplementedError

"""The one writer of config.pbtxt: what Triton is told about a contract model.

The configuration says what any machine needs; what one machine was tuned to, or a GPU, stands in it only where asked.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Tuning:
    """How Triton runs a model on one machine; 0 for the default of the model or of Triton."""

    max_batch_size: int = 0
    max_queue_delay_us: int = 0
    instances: int = 0


class Target(StrEnum):
    """Where a model runs."""

    CPU = "cpu"
    GPU = "gpu"

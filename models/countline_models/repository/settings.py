"""How and where Triton runs a model."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from countline_common.errors import InvalidInputError

MAX_BATCH_SIZE: Final = 8
"""Default of a model."""
MOST_BATCH_SIZE: Final = 256
MOST_INSTANCES: Final = 64
MOST_QUEUE_DELAY_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Tuning:
    """How Triton runs a model on one machine; 0 stands for the default of the model or of Triton.

    Raises:
        InvalidInputError: a number is out of range.
    """

    max_batch_size: int = 0
    max_queue_delay_us: int = 0
    """How long Triton delays a request to join it with others, in microseconds."""
    instances: int = 0

    def __post_init__(self) -> None:
        limits = {
            "max_batch_size": MOST_BATCH_SIZE,
            "max_queue_delay_us": MOST_QUEUE_DELAY_US,
            "instances": MOST_INSTANCES,
        }
        for field, most in limits.items():
            value = getattr(self, field)
            if not 0 <= value <= most:
                raise InvalidInputError(
                    f"{field} is {value}, and must lie between 0 and {most}", hint="0 stands for the default"
                )


UNTUNED: Final = Tuning()


class ModelTarget(StrEnum):
    """The hardware that runs a model."""

    CPU = "cpu"
    GPU = "gpu"


class ModelBackend(StrEnum):
    """The backend of Triton that runs a model."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"
    """Runs a plan that was built for one kind of GPU (`countline_models.deploy.tensorrt`)."""

"""What every room means by a model that Triton serves, and how asking for one fails."""

import re
from dataclasses import dataclass
from typing import Final, Self

from countline_common.errors import InvalidInputError, UnavailableError

NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.IGNORECASE)
NAME_HINT: Final = "use letters, digits, dashes, dots and underscores, at most 63, beginning with a letter or digit"


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """A model as people and cameras name it: `NAME`, or `NAME@VERSION` for one version of it.

    >>> ModelRef.parse("yolox_nano@2")
    ModelRef(name='yolox_nano', version=2)
    >>> str(ModelRef("yolox_nano"))
    'yolox_nano'
    """

    name: str
    version: int = 0
    """From 1; 0 for whichever is live."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it.

        Raises:
            InvalidInputError: it is none.
        """
        name, at, version = text.partition("@")
        if not NAME_PATTERN.fullmatch(name):
            raise InvalidInputError(f"{text!r} names no model", hint=NAME_HINT)
        if at and not (version.isascii() and version.isdecimal() and 0 < int(version) < 2**31):
            raise InvalidInputError(f"{text!r} names no version of a model", hint=f"write {name}, or {name}@1")
        return cls(name, int(version) if at else 0)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that is loaded and obeys the detection contract."""

    name: str
    version: int
    """The one that answers, also where none was asked for by number."""
    height: int
    """Of the input, in pixels."""
    width: int
    max_detections: int
    labels: tuple[str, ...]
    """Class names by index; empty where the model names none."""
    score_threshold: float
    """Below it a detection is not worth believing; shipped with the model."""
    max_batch_size: int
    """Frames that one request may hold; at least 1."""
    instances: int
    """Copies that run at the same time: the number of requests in flight that pay."""

    @property
    def ref(self) -> ModelRef:
        """Names this version."""
        return ModelRef(self.name, self.version)


@dataclass(frozen=True, slots=True)
class ModelOverrides:
    """What one machine changes in a model's configuration when it loads it; None leaves what is shipped."""

    instances: int | None = None
    """Copies of the model that run at the same time."""
    intra_op_threads: int | None = None
    """Threads within one copy."""
    max_batch_size: int | None = None
    max_queue_delay_us: int | None = None
    """How long Triton holds a request back to join it with others."""


class InferenceLostError(UnavailableError):
    """Triton went away, or answered too late, while frames were with it; the same slots may be sent again."""


class ModelRefusedError(InvalidInputError):
    """Triton does not know the model, cannot load it, or it breaks the detection contract."""

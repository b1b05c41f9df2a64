"""Names, properties and errors of the models that Triton serves."""

import re
from dataclasses import dataclass
from typing import Final, Self

from countline_common.errors import InvalidInputError, UnavailableError

NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.IGNORECASE)
NAME_HINT: Final = "use letters, digits, dashes, dots and underscores, at most 63, beginning with a letter or digit"


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """The name of a model: `NAME`, or `NAME@VERSION` for one version.

    >>> ModelRef.parse("yolox_nano@2")
    ModelRef(name='yolox_nano', version=2)
    >>> str(ModelRef("yolox_nano"))
    'yolox_nano'
    """

    name: str
    version: int = 0
    """1 or higher; 0 for the live version."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `NAME` or `NAME@VERSION`.

        Raises:
            InvalidInputError: the text has neither form.
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
    """Properties of a loaded model that meets the detection contract."""

    name: str
    version: int
    """The version that answers, also if the request named none."""
    height: int
    """Height of the input, pixels."""
    width: int
    max_detections: int
    labels: tuple[str, ...]
    """Class names by index; empty if the model has none."""
    score_threshold: float
    """Detections with a lower score are not trusted; the value comes with the model."""
    max_batch_size: int
    """Maximum number of frames of one request; at least 1."""
    instances: int
    """Copies that run at the same time. More requests in flight than this bring nothing."""

    @property
    def ref(self) -> ModelRef:
        """The name of this version."""
        return ModelRef(self.name, self.version)


@dataclass(frozen=True, slots=True)
class ModelOverrides:
    """Changes of one machine to a model's configuration when it loads the model; None changes nothing."""

    instances: int | None = None
    """Copies of the model that run at the same time."""
    intra_op_threads: int | None = None
    """Threads within one copy."""
    max_batch_size: int | None = None
    max_queue_delay_us: int | None = None
    """How long Triton delays a request to batch it with others."""


class InferenceLostError(UnavailableError):
    """Triton ended or answered too late while frames were in flight; the same slots may be sent again."""


class ModelRefusedError(InvalidInputError):
    """Triton does not know the model or cannot load it, or the model breaks the detection contract."""

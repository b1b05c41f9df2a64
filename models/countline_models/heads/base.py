"""What a detector head is to the fusing tool.

A head knows one family of networks: how pictures must be given to it, and how what it answers becomes boxes and scores.
It adds nodes to the graph by a `GraphBuilder` and computes nothing itself; all the rest (uint8 in, NMS, packing,
dynamic batch) is the same for all and lives in `countline_models.fusing.fuse`. A new head is one module and one entry
in `HEADS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

Resized = Literal["letterboxed", "stretched"]
"""How pictures of another shape are fitted into the input. Ours are letterboxed at the top left in any case."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a network wants pictures: (value * scale - mean) / std, per channel in the network's order of channels."""

    bgr: bool = False
    """Channels in the order blue, green, red."""
    scale: float = 1.0
    """1/255 for networks that were trained on 0..1."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mean_first: bool = False
    """(value - mean) * scale / std instead: the mean is one of bytes, though the scale is not 1."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Names of the tensors that a head computes: N boxes that are still to be chosen from."""

    boxes: str
    """[batch, N, 4] float32: x1, y1, x2, y2 in pixels of the network's input."""
    scores: str
    """[batch, classes, N] float32 in 0..1."""


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """How one network will be decoded."""

    classes: int
    found: str
    """One line for a person: the layout, and what was told or found out about it."""
    decode: Callable[[GraphBuilder, Sequence[str]], Candidates]
    """Adds the nodes, given the names of the network's outputs in its order, each float32 or as it came."""
    nms_iou: float | None = None
    """Overlap above which two boxes of a class are one object; None where the architecture answers each object once."""
    sizes_input: str = ""
    """A second input [batch, 2] that wants width and height of the picture."""


class Head(Protocol):
    """A family of detectors."""

    @property
    def name(self) -> str:
        """What `--head` calls it."""
        ...

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names of architectures that it decodes, which `--head` takes as well."""
        ...

    @property
    def about(self) -> str:
        """One line: what it is, input and output, and where its decoding comes from."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How its authors' networks want pictures."""
        ...

    @property
    def resized(self) -> Resized:
        """How its authors fit pictures into the input."""
        ...

    def recognises(self, network: Network) -> bool:
        """Whether a network looks like one of this family."""
        ...

    def plan(self, network: Network) -> DecodePlan:
        """Find out how to decode a network.

        Raises:
            InvalidInputError: this head cannot; the message says why.
        """
        ...

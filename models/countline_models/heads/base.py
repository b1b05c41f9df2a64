"""The interface of a detector head.

A head knows one family of networks: the pictures that they expect, and how their outputs become boxes and scores. It
adds nodes to the graph with a `GraphBuilder` and computes nothing itself. Everything else (bytes as input, NMS,
packing, dynamic batch) is the same for all heads (`countline_models.fusing`). A new head is one module and one entry in
`HEADS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

Resized = Literal["letterboxed", "stretched"]
"""How the authors fit pictures of another shape into the input. Countline always letterboxes at the top left."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The pictures that a network expects: (value * scale - mean) / std, per channel in the network's channel order."""

    bgr: bool = False
    """Whether the channel order is blue, green, red."""
    scale: float = 1.0
    """1/255 for networks trained on 0..1."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mean_first: bool = False
    """Use (value - mean) * scale / std: the mean is in bytes although the scale is not 1."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Names of the tensors that a head computes: N boxes, before selection."""

    boxes: str
    """[batch, N, 4] float32: x1, y1, x2, y2 in pixels of the network's input."""
    scores: str
    """[batch, classes, N] float32 in 0..1."""


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """How one network is decoded."""

    classes: int
    found: str
    """One line for people: the layout, and what was stated or observed about it."""
    decode: Callable[[GraphBuilder, Sequence[str]], Candidates]
    """Adds the nodes. It gets the names of the network's outputs in order; float16 outputs are cast to float32."""
    nms_iou: float | None = None
    """IoU above which two boxes of a class are one object; None if the architecture answers each object once."""
    sizes_input: str = ""
    """Name of a second input [batch, 2] for width and height of the picture; empty if there is none."""


class Head(Protocol):
    """A family of detectors."""

    @property
    def name(self) -> str:
        """Its name in `--head`."""
        ...

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names of architectures that it decodes; `--head` accepts them too."""
        ...

    @property
    def about(self) -> str:
        """One line: architectures, input, output, and the source of the decoding."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """The pictures that networks of its authors expect."""
        ...

    @property
    def resized(self) -> Resized:
        """How the authors fit pictures into the input."""
        ...

    def recognises(self, network: Network) -> bool:
        """Whether a network belongs to this family, as far as its shapes and a run show."""
        ...

    def plan(self, network: Network) -> DecodePlan:
        """Find out how to decode a network.

        Raises:
            InvalidInputError: this head cannot decode it; the message says why.
        """
        ...

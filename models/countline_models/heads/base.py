"""What a detector head is to the fusing tool.

A head knows one family of networks: how pictures must be given to it, and how what it answers becomes boxes and
scores. It adds nodes to the graph by a `GraphBuilder` and computes nothing itself; all the rest (uint8 in, NMS,
packing, dynamic batch) is the same for all and lives in `countline_models.fuse`. A new head is one module and one entry
in `HEADS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx

from countline_models.graph import GraphBuilder, real_inputs, shape_of


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a network wants pictures: (value * scale - mean) / std, per channel in the network's order of channels."""

    bgr: bool = False
    """Channels in the order blue, green, red."""
    scale: float = 1.0
    """1/255 for networks that were trained on 0..1."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a network takes and gives, as far as it says; sizes that are open are None."""

    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    outputs: tuple[tuple[str, tuple[int | None, ...]], ...]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> "Signature":
        """Read it from a model."""
        return cls(
            tuple((value.name, tuple(shape_of(value))) for value in real_inputs(model)),
            tuple((value.name, tuple(shape_of(value))) for value in model.graph.output),
        )

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width of the only input, when it is NCHW with three channels and says its size."""
        if len(self.inputs) != 1:
            return None
        match self.inputs[0][1]:
            case (_, 3, int(height), int(width)):
                return height, width
        return None

    def __str__(self) -> str:
        sides = (", ".join(f"{name} {_text(shape)}" for name, shape in side) for side in (self.inputs, self.outputs))
        return " -> ".join(sides)


def _text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Names of the tensors that a head computes: N boxes that NMS has still to choose from."""

    boxes: str
    """[batch, N, 4] float32: x1, y1, x2, y2 in pixels of the network's input."""
    scores: str
    """[batch, classes, N] float32 in 0..1."""
    classes: int


class Head(Protocol):
    """A family of detectors."""

    name: str
    """What `--head` calls it."""
    about: str
    """One line: what it is, input and output, and where its decoding comes from."""
    preprocessing: Preprocessing

    def recognises(self, signature: Signature) -> bool:
        """Whether a network looks like one of this family."""
        ...

    def check(self, signature: Signature, size_hw: tuple[int, int]) -> None:
        """Raise `InvalidInputError` with the reason why this head cannot decode that network at that size."""
        ...

    def decode(
        self, build: GraphBuilder, outputs: Sequence[str], signature: Signature, size_hw: tuple[int, int]
    ) -> Candidates:
        """Add the nodes that turn the network's outputs into candidates.

        Args:
            build: adds nodes behind the network.
            outputs: names of the network's outputs, in its order.
            signature: of the network, as it came.
            size_hw: height and width of the input in pixels.
        """
        ...

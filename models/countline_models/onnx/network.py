"""A detector as its authors exported it: its inputs and outputs, and what it answers to a test picture.

Exporters leave sizes open and do not write down units. So a network may be run once, on a picture of noise that is the
same in every run. The run shows all sizes, and whether boxes are in pixels or in shares of the picture.
"""

import ast
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from countline_common.errors import InvalidInputError
from countline_models.onnx.graph import MAX_OPSET, MIN_OPSET, opset_of, real_inputs, shape_of
from countline_models.onnx.session import first_line, open_session

FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16}

BoxUnit = Literal["pixels", "normalised"]
ScoreKind = Literal["probabilities", "logits"]
Shape = tuple[int | None, ...]

CARRIERS: Final = {
    "Transpose", "Reshape", "Concat", "Slice", "Identity", "Clip", "Cast", "Flatten", "Squeeze", "Unsqueeze", "Gather",
    "Split", "Mul",
}  # fmt: skip
"""Operators through which a score passes to the output and stays a score (Mul: objectness times class)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a network as it declares them; an open size is None."""

    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> "Signature":
        """Read it from a model."""
        return cls(
            tuple((value.name, tuple(shape_of(value))) for value in real_inputs(model)),
            tuple((value.name, tuple(shape_of(value))) for value in model.graph.output),
        )

    def __str__(self) -> str:
        sides = (", ".join(f"{name} {_text(shape)}" for name, shape in side) for side in (self.inputs, self.outputs))
        return " -> ".join(sides)


def _text(shape: Shape) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What the caller states about a network; None means: find it out."""

    size_hw: tuple[int, int] | None = None
    """Height and width of the contract model, in pixels; None keeps the exported size."""
    labels: tuple[str, ...] | None = None
    boxes: BoxUnit | None = None
    scores: ScoreKind | None = None


@dataclass(frozen=True)
class Network:
    """A detector with one picture input [batch, 3, height, width].

    Raises:
        InvalidInputError: the model has no such input, or its operators are too old or too new.
    """

    model: onnx.ModelProto
    options: NetworkOptions = field(default_factory=NetworkOptions)

    def __post_init__(self) -> None:
        _check_opset(self.model)
        _check_picture(self.model)

    @cached_property
    def signature(self) -> Signature:
        """Inputs and outputs as the network declares them."""
        return Signature.of(self.model)

    @cached_property
    def picture(self) -> onnx.ValueInfoProto:
        """The input that takes pictures."""
        return next(value for value in real_inputs(self.model) if len(shape_of(value)) == 4)

    @property
    def other_inputs(self) -> list[onnx.ValueInfoProto]:
        """All inputs except `picture`."""
        return [value for value in real_inputs(self.model) if value.name != self.picture.name]

    @cached_property
    def exported_hw(self) -> tuple[int, int]:
        """Height and width for which `outputs` holds: the exported size, or the stated size if that is open."""
        height, width = shape_of(self.picture)[2:]
        if height is not None and width is not None:
            return height, width
        if self.options.size_hw is None:
            raise InvalidInputError(
                f"the network leaves the size of its input open ({self.signature})", hint="give it: --size WxH"
            )
        return self.options.size_hw

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width that the contract model will have, in pixels."""
        return self.options.size_hw or self.exported_hw

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Class names: those stated, else those in the metadata (`names`, written by Ultralytics), else none."""
        if self.options.labels is not None:
            return self.options.labels
        text = next((entry.value for entry in self.model.metadata_props if entry.key == "names"), "")
        try:
            names: Any = ast.literal_eval(text) if text else {}
        except (ValueError, SyntaxError):
            return ()
        return tuple(str(names[index]) for index in sorted(names)) if isinstance(names, dict) else ()

    @cached_property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs at `exported_hw`, batch first; a run shows the sizes that the network leaves open."""
        named = dict(self.signature.outputs)
        if all(shape and None not in shape[1:] for shape in named.values()):
            return {name: (shape[0] or 1, *(size or 0 for size in shape[1:])) for name, shape in named.items()}
        return {name: (1, *array.shape[1:]) for name, array in self._run.items()}

    def sample(self, output: str) -> NDArray[Any]:
        """The values of an output for the test picture, without the batch axis."""
        first: NDArray[Any] = self._run[output][0]
        return first

    def measure(self, tensors: set[str]) -> dict[str, list[int]]:
        """Shapes of tensors inside the graph, in a run on the test picture."""
        feed = self._feed()
        found = {tensor.name: list(tensor.dims) for tensor in self.model.graph.initializer}
        found |= {name: list(array.shape) for name, array in feed.items()}
        inner = sorted(tensors - set(found))
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        shown = {value.name for value in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in shown)
        arrays = self._answers(model, inner, feed)
        return found | {name: list(array.shape) for name, array in arrays.items()}

    @cached_property
    def _run(self) -> dict[str, NDArray[Any]]:
        return self._answers(self.model, [value.name for value in self.model.graph.output], self._feed())

    def _answers(
        self, model: onnx.ModelProto, names: list[str], feed: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        try:
            return dict(zip(names, open_session(model.SerializeToString()).run(names, feed), strict=True))
        except Exception as error:
            height, width = self.exported_hw
            raise InvalidInputError(
                f"ONNX Runtime cannot run the network at {width}x{height}: {first_line(error)}",
                hint="give the --size that it was made for, or export it again with standard operators only",
            ) from error

    def _feed(self) -> dict[str, NDArray[Any]]:
        height, width = self.exported_hw
        batch = shape_of(self.picture)[0] or 1
        noise = np.random.default_rng(0).random((batch, 3, height, width))
        feed = {self.picture.name: noise.astype(_dtype(self.picture))}
        for value in self.other_inputs:
            feed[value.name] = np.array([[width, height]] * batch).astype(_dtype(value))
        return feed

    def activation_of(self, output: str) -> str:
        """The activation that makes the values of an output: "Sigmoid", "Softmax", or "" if neither is found."""
        makers = {name: node for node in self.model.graph.node for name in node.output}
        queue, known = deque([output]), {output}
        while queue:
            node = makers.get(queue.popleft())
            if node is None:
                continue
            if node.op_type in {"Sigmoid", "Softmax"}:
                return str(node.op_type)
            fresh = [name for name in node.input if name not in known] if node.op_type in CARRIERS else []
            known.update(fresh)
            queue.extend(fresh)
        return ""


def _dtype(value: onnx.ValueInfoProto) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _check_opset(model: onnx.ModelProto) -> None:
    opset = opset_of(model)
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise InvalidInputError(
            f"the model uses ONNX opset {opset}; {MIN_OPSET} to {MAX_OPSET} are supported",
            hint="export it again, for example with opset 17",
        )


def _check_picture(model: onnx.ModelProto) -> None:
    pictures = [value for value in real_inputs(model) if len(shape_of(value)) == 4]
    if len(pictures) != 1 or shape_of(pictures[0])[1] not in {3, None}:
        raise InvalidInputError(
            f"the network must have one input [batch, 3, height, width]; this one: {Signature.of(model)}",
            hint="export the detector alone, channels before height and width",
        )
    kind = pictures[0].type.tensor_type.elem_type
    if kind not in FLOATS:
        raise InvalidInputError(
            f"the network's input {pictures[0].name!r} must be float32 or float16, not "
            f"{TensorProto.DataType.Name(kind).lower()}",
            hint="export it without quantised or preprocessing inputs",
        )

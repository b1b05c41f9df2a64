"""A detector as its authors exported it: what it takes and gives, and what a run on a test picture shows of it.

Exporters leave sizes open and do not write down units. So a network may be run once, on a picture of noise that is the
same for everybody: sizes are then known, and whether boxes are pixels or shares of the picture can be seen.
"""

import ast
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.external_data_helper import load_external_data_for_model

from countline_common.errors import InvalidInputError, NotFoundError
from countline_models.contract import open_session
from countline_models.onnx.graph import (
    MAX_OPSET,
    MIN_OPSET,
    external_files,
    opset_of,
    real_inputs,
    shape_of,
    sort_nodes,
)

MAX_BYTES: Final = 2**31 - 2**20
"""An ONNX file holds at most 2 GiB; a contract model is one file."""
FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16}

BoxUnit = Literal["pixels", "normalised"]
ScoreKind = Literal["probabilities", "logits"]
Shape = tuple[int | None, ...]

CARRIERS: Final = {
    "Transpose", "Reshape", "Concat", "Slice", "Identity", "Clip", "Cast", "Flatten", "Squeeze", "Unsqueeze", "Gather",
    "Split", "Mul",
}  # fmt: skip
"""Operators that a score may pass on its way out and still be what it was (objectness times class: Mul)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a network takes and gives, as far as it says; sizes that are open are None."""

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
class Told:
    """What a caller says about a network; what is None is found out."""

    size_hw: tuple[int, int] | None = None
    """Height and width that the contract model shall have; as exported without it."""
    labels: tuple[str, ...] | None = None
    boxes: BoxUnit | None = None
    scores: ScoreKind | None = None


@dataclass(frozen=True)
class Network:
    """A detector with one picture input [batch, 3, height, width].

    Raises:
        InvalidInputError: it is none, or one whose operators are too old or too new.
    """

    model: onnx.ModelProto
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        _check_opset(self.model)
        _check_picture(self.model)

    @cached_property
    def signature(self) -> Signature:
        """What it takes and gives, by its own words."""
        return Signature.of(self.model)

    @cached_property
    def picture(self) -> onnx.ValueInfoProto:
        """The input that takes pictures."""
        return next(value for value in real_inputs(self.model) if len(shape_of(value)) == 4)

    @property
    def other_inputs(self) -> list[onnx.ValueInfoProto]:
        """All inputs but that."""
        return [value for value in real_inputs(self.model) if value.name != self.picture.name]

    @cached_property
    def exported_hw(self) -> tuple[int, int]:
        """Height and width at which it answers what `outputs` says: as exported, or as told where it leaves it open."""
        height, width = shape_of(self.picture)[2:]
        if height is not None and width is not None:
            return height, width
        if self.told.size_hw is None:
            raise InvalidInputError(
                f"the network leaves the size of its input open ({self.signature})", hint="say it: --size WxH"
            )
        return self.told.size_hw

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width that the contract model will have."""
        return self.told.size_hw or self.exported_hw

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Class names: as told, else as the file's metadata say (`names`, as Ultralytics writes them), else none."""
        if self.told.labels is not None:
            return self.told.labels
        text = next((entry.value for entry in self.model.metadata_props if entry.key == "names"), "")
        try:
            names: Any = ast.literal_eval(text) if text else {}
        except (ValueError, SyntaxError):
            return ()
        return tuple(str(names[index]) for index in sorted(names)) if isinstance(names, dict) else ()

    @cached_property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs at `exported_hw`, batch first; what the network leaves open is taken from a run."""
        named = dict(self.signature.outputs)
        if all(shape and None not in shape[1:] for shape in named.values()):
            return {name: (shape[0] or 1, *(size or 0 for size in shape[1:])) for name, shape in named.items()}
        return {name: (1, *array.shape[1:]) for name, array in self._run.items()}

    def seen(self, output: str) -> NDArray[Any]:
        """What an output holds for the test picture, without the batch."""
        first: NDArray[Any] = self._run[output][0]
        return first

    def measure(self, tensors: set[str]) -> dict[str, list[int]]:
        """Sizes of tensors within the graph, in a run on the test picture."""
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
                f"ONNX Runtime cannot run the network at {width}x{height}: {_first_line(error)}",
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

    def made_by(self, output: str) -> str:
        """The activation whose values leave by an output: "Sigmoid", "Softmax", or "" where neither is found."""
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


def read_network(file: Path) -> onnx.ModelProto:
    """Read an ONNX file, with the weights that it keeps in files beside it.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is no ONNX model, a broken one, too large, or weights are missing.
    """
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", hint="check the path of the model")
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:
        raise InvalidInputError(
            f"{file.name} is not an ONNX model: {_first_line(error)}", hint="export the network to ONNX again"
        ) from error
    _load_weights(model, file)
    sort_nodes(model)
    if model.ByteSize() > MAX_BYTES:
        raise InvalidInputError(f"{file.name} is larger than 2 GiB", hint="export it in float16")
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise InvalidInputError(
            f"{file.name} is not an ONNX model: {_first_line(error)}", hint="export the network to ONNX again"
        ) from error
    return model


def _load_weights(model: onnx.ModelProto, file: Path) -> None:
    places = external_files(model)
    try:
        load_external_data_for_model(model, str(file.parent))
    except Exception as error:
        raise InvalidInputError(
            f"{file.name} keeps weights in {', '.join(places)}, which cannot be read beside it: {_first_line(error)}",
            hint=f"put {', '.join(places)} into the folder of {file.name}, or export it as one file",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

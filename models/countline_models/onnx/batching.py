"""Makes the batch axis dynamic in a network that was exported for one batch size.

Exporters freeze the batch size in two places: in the sizes of inputs and outputs, and in the constant shapes of Reshape
nodes, where attention merges it with other axes ([batch * heads, cells, width], [cells, batch, width]). So the batch is
followed through the graph. Sizes measured in a run are compared with the sizes that ONNX infers for a batch several
times as long: the axis that grows carries the batch into a Reshape, and arithmetic says which axis carries it out.
Reshapes are changed in waves, each after the Reshapes before it, because no size grows after a frozen Reshape.

A Reshape that cannot be followed stays as it is. The caller runs the result with several batch sizes to check it.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from countline_models.onnx.builder import PREFIX
from countline_models.onnx.graph import constants_of, real_inputs, shape_of
from countline_models.onnx.network import Network

MANY: Final = 7
"""Sizes are compared with those of a batch this many times as long: the axis that grows as much carries the batch."""
SMALL_TENSOR: Final = 64
"""Shape inference may need the values of constants up to this size. Larger ones are weights: their shape is enough."""

Sizes = dict[str, list[int | None]]


@dataclass(frozen=True, slots=True)
class _Reshape:
    index: int
    """Place of the node in the graph."""
    wave: int


def make_batch_dynamic(model: onnx.ModelProto, source: Network) -> None:
    """Let a network that was exported for one batch size take any batch size.

    Args:
        model: changed in place.
        source: the same network unchanged; it is run once if its batch is frozen.
    """
    batch = shape_of(source.picture)[0]
    reshapes = _reshapes(model) if batch is not None else []
    for value in [*real_inputs(model), *model.graph.output]:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].Clear()
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    if reshapes:
        _open_reshapes(model, reshapes, source, batch or 1)


def _open_reshapes(model: onnx.ModelProto, reshapes: list[_Reshape], source: Network, batch: int) -> None:
    nodes = model.graph.node
    frozen = source.measure(
        {name for each in reshapes for name in (nodes[each.index].input[0], nodes[each.index].output[0])}
    )
    skeleton = _skeleton(model, batch * MANY)
    inner: dict[str, int] = {}
    for wave in sorted({reshape.wave for reshape in reshapes}):
        sizes = _inferred(skeleton)
        _hand_on(model, inner)
        for index in (each.index for each in reshapes if each.wave == wave):
            data, result = nodes[index].input[0], nodes[index].output[0]
            before, after = frozen[data], frozen[result]
            opened = _opened(sizes.get(data, []), before, batch)
            if opened is None:
                continue
            axis, inner[result] = carrying_axis(before, opened, after, inner.get(data, 1))
            _set_shape(model, index, _kept(model, index, (opened, axis), (before, after), batch))
            _set_shape(skeleton, index, [-1 if each == axis else size for each, size in enumerate(after)])


def _opened(sizes: list[int | None], before: list[int], batch: int) -> int | None:
    """The axis that grows `MANY` times with the batch; None if no axis grows.

    If ONNX infers no sizes (it does not follow every kind of pooling), the batch is assumed to be in the first axis.
    """
    if len(sizes) != len(before):
        sizes = [None] * len(before)
    grown = [axis for axis, (size, old) in enumerate(zip(sizes, before, strict=True)) if size == old * MANY]
    if grown:
        return grown[0]
    unknown = [axis for axis, size in enumerate(sizes) if size is None]
    if len(unknown) == 1:
        return unknown[0]
    return 0 if unknown and unknown[0] == 0 and before[0] == batch else None


def _hand_on(model: onnx.ModelProto, inner: dict[str, int]) -> None:
    """Every operator except Reshape keeps the elements that lie before the batch within its axis."""
    for node in model.graph.node:
        if node.op_type != "Reshape":
            inner.update(dict.fromkeys(node.output, max((inner.get(name, 1) for name in node.input), default=1)))


def carrying_axis(source: list[int], opened: int, target: list[int], inner: int = 1) -> tuple[int, int]:
    """The axis of a reshaped tensor that carries the batch, and the number of its elements that lie outside the batch.

    Reshape keeps the order of elements. So the batch is in the axis that has as many elements before it as the batch
    has. If no axis begins there, or only the last one (the features), the batch was merged into the axis before.

    Args:
        source: sizes before the Reshape, for a single frame.
        opened: axis of `source` that carries the batch.
        target: sizes after the Reshape, for a single frame.
        inner: elements of that axis that lie outside the batch, such as cells if [cells, batch] became one axis.

    >>> carrying_axis([1, 4, 8], 0, [1, 32])
    (0, 1)
    >>> carrying_axis([30, 1, 32], 1, [30, 4, 8])  # the heads of attention
    (1, 1)
    >>> carrying_axis([30, 1, 32], 1, [30, 32]), carrying_axis([30, 32], 0, [30, 1, 32], inner=30)
    ((0, 30), (1, 1))
    """
    earlier = prod(source[:opened]) * inner
    for axis in range(len(target)):
        outside = prod(target[:axis])
        if outside == earlier:
            merged = axis == len(target) - 1 and axis > 0 and target[axis] != source[opened]
            return (axis - 1, earlier // prod(target[: axis - 1])) if merged else (axis, 1)
        if outside * target[axis] > earlier:
            return axis, earlier // outside
    return 0, 1


def _kept(
    model: onnx.ModelProto, index: int, axes: tuple[int, int], shapes: tuple[list[int], list[int]], batch: int
) -> list[int]:
    """The new shape. An axis that is open already stays open if possible, because other picture sizes need it."""
    (opened, axis), (before, after) = axes, shapes
    written = [int(size) for size in constants_of(model)[model.graph.node[index].input[1]]]
    if -1 not in written or written.index(-1) == axis:
        return [-1 if each == axis else size for each, size in enumerate(written)]
    if axis == opened and after[axis] == before[opened] == batch:
        return [0 if each == axis else size for each, size in enumerate(written)]
    return [-1 if each == axis else size for each, size in enumerate(after)]


def _set_shape(model: onnx.ModelProto, index: int, shape: list[int]) -> None:
    name = f"{PREFIX}.shape.{index}"  # a new constant, because other nodes may read the old one
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
    model.graph.node[index].input[1] = name


def _reshapes(model: onnx.ModelProto) -> list[_Reshape]:
    """Reshapes to a constant shape, each in a later wave than the Reshapes that it depends on."""
    constants: dict[str, NDArray[Any]] = constants_of(model)
    waves: dict[str, int] = {}
    found: list[_Reshape] = []
    for index, node in enumerate(model.graph.node):
        wave = max((waves.get(name, 0) for name in node.input), default=0)
        if node.op_type == "Reshape" and node.input[1] in constants:
            found.append(_Reshape(index, wave))
            wave += 1
        waves.update(dict.fromkeys(node.output, wave))
    return found


def _skeleton(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The same graph for another batch, without the values of weights: sizes do not need them, and copies are fast."""
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = model.graph.name
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(real_inputs(model))
    for value in bare.graph.input:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    bare.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= SMALL_TENSOR:
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return bare


def _inferred(skeleton: onnx.ModelProto) -> Sizes:
    """Sizes of all tensors that ONNX can infer; an open size is None."""
    # ONNX would believe the declared shapes of outputs even if a frozen Reshape contradicts them.
    model = onnx.ModelProto()
    model.CopyFrom(skeleton)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return {}
    values = [*graph.input, *graph.value_info, *graph.output]
    return {value.name: shape_of(value) for value in values if _has_shape(value)}


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.elem_type != TensorProto.UNDEFINED and kind.HasField("shape")

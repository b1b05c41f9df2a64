"""Writing ONNX nodes by hand without losing one's way: names are made, constants shared, differences of opsets hidden.

Everything that the surgery adds goes through `GraphBuilder`; it carries a prefix, so that added nodes are told from
those of the network. Operators are used in forms that opset 11 to 21 have in common, or in that of the model's opset.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

PREFIX: Final = "countline"
MIN_OPSET: Final = 11
"""NonMaxSuppression and TopK as used here exist from then on."""
MAX_OPSET: Final = 21
"""Newest that the ONNX Runtime of the supported Triton containers knows."""
MAX_IR_VERSION: Final = 10
"""Likewise, of the format of the file."""


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operators that a model uses; 0 when it uses none."""
    return max((int(entry.version) for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)


def shape_of(value: onnx.ValueInfoProto) -> list[int | None]:
    """The shape of a graph's input or output; None where a size is open."""
    dims = value.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def real_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The graph's inputs without those that are constants (old exporters list both)."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def external_files(model: onnx.ModelProto) -> list[str]:
    """Names of the files beside it in which a model keeps weights."""
    tensors = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    return sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})


class GraphBuilder:
    """Adds nodes to a model; every method takes names of tensors and returns the name of the new one.

    Args:
        model: changed in place by `append` and `prepend`.
        label: distinguishes the names of one builder's nodes from another's.
    """

    def __init__(self, model: onnx.ModelProto, label: str) -> None:
        self.model = model
        self.opset = opset_of(model)
        self._label = label
        self._nodes: list[onnx.NodeProto] = []
        self._count = 0
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def name(self, hint: str) -> str:
        """A name that nothing else has."""
        self._count += 1
        return f"{PREFIX}.{self._label}.{hint}_{self._count}"

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.ops(kind, *inputs, outputs=[output or self.name(kind.lower())], **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: Sequence[str], **attributes: Any) -> Sequence[str]:
        """Add a node with several outputs."""
        self._nodes.append(
            helper.make_node(kind, inputs, outputs, name=self.name(f"node_{kind.lower()}"), **attributes)
        )
        return outputs

    def constant(self, array: NDArray[Any]) -> str:
        """A constant; equal ones are stored once."""
        array = np.asarray(array, order="C")  # ascontiguousarray would make vectors of scalars
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.name("constant")
            self.model.graph.initializer.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """A constant vector of int64."""
        return self.constant(np.array(values, np.int64))

    def float(self, value: float) -> str:
        """A constant scalar of float32."""
        return self.constant(np.array(value, np.float32))

    def cast(self, tensor: str, to: int) -> str:
        """Convert to an element type of `TensorProto`."""
        return self.op("Cast", tensor, to=to)

    def transpose(self, tensor: str, *axes: int) -> str:
        """Reorder the axes."""
        return self.op("Transpose", tensor, perm=list(axes))

    def slice(self, tensor: str, start: int, stop: int, axis: int) -> str:
        """Cut a range out of one axis."""
        return self.op("Slice", tensor, self.ints(start), self.ints(stop), self.ints(axis))

    def reshape(self, tensor: str, *shape: int) -> str:
        """Reshape; 0 keeps a size, -1 takes the rest."""
        return self.op("Reshape", tensor, self.ints(*shape))

    def size(self, tensor: str, axis: int) -> str:
        """The size of one axis, as an int64 vector of one element."""
        return self.op("Gather", self.op("Shape", tensor), self.ints(axis), axis=0)

    def reduce_sum(self, tensor: str, axis: int) -> str:
        """Sum over one axis, which is kept with size 1."""
        if self.opset >= 13:
            return self.op("ReduceSum", tensor, self.ints(axis), keepdims=1)
        return self.op("ReduceSum", tensor, axes=[axis], keepdims=1)

    def append(self) -> None:
        """Put the new nodes behind the network's."""
        self.model.graph.node.extend(self._nodes)
        self._nodes.clear()

    def prepend(self) -> None:
        """Put the new nodes before the network's."""
        network = list(self.model.graph.node)
        del self.model.graph.node[:]
        self.model.graph.node.extend([*self._nodes, *network])
        self._nodes.clear()


def constants_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The small constants of a model (at most 8 elements: shapes, axes, scales) by name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if _is_small(tensor)}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value" and _is_small(node.attribute[0].t):
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def sort_nodes(model: onnx.ModelProto) -> None:
    """Put every node behind those whose results it reads, as ONNX demands and converters to float16 do not do.

    Nodes in order already keep their places; what depends on itself stays as it is, for ONNX's checker to refuse.
    """
    made = {name for node in model.graph.node for name in node.output}
    waiting: list[onnx.NodeProto] = list(model.graph.node)
    ordered: list[onnx.NodeProto] = []
    ready: set[str] = set()
    rounds = 0
    while waiting:
        left = []
        for node in waiting:
            if all(name in ready or name not in made for name in _read_by(node)):
                ordered.append(node)
                ready.update(node.output)
            else:
                left.append(node)
        if len(left) == len(waiting):
            return
        waiting = left
        rounds += 1
    if rounds == 1:
        return  # in order already, as nearly always
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, those within its own graphs (If, Loop) included."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    read = {name for name in node.input if name}
    for graph in inner:
        own = {name for each in graph.node for name in each.output} | {value.name for value in graph.input}
        read |= {name for each in graph.node for name in _read_by(each)} - own
    return read


def drop_unused_constants(model: onnx.ModelProto) -> None:
    """Remove constants that no node reads any more: ONNX Runtime complains of each, at every start."""
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used or _has_subgraphs(model)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _has_subgraphs(model: onnx.ModelProto) -> bool:
    """Whether a node carries a graph of its own (If, Loop), which may read the constants of the outer one."""
    return any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute)


def _is_small(tensor: TensorProto) -> bool:
    return int(np.prod(tensor.dims)) <= 8

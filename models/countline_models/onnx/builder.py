"""Adds nodes to an ONNX graph: `GraphBuilder` makes names, shares constants and hides differences between opsets.

All added nodes have a prefix that distinguishes them from those of the network. Operators are used in a form that
opsets 11 to 21 share, or in the form of the model's own opset.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from countline_models.onnx.graph import opset_of

PREFIX: Final = "countline"


class GraphBuilder:
    """Adds nodes to a model; each method takes names of tensors and returns the name of a new tensor.

    Args:
        model: `append` and `prepend` change it in place.
        label: part of all names, so that two builders of one model make different names.
    """

    def __init__(self, model: onnx.ModelProto, label: str) -> None:
        self.model = model
        self.opset = opset_of(model)
        self._label = label
        self._nodes: list[onnx.NodeProto] = []
        self._count = 0
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def name(self, hint: str) -> str:
        """A unique name."""
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
        """A constant; equal constants are stored once."""
        array = np.asarray(array, order="C")  # np.ascontiguousarray would turn a scalar into a vector
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
        """Reshape; 0 keeps a size, -1 takes the remaining elements."""
        return self.op("Reshape", tensor, self.ints(*shape))

    def size(self, tensor: str, axis: int) -> str:
        """The size of one axis, as an int64 vector of one element."""
        return self.op("Gather", self.op("Shape", tensor), self.ints(axis), axis=0)

    def reduce_sum(self, tensor: str, axis: int) -> str:
        """Sum over one axis; the axis stays, with size 1."""
        if self.opset >= 13:
            return self.op("ReduceSum", tensor, self.ints(axis), keepdims=1)
        return self.op("ReduceSum", tensor, axes=[axis], keepdims=1)

    def append(self) -> None:
        """Put the new nodes after those of the network."""
        self.model.graph.node.extend(self._nodes)
        self._nodes.clear()

    def prepend(self) -> None:
        """Put the new nodes before those of the network."""
        network = list(self.model.graph.node)
        del self.model.graph.node[:]
        self.model.graph.node.extend([*self._nodes, *network])
        self._nodes.clear()

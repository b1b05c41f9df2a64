"""What an ONNX graph declares and holds, and small changes to it."""

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

MIN_OPSET: Final = 11
"""The first opset with NonMaxSuppression and TopK as they are used here."""
MAX_OPSET: Final = 21
"""The newest opset that ONNX Runtime supports in the supported Triton containers."""
MAX_IR_VERSION: Final = 10
"""The newest file format that it supports there."""


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operators that a model uses; 0 if it uses none."""
    return max((int(entry.version) for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)


def shape_of(value: onnx.ValueInfoProto) -> list[int | None]:
    """The shape of a graph's input or output; None for an open size."""
    dims = value.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]


def real_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The graph's inputs without constants, which old exporters list as inputs too."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def external_files(model: onnx.ModelProto) -> list[str]:
    """Names of the files beside the model that hold its weights."""
    tensors = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    return sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})


def constants_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The small constants of a model (at most 8 elements: shapes, axes, scales) by name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if _is_small(tensor)}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value" and _is_small(node.attribute[0].t):
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def sort_nodes(model: onnx.ModelProto) -> None:
    """Put every node after the nodes whose results it reads.

    ONNX demands this order, and converters to float16 break it. Nodes that are in order keep their places. A graph with
    a cycle stays as it is; ONNX's checker refuses it.
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
        return  # in order already, the usual case
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, including those that its own graphs (If, Loop) read from outside."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    read = {name for name in node.input if name}
    for graph in inner:
        own = {name for each in graph.node for name in each.output} | {value.name for value in graph.input}
        read |= {name for each in graph.node for name in _read_by(each)} - own
    return read


def drop_unused_constants(model: onnx.ModelProto) -> None:
    """Remove constants that no node reads: ONNX Runtime logs a warning for each, at every start."""
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used or _has_subgraphs(model)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _has_subgraphs(model: onnx.ModelProto) -> bool:
    """Whether a node has a graph of its own (If, Loop), which may read constants of the outer graph."""
    return any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute)


def _is_small(tensor: TensorProto) -> bool:
    return int(np.prod(tensor.dims)) <= 8

"""Selects the part of a contract model that is quantised, cuts it out and puts it back.

    frames -> pre-processing -> | first convolution ... | -> last convolutions -> decoding, NMS -> detections
              float             | eight bits            |    float

The nodes between convolutions are quantised. Nodes before the first convolution only move and scale pixels. Nodes after
the last ones decode and suppress boxes, where eight bits are too coarse: 256 steps over a picture of 640 pixels, and
scores that tie. The last convolutions also stay in floating point, because their outputs are the boxes and scores. They
are narrow, so this costs little (measured: 5 % on YOLOX-Nano, 1 % on the demo detector).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import onnx
from onnx import TensorProto, helper

from countline_common.errors import InvalidInputError
from countline_models.onnx.graph import drop_unused_constants

CONVOLUTIONS: Final = frozenset({"Conv", "ConvTranspose"})
MOVING: Final = frozenset({"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Nodes that only move values."""
QUANTIZED: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"})
"""Nodes that show that a model is quantised already."""


@dataclass(frozen=True, slots=True)
class GraphParts:
    """Names of a model's nodes by their treatment, in the graph's order."""

    eight_bit: tuple[str, ...]
    """To be quantised, as far as ONNX Runtime supports it."""
    before: tuple[str, ...]
    """Stay in floating point; `eight_bit` depends on them."""
    after: tuple[str, ...]
    """Stay in floating point; all other nodes."""


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a unique name, as quantising needs; unique names stay."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"countline.{node.op_type}_{index}"
        taken.add(node.name)


def find_parts(model: onnx.ModelProto, exclude: Sequence[str] = ()) -> GraphParts:
    """Find the nodes to quantise.

    Args:
        model: a model with named nodes, in order.
        exclude: patterns (`*`, `?`) of names or kinds of nodes that stay in floating point too.

    Raises:
        InvalidInputError: the model is quantised already, nothing is left to quantise, or a pattern fits no node.
    """
    if found := {node.op_type for node in model.graph.node} & QUANTIZED:
        raise InvalidInputError(
            f"the model is quantised already: it has {', '.join(sorted(found))}",
            hint="use the float model that it was made from",
        )
    left_out = _matching(model, exclude)
    inner = between_convolutions(model)
    chosen = [node.name for node in model.graph.node if node.name in inner and node.name not in left_out]
    if not chosen:
        raise InvalidInputError(
            "there is nothing to quantise: no two convolutions follow each other",
            hint="keep it in floating point" if not left_out else "use fewer --exclude",
        )
    needed = _ancestors(model, set(chosen)) - set(chosen)
    return GraphParts(
        tuple(chosen),
        tuple(node.name for node in model.graph.node if node.name in needed),
        tuple(node.name for node in model.graph.node if node.name not in needed and node.name not in set(chosen)),
    )


def between_convolutions(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that are convolutions or depend on one, and on which a later convolution depends."""
    convolutions = learned_convolutions(model)
    upstream = _ancestors(model, convolutions)
    return upstream & (convolutions | _descendants(model, convolutions))


def learned_convolutions(model: onnx.ModelProto) -> set[str]:
    """Names of the convolutions, except those that compute the mean of a distribution."""
    makers = {name: node for node in model.graph.node for name in node.output}

    def follows_softmax(node: onnx.NodeProto) -> bool:
        maker = makers.get(node.input[0])
        while maker is not None and maker.op_type in MOVING:
            maker = makers.get(maker.input[0])
        return maker is not None and maker.op_type == "Softmax"

    return {node.name for node in model.graph.node if node.op_type in CONVOLUTIONS and not follows_softmax(node)}


def _ancestors(model: onnx.ModelProto, names: set[str]) -> set[str]:
    """Names of the nodes on which these nodes depend."""
    wanted: set[str] = set()
    found: set[str] = set()
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            found.add(node.name)
        if node.name in names or node.name in found:
            wanted.update(node.input)
    return found


def _descendants(model: onnx.ModelProto, names: set[str]) -> set[str]:
    """Names of the nodes that depend on these nodes."""
    made: set[str] = set()
    found: set[str] = set()
    for node in model.graph.node:
        if made.intersection(node.input):
            found.add(node.name)
        if node.name in names or node.name in found:
            made.update(node.output)
    return found


def _matching(model: onnx.ModelProto, patterns: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        fits = {
            node.name
            for node in model.graph.node
            if fnmatchcase(node.name, pattern) or fnmatchcase(node.op_type, pattern)
        }
        if not fits:
            kinds = ", ".join(sorted({node.op_type for node in model.graph.node}))
            raise InvalidInputError(
                f"no node matches --exclude {pattern!r}", hint=f"use a node's name, or a kind: {kinds}"
            )
        found |= fits
    return found


def cut_out(model: onnx.ModelProto, parts: GraphParts) -> onnx.ModelProto:
    """The nodes to quantise and those that they need, as a model of its own; its outputs are what other nodes read."""
    inside = {*parts.eight_bit, *parts.before}
    nodes = [node for node in model.graph.node if node.name in inside]
    made = {name for node in nodes for name in node.output}
    read = [name for node in model.graph.node if node.name not in inside for name in _read_by(node)]
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    outputs = [
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None)
        for name in dict.fromkeys(read)
        if name in made
    ]
    graph = helper.make_graph(nodes, "core", list(model.graph.input), outputs, list(model.graph.initializer))
    core = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    drop_unused_constants(core)
    return core


def _read_by(node: onnx.NodeProto) -> list[str]:
    """Names that a node and its own graphs (If, Loop) read, from the outer graph or from within."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [*node.input, *(name for graph in inner for each in graph.node for name in _read_by(each))]


def put_back(model: onnx.ModelProto, core: onnx.ModelProto, parts: GraphParts) -> onnx.ModelProto:
    """The model with the quantised core in place of the float one."""
    rest, constants = _apart_from(core, model, set(parts.after))
    graph = helper.make_graph(
        [*core.graph.node, *rest],
        model.graph.name,
        list(model.graph.input),
        list(model.graph.output),
        [*core.graph.initializer, *constants],
    )
    domains = {node.domain for node in graph.node} | {""}
    opsets = {entry.domain: entry for entry in (*model.opset_import, *core.opset_import)}
    used = [opsets[domain] for domain in sorted(domains) if domain in opsets]
    result = helper.make_model(graph, opset_imports=used, ir_version=max(model.ir_version, core.ir_version))
    drop_unused_constants(result)
    return result


def _apart_from(
    core: onnx.ModelProto, model: onnx.ModelProto, names: set[str]
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Nodes of a model and the constants that they read; a constant is renamed if the core uses its name.

    The quantiser gives the eight-bit form of a constant the old name, and float nodes must not read that form.
    """
    taken = {name for node in core.graph.node for name in node.output}
    taken |= {tensor.name for tensor in core.graph.initializer}
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node if node.name in names]
    read = {name for node in nodes for name in _read_by(node)}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    renamed = {tensor.name: f"{tensor.name}.float" for tensor in constants if tensor.name in taken}
    for node in nodes:
        _rename(node, renamed)
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in constants]
    for tensor in copies:
        tensor.name = renamed.get(tensor.name, tensor.name)
    return nodes, copies


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                _rename(inner, names)

"""Which part of a contract model is quantised, and how that part is taken out and put back.

    frames -> pre-processing -> | first convolution ... | -> last convolutions -> decoding, NMS -> detections
              float             | eight bits            |    float

Quantised is what lies between convolutions. Before the first one pixels are only moved and scaled. After the last ones
boxes are decoded and suppressed, where eight bits would be fatal: 256 steps over a picture of 640 pixels, and scores
that tie. The last convolutions themselves stay in floating point too, for their outputs are the boxes and scores: they
are narrow, so that this costs little (measured on YOLOX-Nano 5 %, on the demo detector 1 %).
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
"""Nodes that only move values to other places."""
QUANTIZED: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"})
"""Nodes by which a model that is quantised already is known."""


@dataclass(frozen=True, slots=True)
class GraphParts:
    """A model's nodes by what becomes of them; names in the graph's order."""

    eight_bit: tuple[str, ...]
    """To be quantised, as far as ONNX Runtime knows how."""
    before: tuple[str, ...]
    """Stay in floating point: what the first have to have."""
    after: tuple[str, ...]
    """Stay in floating point: all the rest."""


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, as quantising needs; those that have one keep it."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"countline.{node.op_type}_{index}"
        taken.add(node.name)


def find_parts(model: onnx.ModelProto, exclude: Sequence[str] = ()) -> GraphParts:
    """Find what is to be quantised.

    Args:
        model: with named nodes, in order.
        exclude: patterns (`*`, `?`) of names or kinds of nodes that shall stay in floating point, too.

    Raises:
        InvalidInputError: the model is quantised already, nothing is left to quantise, or a pattern fits nothing.
    """
    if found := {node.op_type for node in model.graph.node} & QUANTIZED:
        raise InvalidInputError(
            f"the model is quantised already: it has {', '.join(sorted(found))}", hint="give the model it was made of"
        )
    left_out = _matching(model, exclude)
    inner = between_convolutions(model)
    chosen = [node.name for node in model.graph.node if node.name in inner and node.name not in left_out]
    if not chosen:
        raise InvalidInputError(
            "there is nothing to quantise: no two convolutions follow each other",
            hint="leave it in floating point" if not left_out else "give fewer --exclude",
        )
    needed = _ancestors(model, set(chosen)) - set(chosen)
    return GraphParts(
        tuple(chosen),
        tuple(node.name for node in model.graph.node if node.name in needed),
        tuple(node.name for node in model.graph.node if node.name not in needed and node.name not in set(chosen)),
    )


def between_convolutions(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that a later convolution depends on and that are convolutions or depend on one."""
    convolutions = learned_convolutions(model)
    upstream = _ancestors(model, convolutions)
    return upstream & (convolutions | _descendants(model, convolutions))


def learned_convolutions(model: onnx.ModelProto) -> set[str]:
    """Names of the convolutions, without those that take the mean of a distribution."""
    makers = {name: node for node in model.graph.node for name in node.output}

    def follows_softmax(node: onnx.NodeProto) -> bool:
        maker = makers.get(node.input[0])
        while maker is not None and maker.op_type in MOVING:
            maker = makers.get(maker.input[0])
        return maker is not None and maker.op_type == "Softmax"

    return {node.name for node in model.graph.node if node.op_type in CONVOLUTIONS and not follows_softmax(node)}


def _ancestors(model: onnx.ModelProto, names: set[str]) -> set[str]:
    """What the nodes of these names depend on, without the constants."""
    wanted: set[str] = set()
    found: set[str] = set()
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            found.add(node.name)
        if node.name in names or node.name in found:
            wanted.update(node.input)
    return found


def _descendants(model: onnx.ModelProto, names: set[str]) -> set[str]:
    """What depends on the nodes of these names."""
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
                f"no node fits --exclude {pattern!r}", hint=f"give a node's name, or a kind: {kinds}"
            )
        found |= fits
    return found


def cut_out(model: onnx.ModelProto, parts: GraphParts) -> onnx.ModelProto:
    """What is to be quantised and what it needs, as a model of its own, whose outputs are what the rest reads."""
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
    """What a node reads; what its own graphs (If, Loop) read is among them, whether of the outer graph or not."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [*node.input, *(name for graph in inner for each in graph.node for name in _read_by(each))]


def put_back(model: onnx.ModelProto, core: onnx.ModelProto, parts: GraphParts) -> onnx.ModelProto:
    """The model with its core replaced by the quantised one."""
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
    whole = helper.make_model(graph, opset_imports=used, ir_version=max(model.ir_version, core.ir_version))
    drop_unused_constants(whole)
    return whole


def _apart_from(
    core: onnx.ModelProto, model: onnx.ModelProto, names: set[str]
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Nodes of a model and the constants that they read, which get other names where the core has taken theirs.

    The quantiser gives the eight-bit form of a constant its old name again; what stays in floating point must not read
    that one.
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

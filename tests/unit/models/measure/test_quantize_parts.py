"""What of a graph is quantised, and that taking it out and putting it back changes nothing."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from countline_common.errors import InvalidInputError
from countline_models.contract import open_session
from countline_models.quantize.parts import between_convolutions, cut_out, find_parts, name_nodes, put_back


def weights(name: str, outputs: int, inputs: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(0, 0.3, (outputs, inputs, 3, 3)).astype(np.float32)
    return numpy_helper.from_array(values, name)


def graph(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A model of those nodes: `frames` in, `answer` out; weights w0 (3 to 4 channels), w1 and w2 (4 to 4)."""
    constants = [weights("w0", 4, 3), weights("w1", 4, 4), weights("w2", 4, 4)]
    constants.append(numpy_helper.from_array(np.array(2, np.float32), "two"))
    made = helper.make_graph(
        list(nodes),
        "parts",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", "channels", 8, 8])],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return onnx.shape_inference.infer_shapes(model)


def conv(source: str, weight: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weight], [target], name=target, pads=[1, 1, 1, 1])


def op(kind: str, inputs: list[str], target: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [target], name=target, **attributes)


def chain() -> onnx.ModelProto:
    return graph(
        op("Cast", ["frames"], "floats", to=TensorProto.FLOAT),
        op("Mul", ["floats", "two"], "scaled"),
        conv("scaled", "w0", "first"),
        op("Relu", ["first"], "relu"),
        conv("relu", "w1", "second"),
        op("Sigmoid", ["second"], "gate"),
        op("Mul", ["second", "gate"], "silu"),
        conv("silu", "w2", "last"),
        op("Mul", ["last", "two"], "decoded"),
        op("Exp", ["decoded"], "answer"),
    )


def test_what_lies_between_convolutions_is_quantised_and_all_else_stays_float() -> None:
    parts = find_parts(chain())
    assert parts.eight_bit == ("first", "relu", "second", "gate", "silu")
    assert parts.before == ("floats", "scaled")
    assert parts.after == ("last", "decoded", "answer")


def test_a_branch_without_a_convolution_behind_it_stays_float() -> None:
    model = graph(
        op("Cast", ["frames"], "floats", to=TensorProto.FLOAT),
        conv("floats", "w0", "first"),
        op("Relu", ["first"], "relu"),
        op("Sigmoid", ["first"], "peaks"),
        conv("relu", "w1", "last"),
        op("Mul", ["last", "peaks"], "answer"),
    )
    assert between_convolutions(model) == {"first", "relu"}


def test_the_mean_of_a_distribution_is_decoding_though_a_convolution_takes_it() -> None:
    """YOLOv8's DFL: quantised with it, its distributions and all class scores beside them would be in eight bits."""
    model = graph(
        op("Cast", ["frames"], "floats", to=TensorProto.FLOAT),
        conv("floats", "w0", "first"),
        conv("first", "w1", "distances"),
        op("Softmax", ["distances"], "distribution", axis=1),
        op("Transpose", ["distribution"], "bars", perm=[0, 1, 3, 2]),
        conv("bars", "w2", "answer"),
    )
    assert find_parts(model).eight_bit == ("first",)


def test_what_is_excluded_by_name_or_kind_stays_float() -> None:
    assert find_parts(chain(), ["Sig*", "silu"]).eight_bit == ("first", "relu", "second")
    assert find_parts(chain(), ["f?rst"]).before == ("floats", "scaled", "first")


@pytest.mark.parametrize(
    ("model", "exclude", "message"),
    [
        (graph(op("Cast", ["frames"], "answer", to=TensorProto.FLOAT)), [], "no two convolutions"),
        (chain(), ["*"], "nothing to quantise"),
        (chain(), ["Softmax"], "no node matches --exclude 'Softmax'"),
    ],
)
def test_what_cannot_be_quantised_is_refused_with_a_hint(
    model: onnx.ModelProto, exclude: list[str], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        find_parts(model, exclude)
    assert caught.value.hint


def test_a_quantised_model_is_not_quantised_again() -> None:
    model = chain()
    model.graph.node.append(helper.make_node("QuantizeLinear", ["scaled", "two"], ["bytes"], name="bytes"))
    with pytest.raises(InvalidInputError, match="quantised already: it has QuantizeLinear"):
        find_parts(model)


def test_every_node_gets_a_name_of_its_own() -> None:
    model = chain()
    model.graph.node[0].name = ""
    model.graph.node[2].name = model.graph.node[1].name
    name_nodes(model)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert names[3:] == [node.name for node in chain().graph.node][3:]


def test_a_core_that_was_only_taken_out_and_put_back_answers_the_same() -> None:
    model = chain()
    parts = find_parts(model)
    whole = put_back(model, cut_out(model, parts), parts)
    frames = np.random.default_rng(0).integers(0, 255, (2, 3, 8, 8), np.uint8)
    before, after = (
        open_session(each.SerializeToString()).run(["answer"], {"frames": frames})[0] for each in (model, whole)
    )
    np.testing.assert_array_equal(before, after)


def test_what_stays_float_does_not_read_a_constant_that_the_core_has_renewed() -> None:
    """A bias that the quantiser rounds keeps its name; decoding that reads it, too, would read the rounded one."""
    model = chain()
    parts = find_parts(model)
    core = cut_out(model, parts)
    for tensor in core.graph.initializer:
        if tensor.name == "two":
            tensor.CopyFrom(numpy_helper.from_array(np.array(3, np.float32), "two"))
    whole = put_back(model, core, parts)
    onnx.checker.check_model(whole)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    read = {node.name: node.input[1] for node in whole.graph.node if node.name in {"scaled", "decoded"}}
    assert (constants[read["scaled"]], constants[read["decoded"]]) == (3, 2)

"""What breaks the detection contract, and what is said about it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.fixtures.models.contract_models import MARKER_LABELS, expected_marks, marker_model

from countline_common.errors import CountlineError, InvalidInputError, NotFoundError
from countline_models.contract import (
    LABELS_KEY,
    ContractError,
    check_contract,
    looks_like_contract,
    open_session,
    run_contract,
)


def test_a_contract_model_tells_what_it_is() -> None:
    contract = check_contract(marker_model(32, 48, 5).SerializeToString())
    assert (contract.height, contract.width, contract.max_detections) == (32, 48, 5)
    assert (contract.labels, contract.score_threshold) == (MARKER_LABELS, 0.4)


def test_the_marker_model_answers_what_numpy_computes() -> None:
    """The tests of the whole data plane rest on it."""
    frames = np.random.default_rng(0).integers(0, 200, (3, 32, 48, 3), np.uint8)
    answer = run_contract(open_session(marker_model().SerializeToString()), frames)
    np.testing.assert_allclose(answer, expected_marks(frames), rtol=1e-4)


def set_dim(value: onnx.ValueInfoProto, axis: int, size: int) -> None:
    value.type.tensor_type.shape.dim[axis].Clear()
    value.type.tensor_type.shape.dim[axis].dim_value = size


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "images"
    for node in model.graph.node:
        node.input[:] = ["images" if name == "frames" else name for name in node.input]


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "boxes"


def answer_doubles(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "floats_out"
    model.graph.node.append(helper.make_node("Cast", ["floats_out"], ["detections"], to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def answer_nan(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "good"
    model.graph.node.append(helper.make_node("Sub", ["good", "good"], ["nothing_left"]))
    model.graph.node.append(helper.make_node("Div", ["nothing_left", "nothing_left"], ["detections"]))


def mix_the_batch(model: onnx.ModelProto) -> None:
    """Each frame's answer becomes the mean over the batch."""
    model.graph.node[-1].output[0] = "good"
    model.graph.node.append(helper.make_node("ReduceMean", ["good"], ["mean"], axes=[0], keepdims=1))
    model.graph.node.append(helper.make_node("Sub", ["good", "good"], ["nothing_left"]))
    model.graph.node.append(helper.make_node("Add", ["nothing_left", "mean"], ["detections"]))


def name_labels_badly(model: onnx.ModelProto) -> None:
    helper.set_model_props(model, {LABELS_KEY: "person, vehicle"})


def read_a_tensor_that_is_not_there(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


BROKEN: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (rename_input, "one input 'frames', and has: images"),
    (rename_output, "one output 'detections', and has: boxes"),
    (answer_doubles, "'detections' must be float32, and is double"),
    (lambda model: set_dim(model.graph.input[0], 0, 1), r"\[batch, height, width, 3\], and is \[1, 32, 48, 3\]"),
    (lambda model: set_dim(model.graph.output[0], 0, 1), r"\[batch, max_detections, 6\], and is \[1, 5, 6\]"),
    (lambda model: set_dim(model.graph.input[0], 3, 4), r"and is \[open, 32, 48, 4\]"),
    (lambda model: set_dim(model.graph.output[0], 2, 7), r"and is \[open, 5, 7\]"),
    (lambda model: set_dim(model.graph.output[0], 1, 9), r"a batch of 1 gives \[1, 5, 6\]"),
    (answer_nan, "not finite"),
    (mix_the_batch, "other detections in a batch than alone"),
    (name_labels_badly, "not a JSON list of names"),
]


@pytest.mark.parametrize(("breaking", "problem"), BROKEN, ids=[problem for _, problem in BROKEN])
def test_a_broken_model_is_refused_and_what_is_wrong_is_named(
    breaking: Callable[[onnx.ModelProto], None], problem: str
) -> None:
    model = marker_model()
    breaking(model)
    with pytest.raises(ContractError, match=problem) as caught:
        check_contract(model.SerializeToString(), "model.onnx")
    assert str(caught.value).startswith("model.onnx breaks the detection contract")
    assert caught.value.hint


def test_a_graph_that_hangs_together_badly_is_no_onnx_model() -> None:
    model = marker_model()
    read_a_tensor_that_is_not_there(model)
    with pytest.raises(InvalidInputError, match="not an ONNX model"):
        check_contract(model.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100])
def test_a_file_that_is_no_model_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "holiday.onnx"
    file.write_bytes(content)
    with pytest.raises(CountlineError, match=r"holiday\.onnx"):
        check_contract(file)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.onnx"):
        check_contract(tmp_path / "none.onnx")


def test_a_model_is_known_by_the_names_of_its_tensors() -> None:
    model = marker_model()
    assert looks_like_contract(model)
    rename_output(model)
    assert not looks_like_contract(model)

"""The commands that make, check and place models, as a person calls them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.fixtures.models.contract_models import marker_model
from typer.testing import CliRunner

from countline_common.errors import CountlineError
from countline_models.cli.app import app
from countline_models.contract import check_contract

RUNNER = CliRunner()


def run(*arguments: object) -> str:
    """Call `countline models ...`; returns its standard output and raises what it raises."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    path = tmp_path / "marker.onnx"
    path.write_bytes(marker_model().SerializeToString())
    return path


@pytest.fixture
def yolox(tmp_path: Path) -> Path:
    """A network of YOLOX's shape for 64x64 and two classes, which sees one object in every picture."""
    raw = np.zeros((84, 7), np.float32)
    raw[0] = (1, 1, 1, 1, 0.9, 0.1, 1.0)
    weights = helper.make_tensor("raw", TensorProto.FLOAT, [1, 84, 7], raw.ravel())
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["mean_3d"]),
        helper.make_node("Mul", ["mean_3d", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "raw"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "one_object",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 84, 7])],
        [
            weights,
            helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1, -1]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    path = tmp_path / "one_object.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_fusing_writes_a_contract_model_with_the_labels_of_the_file(yolox: Path, tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("person\nvehicle\n")
    out = tmp_path / "new" / "out.onnx"
    run("fuse", yolox, "--head", "yolox", "--labels", labels, "--max-detections", 9, "-o", out)
    contract = check_contract(out)
    assert (contract.labels, contract.max_detections, contract.height) == (("person", "vehicle"), 9, 64)


def test_fusing_says_what_it_recognised_and_keeps_the_classes_that_are_named(yolox: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["fuse", str(yolox), "--classes", "class_1", "-o", str(tmp_path / "out.onnx")])
    assert result.exit_code == 0, result.output
    assert "head recognised: yolox [batch, 84, 7]: 5 + 2 classes, not decoded; BGR, scale 1" in result.stderr
    assert check_contract(tmp_path / "out.onnx").labels == ("class_1",)


def test_overrides_of_preprocessing_reach_the_model(yolox: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    arguments = ["--channel-order", "rgb", "--scale", "0.5", "--mean", "1,2,3", "--std", "2,2,2", "--nms-iou", "0.7"]
    result = RUNNER.invoke(app, ["fuse", str(yolox), "--head", "yolox", *arguments, "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "RGB, scale 0.5; suppressed per class above IoU 0.7" in result.stderr
    factors = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(out).graph.initializer]
    assert any(array.shape == (1, 3, 1, 1) and np.allclose(array.ravel(), (-0.5, -1, -1.5)) for array in factors)


def test_heads_are_listed_with_the_architectures_that_they_decode() -> None:
    listed = json.loads(run("heads", "--json"))
    assert {"yolox", "yolov5", "yolov8", "end2end", "rtdetr", "ssd", "centernet", "nanodet", "detectnet"} == {
        head["name"] for head in listed
    }
    assert "also as rt-detr, rtdetrv2, dfine, d-fine, deim" in run("heads")


def test_preparing_recognises_the_head_and_prints_json_alone(yolox: Path, tmp_path: Path) -> None:
    answer = json.loads(run("prepare", yolox, "--out", tmp_path / "repository", "--json"))
    assert (answer["name"], answer["head"], answer["height"]) == ("one_object", "yolox", 64)
    assert answer["labels"] == ["class_0", "class_1"]
    assert (tmp_path / "repository" / "one_object" / "1" / "model.onnx").is_file()


def test_preparing_passes_a_contract_model_through(marker: Path, tmp_path: Path) -> None:
    answer = json.loads(run("prepare", marker, "--out", tmp_path / "repository", "--json"))
    assert (answer["head"], answer["labels"], answer["score_threshold"]) == ("", ["person", "vehicle"], 0.4)


def test_adding_places_a_model_under_the_name_it_is_given(marker: Path, tmp_path: Path) -> None:
    run("add", marker, "--name", "gate", "--repository", tmp_path / "repository")
    assert (tmp_path / "repository" / "gate" / "config.pbtxt").read_text().startswith('name: "gate"')


def test_checking_prints_what_the_model_is(marker: Path) -> None:
    answer = json.loads(run("check", marker, "--json"))
    assert (answer["width"], answer["max_detections"], answer["labels"]) == (48, 5, ["person", "vehicle"])


@pytest.mark.parametrize(
    ("arguments", "problem", "hint"),
    [
        (["fuse", "{yolox}", "--head", "yolo99", "-o", "{out}"], "unknown head 'yolo99'", "yolox"),
        (["fuse", "{yolox}", "--size", "large", "-o", "{out}"], "--size large: not a picture size", "1280x720"),
        (["fuse", "{yolox}", "--size", "60x64", "-o", "{out}"], "multiples of 32, not 60x64", "--size"),
        (["fuse", "{yolox}", "--nms-iou", "1.5", "-o", "{out}"], "nms_iou must lie between 0 and 1", ""),
        (["fuse", "{yolox}", "--mean", "1,2", "-o", "{out}"], "'1,2' is not three numbers", "--mean 123.7"),
        (["fuse", "{yolox}", "--classes", "dog", "-o", "{out}"], "no class 'dog'", "class_0, class_1"),
        (["fuse", "{yolox}", "--labels", "{out}", "-o", "{out}"], "no file", "one class name a line"),
        (["fuse", "{none}", "-o", "{out}"], "no file", "path"),
        (["fuse", "{text}", "-o", "{out}"], "is not an ONNX model", "export"),
        (["check", "{yolox}"], "one input 'frames', and has: images", "countline models fuse"),
        (["add", "{yolox}", "--name", "x", "--repository", "{out}"], "breaks the detection contract", "fuse"),
        (["prepare", "{marker}", "--head", "yolox", "--out", "{out}"], "must have one input", ""),
    ],
)
def test_what_cannot_be_done_is_said_with_a_hint(
    yolox: Path, marker: Path, tmp_path: Path, arguments: list[str], problem: str, hint: str
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    places = {"yolox": yolox, "marker": marker, "out": tmp_path / "out", "none": tmp_path / "none", "text": text}
    with pytest.raises(CountlineError) as caught:
        run(*(argument.format(**places) for argument in arguments))
    assert problem in str(caught.value)
    assert hint in caught.value.hint
    assert not (tmp_path / "out").exists(), "nothing is half written"

"""Models that must not be deployed: each is refused with what was wrong and what to do about it."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from tests.fixtures.models.contract_models import marker_model

from countline_common.errors import CountlineError, InvalidInputError, ResourceExhaustedError
from countline_models.contract import LABELS_KEY, SCORE_THRESHOLD_KEY, set_metadata
from countline_models.contract_model import ContractModel
from countline_models.deploy import (
    ClipLine,
    ClipTruth,
    CountedLine,
    Limits,
    ModelFolder,
    ServedSpeed,
    check_interchangeable,
    check_speed,
    examine,
    golden_problem,
)
from countline_models.deploy.examination import _ended

Breaking = Callable[[onnx.ModelProto], None]
LIMITS = Limits(check_timeout_s=20.0, max_memory_bytes=1 << 30)


def then(model: onnx.ModelProto, *nodes: onnx.NodeProto, **constants: np.ndarray) -> None:
    """Append nodes that make `detections` of what the model answered so far, which they find as `good`."""
    model.graph.node[-1].output[0] = "good"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())


def node(kind: str, inputs: str, output: str = "detections", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def value(name: str, kind: int, *shape: int | str | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def takes(kind: int, *shape: int | str | None) -> Breaking:
    return lambda model: model.graph.input[0].CopyFrom(value("frames", kind, *shape))


def answers(kind: int, *shape: int | str | None) -> Breaking:
    return lambda model: model.graph.output[0].CopyFrom(value("detections", kind, *shape))


def says(**metadata: str) -> Breaking:
    keys = {"labels": LABELS_KEY, "threshold": SCORE_THRESHOLD_KEY}
    return lambda model: helper.set_model_props(model, {keys[key]: text for key, text in metadata.items()})


def with_opset(version: int) -> Breaking:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def newer_format(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(value("sizes", TensorProto.INT64, "batch", 2))


def other_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "boxes"


def half_floats(model: onnx.ModelProto) -> None:
    then(model, node("Cast", "good", to=TensorProto.FLOAT16))
    answers(TensorProto.FLOAT16, "batch", 5, 6)(model)


def adds(column: int, number: float) -> Breaking:
    """The first detection of every frame gets so much more in one column."""
    row = np.zeros((5, 6), np.float32)
    row[0, column] = number
    return lambda model: then(model, node("Add", "good more"), more=row)


def not_a_number(model: onnx.ModelProto) -> None:
    then(model, node("Sub", "good good", "none"), node("Div", "none none"))


def mean_of_the_batch(model: onnx.ModelProto) -> None:
    then(
        model, node("ReduceMean", "good", "mean", axes=[0]), node("Sub", "good good", "none"), node("Add", "none mean")
    )


def first_frame_for_all(model: onnx.ModelProto) -> None:
    """What a batch that the exporter froze may leave: the first frame is right, alone and in a batch."""
    then(
        model,
        node("Gather", "good first", "only", axis=0),
        node("Sub", "good good", "none"),
        node("Add", "none only"),
        first=np.zeros(1, np.int64),
    )


def never_the_same(model: onnx.ModelProto) -> None:
    then(model, node("RandomUniformLike", "good", "noise", low=0.0, high=0.01), node("Add", "good noise"))


def operator_of_another_vendor(model: onnx.ModelProto) -> None:
    then(model, node("DeformConvFast", "good", domain="com.acme"))
    model.opset_import.append(helper.make_opsetid("com.acme", 1))


def operator_that_is_none(model: onnx.ModelProto) -> None:
    then(model, node("Guess", "good"))


def weights_elsewhere(model: onnx.ModelProto) -> None:
    external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def never_done(model: onnx.ModelProto) -> None:
    """A loop of 2**50 rounds."""
    scalar = [value("sum_in", TensorProto.FLOAT)], [value("sum_out", TensorProto.FLOAT)]
    body = helper.make_graph(
        [node("Identity", "go_on", "still"), node("Add", "sum_in sum_in", "sum_out")],
        "round",
        [value("round", TensorProto.INT64), value("go_on", TensorProto.BOOL), *scalar[0]],
        [value("still", TensorProto.BOOL), *scalar[1]],
    )
    then(
        model,
        node("Loop", "rounds yes start", "end", body=body),
        node("Add", "good end"),
        rounds=np.array(2**50, np.int64),
        yes=np.array(True),
        start=np.array(0.0, np.float32),
    )


def takes_all_memory(model: onnx.ModelProto) -> None:
    """Half a terabyte of zeros, of which it takes the largest."""
    then(
        model,
        node("Shape", "good", "shape"),
        node("Mul", "shape many", "sizes"),
        node("ConstantOfShape", "sizes", "zeros"),
        node("ReduceMax", "zeros", "most", keepdims=0),
        node("Add", "good most"),
        many=np.array([2**12, 2**10, 2**10], np.int64),
    )


NO_CONTRACT = "breaks the detection contract: "
FUSE = "countline models fuse"
BROKEN: dict[str, tuple[Breaking, str, str]] = {
    "opset too old": (with_opset(9), NO_CONTRACT + "it uses ONNX opset 9, and 11 to 21 are supported", "opset 17"),
    "opset too new": (with_opset(99), "it uses ONNX opset 99", "opset 17"),
    "format too new": (newer_format, "IR version 99", "model.ir_version = 10"),
    "two inputs": (second_input, "one input 'frames', and has: frames, sizes", FUSE),
    "input of floats": (takes(1, "batch", 32, 48, 3), "'frames' must be uint8, and is float", FUSE),
    "channels first": (takes(2, "batch", 3, 32, 48), r"3\], and is \[open, 3, 32, 48\]", FUSE),
    "grey": (takes(2, "batch", 32, 48, 1), r"and is \[open, 32, 48, 1\]", FUSE),
    "open size": (
        takes(2, "batch", "height", "width", 3),
        r"\[open, open, open, 3\]",
        "fix height and width: python -m",
    ),
    "open width": (
        takes(2, "batch", 32, "width", 3),
        r"\[open, 32, open, 3\]",
        "fix width: python -m onnxruntime.tools",
    ),
    "fixed batch": (takes(2, 1, 32, 48, 3), r"and is \[1, 32, 48, 3\]", "dynamic batch axis"),
    "other output": (other_output, "one output 'detections', and has: boxes", FUSE),
    "five columns": (answers(1, "batch", 5, 5), r"6\], and is \[open, 5, 5\]", FUSE),
    "half floats": (half_floats, "'detections' must be float32, and is float16", FUSE),
    "open detections": (answers(1, "batch", None, 6), r"6\], and is \[open, open, 6\]", FUSE),
    "another shape than it says": (answers(1, "batch", 9, 6), r"a batch of 1 gives \[1, 5, 6\]", FUSE),
    "labels no JSON": (says(labels="person, vehicle"), "countline.labels is not a JSON list of names", "--labels"),
    "no labels": (says(), "names no class", "--labels FILE"),
    "a label twice": (says(labels='["car", "car"]'), "names the class 'car' twice", "a name of its own"),
    "a label over two lines": (
        says(labels='["car", "x\\ny"]'),
        r"'x\\ny' cannot be the name of a class",
        "--labels FILE",
    ),
    "a label of nothing": (says(labels='["car", ""]'), "class 1 has an empty name", "--labels FILE"),
    "threshold no number": (says(threshold="high"), "score_threshold is not a number: 'high'", "write it again"),
    "threshold above 1": (
        says(threshold="45"),
        "score_threshold is 45, and must lie between 0 and 1",
        "write it again",
    ),
    "class without label": (adds(5, 6), "it answers class 7, and there are 2 labels: person, vehicle", "--labels FILE"),
    "half a class": (adds(5, 0.5), "it answers the class 1.5, and classes are whole numbers", FUSE),
    "not a number": (not_a_number, "numbers that are not finite", "division by zero"),
    "scores above 1": (adds(4, 13), "its scores reach from 0 to 13.9", "--scores logits"),
    "scores below 0": (adds(4, -3), "its scores reach from -2.1 to 0", "--scores logits"),
    "boxes on the moon": (adds(2, 1e6), r"its boxes reach 1e\+06 pixels, in frames of 48x32", "--boxes pixels"),
    "mixed batch": (mean_of_the_batch, "other detections in a batch than alone", "dynamic batch axis"),
    "first frame for all": (first_frame_for_all, "other detections in a batch than alone", "dynamic batch axis"),
    "random": (never_the_same, "the same frame differently a second time", "evaluation mode"),
    "foreign operator": (operator_of_another_vendor, "cannot run it: .*DeformConvFast", "standard operators"),
    "no operator": (operator_that_is_none, "is not an ONNX model: No Op registered for Guess", "export the network"),
    "weights elsewhere": (
        weights_elsewhere,
        "it keeps weights in weights.bin, and a contract model is one file",
        "onnx.save",
    ),
}


@pytest.mark.usefixtures("forked_probe")
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_model_is_refused_with_its_name_the_reason_and_a_hint(name: str, tmp_path: Path) -> None:
    breaking, problem, hint = BROKEN[name]
    model = marker_model()
    breaking(model)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInputError, match=problem) as caught:
        await examine(tmp_path / "net.onnx", None, LIMITS)
    assert "net.onnx" in str(caught.value)
    assert hint in caught.value.hint


WHOLE = marker_model().SerializeToString()
FILES = {
    "empty": (b"", "net.onnx is empty", "export the network"),
    "no model": (b"hello" * 100, "net.onnx is not an ONNX model", "export the network"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "net.onnx is not an ONNX model", "export the network"),
    "cut off": (WHOLE[: len(WHOLE) // 2], "net.onnx is not an ONNX model", "export the network"),
}


@pytest.mark.usefixtures("forked_probe")
@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_is_no_model_is_refused(name: str, tmp_path: Path) -> None:
    content, problem, hint = FILES[name]
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(InvalidInputError, match=problem) as caught:
        await examine(tmp_path / "net.onnx", None, LIMITS)
    assert hint in caught.value.hint


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CountlineError, match=r"there is no file .*net\.onnx") as caught:
        await examine(tmp_path / "net.onnx", None, LIMITS)
    assert (caught.value.code, caught.value.hint) == ("NOT_FOUND", "check the path of the model")


async def test_a_file_over_the_limit_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "net.onnx").open("wb") as sparse:
        sparse.truncate(3 << 30)
    with pytest.raises(ResourceExhaustedError, match=r"has 3072.0 MiB, and 1024.0 MiB are allowed") as caught:
        await examine(tmp_path / "net.onnx", None, Limits())
    assert "half precision" in caught.value.hint


async def test_a_model_that_never_ends_is_ended(tmp_path: Path) -> None:
    model = marker_model()
    never_done(model)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInputError, match=r"net.onnx did not finish six frames within 1.5 s") as caught:
        await examine(tmp_path / "net.onnx", None, Limits(check_timeout_s=1.5))
    assert "a loop that does not end" in caught.value.hint


async def test_a_model_that_takes_all_memory_is_stopped_before_it_has_it(tmp_path: Path) -> None:
    model = marker_model()
    takes_all_memory(model)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInputError, match=r"net.onnx needs more than 1 GiB of memory to run") as caught:
        await examine(tmp_path / "net.onnx", None, LIMITS)
    assert "grows without bounds" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "problem", "hint"),
    [
        (-signal.SIGSEGV, r"net.onnx crashes ONNX Runtime \(SIGSEGV\): stack smashed", "standard operators"),
        (-signal.SIGABRT, r"crashes ONNX Runtime \(SIGABRT\)", "standard operators"),
        (-signal.SIGKILL, "most likely because it used all memory", "a smaller network"),
        (3, r"crashes ONNX Runtime \(status 3\)", "another opset"),
    ],
)
def test_a_model_that_takes_onnx_runtime_along_is_refused(status: int, problem: str, hint: str) -> None:
    refusal = _ended("net.onnx", status, "stack\nsmashed", LIMITS)
    with pytest.raises(InvalidInputError, match=problem):
        raise refusal
    assert hint in refusal.hint


async def test_labels_that_are_no_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(WHOLE)
    with pytest.raises(InvalidInputError, match="3 labels are given and the model has 2 classes") as caught:
        await examine(tmp_path / "net.onnx", ("a", "b", "c"), LIMITS)
    assert "a label for every class" in caught.value.hint


CONTRACT = ContractModel(32, 48, 5, ("person", "vehicle"), 0.4)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (ContractModel(64, 48, 5, ("person", "vehicle"), 0.4), "its input is 48x64, not 48x32"),
        (ContractModel(32, 48, 9, ("person", "vehicle"), 0.4), "it answers 9 detections, not 5"),
        (ContractModel(32, 48, 5, ("vehicle", "person"), 0.4), "its labels are vehicle, person, not person, vehicle"),
    ],
)
def test_what_cannot_stand_in_for_a_model_needs_another_name(other: ContractModel, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=f"cannot be a version of 'gate': {problem}") as caught:
        check_interchangeable("gate", other, CONTRACT)
    assert "another --name" in caught.value.hint


def test_another_score_threshold_is_no_obstacle() -> None:
    check_interchangeable("gate", ContractModel(32, 48, 5, ("person", "vehicle"), 0.2), CONTRACT)


@pytest.mark.parametrize("name", ["", "a b", "../up", "-dash", "x" * 64, "ä", "countline-staging-1"])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(WHOLE)
    with pytest.raises(InvalidInputError, match="cannot be the name of a model") as caught:
        ModelFolder(tmp_path / "models").write_version(name, 1, tmp_path / "net.onnx")
    assert caught.value.hint
    assert not (tmp_path / "models").exists()


def test_a_model_that_miscounts_is_reported_where_and_by_how_much() -> None:
    truth = ClipTruth({"road": ClipLine(((0.5, 0), (0.5, 1)), 4, 3), "door": ClipLine(((0, 0.5), (1, 0.5)), 1, 1)})
    lines = (CountedLine("road", 4, 3, 2, 3), CountedLine("door", 1, 1, 1, 1))
    assert golden_problem(lines, truth) == "line 'road' counted 2 in and 3 out instead of 4 in and 3 out"


def test_a_model_that_is_too_slow_is_refused_with_both_numbers() -> None:
    speed = ServedSpeed(frames_per_s=20.0, latency_p50_ms=45.0, latency_p95_ms=61.3)
    with pytest.raises(InvalidInputError, match=r"a frame takes 61\.3 ms .* and 40 ms is the limit") as caught:
        check_speed(speed, 40.0)
    assert "--max-latency-ms" in caught.value.hint
    check_speed(speed, 0.0)
    check_speed(speed, 61.3)


async def test_a_good_model_passes_with_what_it_says_of_itself(tmp_path: Path) -> None:
    model = marker_model()
    set_metadata(model, ("person", "vehicle"), 0.4)
    entry = model.metadata_props.add()
    entry.key, entry.value = "countline.fused", "yolox [batch, 40, 6]"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    found = await examine(tmp_path / "net.onnx", None, LIMITS)
    assert found.contract == CONTRACT
    assert (found.fused, found.size_bytes) == ("yolox [batch, 40, 6]", (tmp_path / "net.onnx").stat().st_size)
    assert len(found.digest) == 64
    renamed = await examine(tmp_path / "net.onnx", ("walker", "car"), LIMITS)
    assert renamed.contract.labels == ("walker", "car")
    assert renamed.digest == found.digest

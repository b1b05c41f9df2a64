"""What holds for every fused model, whatever its head; and networks that cannot be fused, each with its reason."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper
from tests.fixtures.models import detector_networks as nets
from tests.fixtures.repository import REPOSITORY

from countline_common.errors import CountlineError, InvalidInputError
from countline_common.triton.letterbox import Letterbox, Scaler, paste
from countline_models.contract import FUSED_KEY, open_session, run_contract
from countline_models.fusing.files import fuse_file
from countline_models.fusing.options import FuseOptions
from countline_models.heads import HEADS, head_named
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

SIZE_HW = (64, 96)
NAMES = ("person", "bicycle", "car")


def rows(batch: int = 3, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """Finished detections (batch, 40, 6)."""
    rng = np.random.default_rng(0)
    first = rng.random((batch, 40, 2)) * 30
    last = first + 5 + rng.random((batch, 40, 2)) * 30
    scores = np.sort(rng.random((batch, 40, 1)), axis=1)[:, ::-1]
    return np.concatenate([first, last, scores, rng.integers(0, 3, (batch, 40, 1))], axis=2).astype(np.float32)


def finished(**more: object) -> onnx.ModelProto:
    """A network that answers finished detections."""
    return nets.answering({"output0": rows()}, SIZE_HW, **more)  # type: ignore[arg-type]


def test_the_file_says_how_the_network_was_read() -> None:
    fused = nets.fuse(finished(), head_named("end2end"), NAMES)
    said = {entry.key: entry.value for entry in fused.metadata_props}[FUSED_KEY]
    assert said.startswith("end2end [batch, 40, 6]: finished detections, boxes in pixels (observed)")
    assert "RGB, scale 0.00392157" in said
    assert "not suppressed" in said


def test_every_architecture_has_one_head_whatever_the_case() -> None:
    names = [name for head in HEADS.values() for name in (head.name, *head.aliases)]
    assert len(set(names)) == len(names)
    assert head_named("YOLOv9") is HEADS["yolov8"]
    assert head_named("PeopleNet") is HEADS["detectnet"]
    assert all("arXiv" in head.about or "github" in head.about or "DeepStream" in head.about for head in HEADS.values())


def test_the_table_of_heads_in_the_readme_is_that_of_the_code() -> None:
    readme = REPOSITORY / "models" / "README.md"
    listed = [line.split("`")[1] for line in readme.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [name for name in listed if name in HEADS] == list(HEADS)


def mirror() -> onnx.ModelProto:
    """A network whose finished detection holds what the middle pixel of its picture looks like to it: x1, y1, x2."""
    net = nets.SmallNet((32, 32))
    middle = net.op("Slice", "images", net.ints(16, 16), net.ints(17, 17), net.ints(2, 3))
    colours = net.op("Reshape", middle, net.ints(1, 1, 3))
    rest = net.const(np.array([[[0, 0.9, 0]]], np.float32))
    zero = net.op("Mul", net.op("Slice", colours, net.ints(0), net.ints(1), net.ints(2)), net.const(np.float32(0)))
    return net.model({"output0": (net.op("Concat", colours, net.op("Add", zero, rest), axis=2), (1, 1, 6))})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (10 / 255, 100 / 255, 200 / 255)),
        ({"scale": 1.0}, (10, 100, 200)),
        ({"channel_order": "bgr", "scale": 1.0}, (200, 100, 10)),
        (
            {"mean": (0.1, 0.2, 0.3), "std": (0.5, 1, 2)},
            ((10 / 255 - 0.1) / 0.5, 100 / 255 - 0.2, (200 / 255 - 0.3) / 2),
        ),
        ({"scale": 0.5, "mean": (1, 2, 3), "scale_order": "mean-first"}, (4.5, 49, 98.5)),
        ({"channel_order": "bgr", "scale": 1.0, "mean": (1, 2, 3)}, (199, 98, 7)),
    ],
)
def test_pixels_reach_the_network_as_its_training_had_them(
    options: dict[str, object], expected: tuple[float, float, float]
) -> None:
    chosen = FuseOptions(boxes="pixels", max_detections=1, **options)  # type: ignore[arg-type]
    frame = np.full((1, 32, 32, 3), (10, 100, 200), np.uint8)
    answer = nets.run_fused(mirror(), "end2end", frame, ("thing",), chosen)
    np.testing.assert_allclose(answer[0, 0, :3], expected, atol=1e-5)


def bright_box_finder(size_hw: tuple[int, int]) -> onnx.ModelProto:
    """A network that really sees: it answers the box around all that is brighter than half."""
    net, sides = nets.SmallNet(size_hw), []
    light = net.op(
        "Cast",
        net.op("Greater", net.op("ReduceMean", "images", axes=[1]), net.const(np.float32(0.6))),
        to=TensorProto.FLOAT,
    )
    for across in (2, 3):  # rows looked at from above give columns, and the other way round
        line = net.op("Squeeze", net.op("ReduceMax", light, axes=[across]), net.ints(across))
        last = net.op("Slice", line, net.ints(-1), net.ints(-(10**6)), net.ints(2), net.ints(-1))
        length = net.const(np.int64(size_hw[1] if across == 2 else size_hw[0]))
        sides += [
            net.op("ArgMax", line, axis=2, keepdims=1),
            net.op("Sub", length, net.op("ArgMax", last, axis=2, keepdims=1)),
        ]
    box = net.op("Cast", net.op("Concat", sides[0], sides[2], sides[1], sides[3], axis=2), to=TensorProto.FLOAT)
    alike = net.op("Mul", net.op("Slice", box, net.ints(0), net.ints(2), net.ints(2)), net.const(np.float32(0)))
    rest = net.op("Add", alike, net.const(np.array([[[0.9, 0]]], np.float32)))
    return net.model({"output0": (net.op("Concat", box, rest, axis=2), (1, 1, 6))})


@pytest.mark.parametrize(
    ("picture_wh", "size_hw", "box"),
    [
        ((1280, 720), (384, 640), (200, 100, 480, 620)),  # half the size, padded below
        ((640, 640), (384, 640), (10, 30, 600, 500)),  # padded on the right, a scale that divides nothing
        ((768, 432), (416, 416), (96, 48, 240, 400)),
        ((320, 192), (384, 640), (7, 9, 200, 100)),  # enlarged
    ],
)
def test_what_a_network_sees_in_a_letterboxed_picture_comes_back_where_it_is(
    picture_wh: tuple[int, int], size_hw: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    """Drawn, scaled and pasted as the data plane does it; within half a pixel of the input, or of a larger picture."""
    width, height = picture_wh
    picture = np.zeros((height, width, 3), np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = 255
    letterbox = Letterbox(picture_wh, size_hw[::-1])
    frames = np.full((2, *size_hw, 3), 114, np.uint8)
    for frame in frames:
        paste(Scaler().scale(av.VideoFrame.from_ndarray(picture, format="rgb24"), letterbox), frame, padded=False)
    answer = nets.run_fused(bright_box_finder(size_hw), "end2end", frames, ("bright",), FuseOptions(boxes="pixels"))
    scale = float(Fraction(letterbox.scaled_wh[0], width))
    for detections in answer:
        found = letterbox.to_source(detections[detections[:, 4] > 0.5])
        np.testing.assert_allclose(found[0, :4], box, atol=0.5 * max(1.0, 1.0 / scale))


def test_more_rows_than_a_network_has_boxes_are_left_empty() -> None:
    answer = nets.run_fused(finished(), "end2end", nets.blank(2, SIZE_HW), NAMES, FuseOptions(max_detections=100))
    assert (answer[:, 40:] == 0).all()
    assert (answer[answer[..., 4] == 0] == 0).all()


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    model = finished()
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "big.onnx")
    fused, head = fuse_file(tmp_path / "big.onnx", None, NAMES)
    (tmp_path / "weights.bin").unlink()
    assert head == "end2end"
    answer = run_contract(open_session(fused.SerializeToString()), nets.blank(1, SIZE_HW))
    np.testing.assert_allclose(answer[0, :5], rows()[0, :5], atol=1e-3)


def test_nodes_in_disorder_are_put_in_order(tmp_path: Path) -> None:
    """A converter to float16 appends its casts at the end: ONNX Runtime takes it, ONNX's checker does not."""
    model = finished()
    backwards = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(backwards)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    fused, _ = fuse_file(tmp_path / "net.onnx", None, NAMES)
    answer = run_contract(open_session(fused.SerializeToString()), nets.blank(1, SIZE_HW))
    np.testing.assert_allclose(answer[0, :5], rows()[0, :5], atol=1e-3)


def test_constants_keep_their_rank() -> None:
    """A scalar that became a vector let ONNX Runtime refuse Range in some networks and not in others."""
    build = GraphBuilder(finished(), "test")
    build.float(2.5)
    assert list(build.model.graph.initializer[-1].dims) == []


def with_input(*shape: int | str | None, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    model = finished()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", kind, shape))
    return model


def two_pictures() -> onnx.ModelProto:
    model = finished()
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 3, 64, 96]))
    return model


def first_frame_only() -> onnx.ModelProto:
    """Exported so that it answers the first frame, however many there are."""
    model = finished()
    model.graph.node[-1].output[0] = "all"
    model.graph.node.append(helper.make_node("Gather", ["all", "zero"], ["output0"], axis=0))
    return model


def never_the_same() -> onnx.ModelProto:
    model = finished()
    model.graph.node[-1].output[0] = "all"
    model.graph.node.append(helper.make_node("Slice", ["all", "zero", "four", "last"], ["boxes"]))
    model.graph.node.append(helper.make_node("Slice", ["all", "four", "six", "last"], ["rest"]))
    model.graph.node.append(helper.make_node("RandomUniformLike", ["boxes"], ["shaken"]))
    model.graph.node.append(helper.make_node("Add", ["boxes", "shaken"], ["moved"]))
    model.graph.node.append(helper.make_node("Concat", ["moved", "rest"], ["output0"], axis=2))
    for name, value in (("last", 2), ("four", 4), ("six", 6)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    return model


def unknown_operator() -> onnx.ModelProto:
    model = finished()
    model.graph.node[-1].output[0] = "all"
    model.graph.node.append(helper.make_node("EfficientNMS_TRT", ["all"], ["output0"], domain="TRT"))
    model.opset_import.append(helper.make_opsetid("TRT", 1))
    return model


def not_a_number() -> onnx.ModelProto:
    raw = rows()
    raw[:, :3, 0] = np.nan
    return nets.answering({"output0": raw}, SIZE_HW)


def scores_as_logits() -> onnx.ModelProto:
    raw = rows()
    raw[..., 4] = raw[..., 4] * 20 - 5
    return nets.answering({"output0": raw}, SIZE_HW)


def weights_elsewhere() -> onnx.ModelProto:
    model = finished()
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    return model


def no_family() -> onnx.ModelProto:
    return nets.answering({"embedding": np.zeros((1, 128), np.float32)}, SIZE_HW)


REFUSED: list[tuple[Callable[[], onnx.ModelProto], dict[str, object], str, str]] = [
    # network, what is asked, what is said, part of the hint
    (finished, {"head": "yolo99"}, "unknown head 'yolo99'", "end2end, nanodet"),
    (finished, {"labels": ("person",)}, "1 labels are given and the model answers class 2", "every class"),
    (finished, {"labels": None}, "number of classes is not in the graph", "--labels"),
    (finished, {"head": "yolov8"}, "a run does not show", "--boxes"),
    (finished, {"head": "ssd"}, "SSD has two outputs", "--head"),
    (finished, {"size_hw": (64, 64), "head": "yolox"}, "40 rows do not fit the grids of YOLOX", "--head"),
    (finished, {"classes": ("dog",)}, "no class 'dog'", "person, bicycle, car"),
    (finished, {"classes": ("car", "2")}, "named twice", "once"),
    (finished, {"classes": ()}, "no class is left", "at least one"),
    (no_family, {"head": None}, r"no known head fits", "--head with one of: centernet"),
    (lambda: finished(opset=10), {}, "opset 10; 11 to 21 are supported", "opset 17"),
    (lambda: finished(opset=22), {}, "opset 22; 11 to 21 are supported", "opset 17"),
    (
        lambda: with_input(1, 3, 64),
        {},
        r"one input \[batch, 3, height, width\]; this one: images \[1, 3, 64\]",
        "export",
    ),
    (lambda: with_input(1, 64, 96, 3), {}, r"this one: images \[1, 64, 96, 3\]", "channels before height"),
    (lambda: with_input(1, 3, 64, 96, kind=TensorProto.UINT8), {}, "must be float32 or float16, not uint8", "export"),
    (lambda: with_input(1, 3, "height", "width"), {}, "leaves the size of its input open", "--size"),
    (two_pictures, {}, "must have one input", "alone"),
    (lambda: finished(sizes_input="mask"), {}, "inputs of an unknown kind: mask", "--head"),
    (first_frame_only, {}, "keeps the batch size", "dynamic batch axis"),
    (never_the_same, {}, "differently a second time", "evaluation mode"),
    (unknown_operator, {}, "ONNX Runtime cannot run the network at 96x64", "standard operators"),
    (not_a_number, {}, "not finite", "--boxes"),
    (scores_as_logits, {}, "scores reach 14.72", "--scores logits"),
    (weights_elsewhere, {}, r"keeps weights in weights\.bin, which cannot be read", r"weights.bin into the folder"),
]


@pytest.mark.parametrize(("network", "asked", "problem", "hint"), REFUSED, ids=[entry[2] for entry in REFUSED])
def test_what_cannot_be_fused_is_refused_with_file_finding_and_hint(
    network: Callable[[], onnx.ModelProto], asked: dict[str, object], problem: str, hint: str, tmp_path: Path
) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(network().SerializeToString())
    asked = {"head": "end2end", "labels": NAMES, **asked}
    head, labels = asked.pop("head"), asked.pop("labels")
    with pytest.raises(CountlineError, match=problem) as caught:
        fuse_file(file, head, labels, FuseOptions(**asked))  # type: ignore[arg-type]
    assert hint in caught.value.hint
    assert str(caught.value).startswith("net.onnx") or "head 'yolo99'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"nms_iou": 0.0}, "nms_iou must lie between 0 and 1"),
        ({"score_floor": 0.5, "score_threshold": 0.4}, "between the floor 0.5 and 1"),
        ({"max_detections": 0}, "at least 1"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be positive"),
        ({"scale": 0.0}, "scale must be positive"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        FuseOptions(**options)  # type: ignore[arg-type]


def test_a_network_without_shapes_of_its_outputs_is_understood_by_a_run() -> None:
    network = Network(finished(open_shapes=True))
    assert network.outputs == {"output0": (1, 40, 6)}

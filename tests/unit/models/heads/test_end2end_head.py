"""Finished detections in the graph's own answer (YOLOv10 and its like), against a plain NumPy reading."""

import numpy as np
import onnx
import pytest
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network, NetworkOptions

NAMES = ("person", "bicycle", "car")


def answers(seed: int, batch: int, size_hw: tuple[int, int], count: int = 50) -> np.ndarray:
    """Random finished detections (batch, count, 6) in pixels, best first."""
    rng = np.random.default_rng(seed)
    first = rng.random((batch, count, 2)) * size_hw[::-1] * 0.8
    last = first + rng.random((batch, count, 2)) * 40
    scores = np.sort(rng.random((batch, count, 1)), axis=1)[:, ::-1]
    classes = rng.integers(0, len(NAMES), (batch, count, 1))
    return np.concatenate([first, last, scores, classes], axis=2).astype(np.float32)


def read(rows: np.ndarray, options: FuseOptions) -> np.ndarray:
    """The rows that are good enough, best first, filled up with nothing."""
    kept = sorted((row for row in rows if row[4] > options.score_floor), key=lambda row: -row[4])
    found = np.zeros((options.max_detections, 6))
    for place, row in enumerate(kept[: options.max_detections]):
        found[place] = row
    return found


@pytest.mark.parametrize("max_detections", [10, 50, 120])  # fewer rows than detections, as many, more
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("opset", [11, 17, 21])
def test_finished_detections_pass_as_they_are(max_detections: int, normalised: bool, opset: int) -> None:
    raw = answers(1, 3, (96, 128))
    options = FuseOptions(max_detections=max_detections)
    expected = [read(frame, options) for frame in raw]
    if normalised:
        raw = raw / np.array([128, 96, 128, 96, 1, 1], np.float32)
    network = nets.answering({"output0": raw}, (96, 128), opset=opset)
    answer = nets.run_fused(network, "yolov10", nets.blank(3, (96, 128)), NAMES, options)
    np.testing.assert_allclose(answer, expected, atol=1e-3)


def small_yolov10(size_hw: tuple[int, int], classes: int, count: int = 30) -> onnx.ModelProto:
    """Convolutions, distances from the middle of each cell, and the best `count` picked in the graph."""
    net, stride = nets.SmallNet(size_hw), 8
    grid = nets.cells(size_hw, (stride,))
    raw = net.op(
        "Reshape", net.conv(net.features()[stride], 8, 4 + classes, size=1, spread=3.0), net.ints(1, 4 + classes, -1)
    )
    sides, likely = net.op("Split", net.op("Transpose", raw, perm=[0, 2, 1]), net.ints(4, classes), outputs=2, axis=2)
    sides = net.op("Mul", net.op("Softplus", sides), net.const(np.float32(stride)))
    signs = net.const(np.array([-1, -1, 1, 1], np.float32))
    middle = net.const((np.tile(grid[:, :2] + 0.5, 2)[None] * stride).astype(np.float32))
    boxes = net.op("Add", net.op("Mul", sides, signs), middle)
    flat = net.op("Reshape", net.op("Sigmoid", likely), net.ints(1, -1))
    scores, places = net.op("TopK", flat, net.ints(count), outputs=2, axis=1)
    which = net.op("Div", places, net.ints(classes))
    label = net.op("Cast", net.op("Mod", places, net.ints(classes)), to=onnx.TensorProto.FLOAT)
    chosen = net.op("GatherND", boxes, net.op("Unsqueeze", which, net.ints(2)), batch_dims=1)
    columns = [net.op("Unsqueeze", column, net.ints(2)) for column in (scores, label)]
    return net.model({"output0": (net.op("Concat", chosen, *columns, axis=2), (1, count, 6))})


@pytest.mark.parametrize("size_hw", [(64, 96), (128, 96)])
def test_a_small_whole_network_is_recognised_and_agrees_with_plain_reading(size_hw: tuple[int, int]) -> None:
    network = small_yolov10(size_hw, 3)
    assert recognise(Network(network, NetworkOptions(labels=NAMES))).name == "end2end"
    frames = nets.noise(3, size_hw)
    raw = nets.raw_answers(network, frames.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    expected = [read(answer["output0"], FuseOptions()) for answer in raw]
    np.testing.assert_allclose(nets.run_fused(network, "end2end", frames, NAMES), expected, atol=1e-3)


def test_suppression_is_added_where_it_is_asked_for() -> None:
    raw = answers(2, 1, (96, 128), count=20)
    options = FuseOptions(nms_iou=0.2)
    scores = np.zeros((3, 20))
    scores[raw[0, :, 5].astype(int), np.arange(20)] = raw[0, :, 4]
    network = nets.answering({"output0": raw}, (96, 128))
    answer = nets.run_fused(network, "end2end", nets.blank(1, (96, 128)), NAMES, options)
    np.testing.assert_allclose(answer[0], nets.suppressed(raw[0, :, :4], scores, options), atol=1e-3)


def test_chosen_classes_alone_are_answered() -> None:
    raw = answers(3, 1, (96, 128))
    network = nets.answering({"output0": raw}, (96, 128))
    options = FuseOptions(classes=("car",))
    answer = nets.run_fused(network, "end2end", nets.blank(1, (96, 128)), NAMES, options)[0]
    cars = raw[0][raw[0, :, 5] == 2] * [1, 1, 1, 1, 1, 0]
    np.testing.assert_allclose(answer, read(cars, options), atol=1e-3)


@pytest.mark.parametrize("size_hw", [(384, 640), (416, 416)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(size_hw: tuple[int, int]) -> None:
    raw = np.zeros((1, 300, 6), np.float32)
    raw[0, :3] = np.column_stack([nets.letterboxed(size_hw), [0.9] * 3, [0, 1, 2]])
    answer = nets.run_fused(nets.answering({"output0": raw}, size_hw), "end2end", nets.blank(1, size_hw), NAMES)
    nets.assert_boxes_come_back(answer[0], size_hw)


def test_class_names_must_be_known() -> None:
    network = nets.answering({"output0": answers(4, 1, (96, 128))}, (96, 128))
    with pytest.raises(InvalidInputError, match="number of classes is not in the graph") as caught:
        nets.fuse(network, head_named("end2end"))
    assert "--labels" in caught.value.hint


def test_too_few_labels_are_seen_in_a_run() -> None:
    network = nets.answering({"output0": answers(5, 1, (96, 128))}, (96, 128))
    with pytest.raises(InvalidInputError, match="2 labels are given and the model answers class 2"):
        nets.fuse(network, head_named("end2end"), ("person", "bicycle"))

"""YOLOv5 to v12 against a plain NumPy decode: random answers of the true layout, and small whole networks."""

import numpy as np
import onnx
import pytest
from onnx import helper
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network, NetworkOptions

STRIDES = (8, 16, 32)


def answers(
    seed: int, batch: int, size_hw: tuple[int, int], classes: int, *, objectness: bool, per_cell: int = 1
) -> np.ndarray:
    """Random decoded predictions (batch, N, 4 or 5 + classes) in pixels; centres lie near their cells."""
    rng = np.random.default_rng(seed)
    grid = nets.cells(size_hw, STRIDES, per_cell)
    shape = (batch, len(grid), 2)
    centre = (grid[:, :2] + 0.5 + rng.uniform(-1, 1, shape)) * grid[:, 2:]
    size = np.exp(rng.normal(0, 0.5, shape)) * 3 * grid[:, 2:]
    seen = rng.random((batch, len(grid), 1)) < 0.3
    likely = rng.random((batch, len(grid), classes + objectness)) * seen
    return np.concatenate([centre, size, likely], axis=2).astype(np.float32)


def decode(rows: np.ndarray, *, objectness: bool) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) and scores (classes, N) of one frame."""
    boxes = nets.by_corners(rows[:, :4])
    return boxes, (rows[:, 4:5] * rows[:, 5:] if objectness else rows[:, 4:]).T


LAYOUTS = [
    # head, objectness, predictions per cell, channels first, normalised
    ("yolov8", False, 1, True, False),
    ("yolov8", False, 1, False, False),
    ("yolov8", False, 1, True, True),
    ("yolov8", False, 1, False, True),
    ("yolov5", True, 3, False, False),
    ("yolov5", True, 3, True, False),
    ("yolov5", True, 3, False, True),
    ("yolov5", True, 1, False, False),
    ("yolov5", True, 1, True, True),
]


@pytest.mark.parametrize(("head", "objectness", "per_cell", "channels_first", "normalised"), LAYOUTS)
@pytest.mark.parametrize(("size_hw", "classes"), [((64, 96), 3), ((96, 64), 1), ((128, 160), 2)])
def test_every_layout_agrees_with_plain_decode_alone_and_in_a_batch(
    head: str,
    objectness: bool,
    per_cell: int,
    channels_first: bool,
    normalised: bool,
    size_hw: tuple[int, int],
    classes: int,
) -> None:
    raw = answers(1, 3, size_hw, classes, objectness=objectness, per_cell=per_cell)
    options = FuseOptions(max_detections=60)
    expected = [nets.suppressed(*decode(frame, objectness=objectness), options) for frame in raw]
    if normalised:
        raw = raw / np.array([size_hw[1], size_hw[0]] * 2 + [1] * (raw.shape[2] - 4), np.float32)
    network = nets.answering({"output0": raw.transpose(0, 2, 1) if channels_first else raw}, size_hw)
    together = nets.run_fused(network, head, nets.blank(3, size_hw), options=options)
    np.testing.assert_allclose(together, expected, atol=1e-3)


@pytest.mark.parametrize("opset", [11, 12, 13, 18, 21])
def test_every_supported_opset_decodes_alike(opset: int) -> None:
    raw = answers(2, 3, (64, 64), 2, objectness=False)
    network = nets.answering({"output0": raw.transpose(0, 2, 1)}, (64, 64), opset=opset)
    expected = [nets.suppressed(*decode(frame, objectness=False), FuseOptions()) for frame in raw]
    np.testing.assert_allclose(nets.run_fused(network, "yolov8", nets.blank(3, (64, 64))), expected, atol=1e-3)


def small_yolov8(size_hw: tuple[int, int], classes: int, bins: int = 8) -> onnx.ModelProto:
    """Convolutions, distributions over distances, and centres, as Ultralytics exports them."""
    net = nets.SmallNet(size_hw)
    features = net.features()
    parts = []
    for stride in STRIDES:
        both = net.conv(features[stride], 8, 4 * bins + classes, size=1, spread=3.0)
        parts.append(net.op("Reshape", both, net.ints(1, 4 * bins + classes, -1)))
    merged = net.op("Concat", *parts, axis=2)
    split = net.op("Split", merged, net.ints(4 * bins, classes), outputs=2, axis=1)
    grid = nets.cells(size_hw, STRIDES)
    bars = net.op("Transpose", net.op("Reshape", split[0], net.ints(1, 4, bins, len(grid))), perm=[0, 2, 1, 3])
    weights = net.const(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1))
    sides = net.op("Conv", net.op("Softmax", bars, axis=1), weights)
    sides = net.op("Reshape", sides, net.ints(1, 4, len(grid)))
    near, far = net.op("Split", sides, net.ints(2, 2), outputs=2, axis=1)
    middle = net.const((grid[:, :2].T[None] + 0.5).astype(np.float32))
    first, last = net.op("Sub", middle, near), net.op("Add", middle, far)
    centre = net.op("Div", net.op("Add", first, last), net.const(np.float32(2)))
    boxes = net.op("Concat", centre, net.op("Sub", last, first), axis=1)
    boxes = net.op("Mul", boxes, net.const(grid[:, 2].astype(np.float32)))
    output = net.op("Concat", boxes, net.op("Sigmoid", split[1]), axis=1)
    return net.model({"output0": (output, (1, 4 + classes, len(grid)))})


def small_yolov5(size_hw: tuple[int, int], classes: int) -> onnx.ModelProto:
    """Convolutions and anchors, decoded per level as the authors' Detect layer does at export."""
    net = nets.SmallNet(size_hw, seed=1)
    features, width = net.features(), 5 + classes
    parts, total = [], 0
    for stride in STRIDES:
        rows, columns = size_hw[0] // stride, size_hw[1] // stride
        raw = net.conv(features[stride], 8, 3 * width, size=1, spread=2.0)
        raw = net.op("Reshape", raw, net.ints(1, 3, width, rows, columns))
        likely = net.op("Sigmoid", net.op("Transpose", raw, perm=[0, 1, 3, 4, 2]))
        xy, wh, rest = net.op("Split", likely, net.ints(2, 2, 1 + classes), outputs=3, axis=4)
        grid = nets.cells((rows, columns), (1,))[:, :2].reshape(1, 1, rows, columns, 2).astype(np.float32)
        xy = net.op("Add", net.op("Mul", xy, net.const(np.float32(2))), net.const(grid - np.float32(0.5)))
        xy = net.op("Mul", xy, net.const(np.float32(stride)))
        anchors = np.array([[1, 2], [2, 1], [3, 3]], np.float32).reshape(1, 3, 1, 1, 2) * stride
        wh = net.op(
            "Mul",
            net.op("Pow", net.op("Mul", wh, net.const(np.float32(2))), net.const(np.float32(2))),
            net.const(anchors),
        )
        parts.append(net.op("Reshape", net.op("Concat", xy, wh, rest, axis=4), net.ints(1, 3 * rows * columns, width)))
        total += 3 * rows * columns
    return net.model({"output0": (net.op("Concat", *parts, axis=1), (1, total, width))})


@pytest.mark.parametrize(("head", "size_hw"), [("yolov8", (64, 96)), ("yolov8", (128, 128)), ("yolov5", (96, 64))])
def test_a_small_whole_network_is_recognised_and_agrees_with_plain_decode(head: str, size_hw: tuple[int, int]) -> None:
    objectness = head == "yolov5"
    network = small_yolov5(size_hw, 3) if objectness else small_yolov8(size_hw, 3)
    assert recognise(Network(network)).name == head
    frames = nets.noise(3, size_hw)
    pictures = frames.transpose(0, 3, 1, 2).astype(np.float32) / 255
    expected = []
    for answer in nets.raw_answers(network, pictures):
        rows = answer["output0"] if objectness else answer["output0"].T
        expected.append(nets.suppressed(*decode(rows, objectness=objectness), FuseOptions()))
    assert (np.array(expected)[..., 4] > 0.3).any(), "there is something to compare"
    np.testing.assert_allclose(nets.run_fused(network, head, frames), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("objectness", "per_cell", "channels_first", "labels", "heads"),
    [
        (False, 1, True, None, "yolov8"),
        (True, 3, False, None, "yolov5"),
        (True, 3, True, None, "yolov5"),
        (False, 1, False, ("a", "b", "c"), "yolov8"),
        (False, 1, False, ("a", "b"), "yolox or yolov5"),  # YOLOv6, or YOLOX exported with its decoding
    ],
)
def test_what_is_recognised_follows_from_axes_and_labels(
    objectness: bool, per_cell: int, channels_first: bool, labels: tuple[str, ...] | None, heads: str
) -> None:
    raw = answers(3, 1, (64, 96), 3, objectness=objectness, per_cell=per_cell)
    network = nets.answering({"output0": raw.transpose(0, 2, 1) if channels_first else raw}, (64, 96))
    asked = Network(network, NetworkOptions(labels=labels))
    if " or " not in heads:
        assert recognise(asked).name == heads
        return
    with pytest.raises(InvalidInputError, match=f"it could be {heads}"):
        recognise(asked)


def test_rows_that_may_or_may_not_hold_objectness_are_ambiguous_and_the_candidates_are_listed() -> None:
    network = nets.answering({"output0": answers(3, 1, (64, 96), 3, objectness=False)}, (64, 96))
    with pytest.raises(InvalidInputError, match="yolox or yolov5 or yolov8") as caught:
        recognise(Network(network))
    assert "--head" in caught.value.hint
    assert "--labels" in caught.value.hint


def test_sizes_that_the_exporter_left_open_are_seen_in_a_run() -> None:
    raw = answers(4, 3, (64, 96), 2, objectness=False)
    network = nets.answering({"output0": raw.transpose(0, 2, 1)}, (64, 96), open_shapes=True)
    assert recognise(Network(network)).name == "yolov8"
    expected = [nets.suppressed(*decode(frame, objectness=False), FuseOptions()) for frame in raw]
    np.testing.assert_allclose(nets.run_fused(network, "yolo11", nets.blank(3, (64, 96))), expected, atol=1e-3)


def test_a_network_of_half_floats_is_fused_too() -> None:
    raw = answers(5, 3, (64, 64), 2, objectness=False)
    network = nets.answering({"output0": raw.transpose(0, 2, 1)}, (64, 64), kind=onnx.TensorProto.FLOAT16)
    halved = raw.astype(np.float16).astype(np.float32)
    expected = [nets.suppressed(*decode(frame, objectness=False), FuseOptions()) for frame in halved]
    np.testing.assert_allclose(nets.run_fused(network, "yolov8", nets.blank(3, (64, 64))), expected, atol=1e-3)


@pytest.mark.parametrize("head", ["yolov8", "yolov5"])
@pytest.mark.parametrize("size_hw", [(384, 640), (416, 416)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(head: str, size_hw: tuple[int, int]) -> None:
    objectness = head == "yolov5"
    raw = answers(6, 1, size_hw, 2, objectness=objectness, per_cell=3 if objectness else 1)
    raw[..., 4:] = 0
    for box in nets.letterboxed(size_hw):
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        row = np.argmin(np.abs(raw[0, :, :2] - centre).sum(axis=1))
        raw[0, row] = [*centre, *size, *([1.0] if objectness else []), 0.9, 0.1]
    network = nets.answering({"output0": raw}, size_hw)
    options = FuseOptions(boxes="pixels", score_floor=0.2)
    nets.assert_boxes_come_back(nets.run_fused(network, head, nets.blank(1, size_hw), options=options)[0], size_hw)


def test_names_that_the_file_carries_become_its_labels() -> None:
    network = small_yolov8((64, 64), 2)
    helper.set_model_props(network, {"names": "{0: 'person', 1: 'car'}", "task": "detect"})
    fused = nets.fuse(network, head_named("yolov12"))
    assert '["person", "car"]' in [entry.value for entry in fused.metadata_props]


def test_chosen_classes_are_kept_in_the_order_that_they_are_named() -> None:
    raw = answers(7, 2, (64, 64), 3, objectness=False)
    network = nets.answering({"output0": raw.transpose(0, 2, 1)}, (64, 64))
    options = FuseOptions(classes=("car", "0"))
    boxes, scores = decode(raw[1], objectness=False)
    answer = nets.run_fused(network, "yolov8", nets.blank(2, (64, 64)), ("person", "dog", "car"), options)
    np.testing.assert_allclose(answer[1], nets.suppressed(boxes, scores[[2, 0]], options), atol=1e-3)


def test_a_network_made_for_one_size_is_refused_at_another() -> None:
    with pytest.raises(InvalidInputError, match="cannot be run at 96x64") as caught:
        nets.fuse(small_yolov8((64, 64), 2), head_named("yolov8"), options=FuseOptions(size_hw=(64, 96)))
    assert "leave --size away" in caught.value.hint


def test_a_network_for_poses_is_refused() -> None:
    network = small_yolov8((64, 64), 2)
    helper.set_model_props(network, {"task": "pose"})
    with pytest.raises(InvalidInputError, match="made for the task 'pose'"):
        nets.fuse(network, head_named("yolov8"))


def test_boxes_whose_unit_cannot_be_seen_must_be_named() -> None:
    raw = answers(8, 1, (64, 64), 2, objectness=False)
    raw[..., :4] = np.random.default_rng(0).random(raw[..., :4].shape)  # nowhere near their cells
    network = nets.answering({"output0": raw.transpose(0, 2, 1)}, (64, 64))
    with pytest.raises(InvalidInputError, match="in which unit") as caught:
        nets.fuse(network, head_named("yolov8"))
    assert "--boxes pixels" in caught.value.hint
    nets.fuse(network, head_named("yolov8"), options=FuseOptions(boxes="normalised"))

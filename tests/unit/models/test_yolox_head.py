"""The YOLOX head against a plain NumPy decode: on random networks of the true output layout, and on the real one."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from countline_common.errors import InvalidInputError
from countline_models.contract import check_contract, open_session, read_model, run_contract
from countline_models.fuse import FuseOptions, fuse
from countline_models.heads import HEADS, recognise
from countline_models.labels import COCO_LABELS
from countline_models.network import Network

YOLOX = HEADS["yolox"]


def decode(raw: np.ndarray, size_hw: tuple[int, int], options: FuseOptions) -> np.ndarray:
    """What YOLOX's output means, as plainly as it can be said: cells one by one, then NMS class by class.

    Args:
        raw: (N, 5 + classes), one frame.
        size_hw: of the network's input.
        options: thresholds and number of rows.

    Returns:
        (max_detections, 6), best first.
    """
    boxes, row = np.zeros((len(raw), 4)), 0
    for stride in (8, 16, 32):
        for y in range(size_hw[0] // stride):
            for x in range(size_hw[1] // stride):
                centre = (raw[row, :2] + (x, y)) * stride
                half = np.exp(raw[row, 2:4]) * stride / 2
                boxes[row] = np.concatenate([centre - half, centre + half])
                row += 1
    assert row == len(raw)
    scores = raw[:, 4:5] * raw[:, 5:]
    kept = [
        (*boxes[index], scores[index, label], label)
        for label in range(scores.shape[1])
        for index in suppress(boxes, scores[:, label], options)
    ]
    kept.sort(key=lambda detection: -detection[4])
    found = np.zeros((options.max_detections, 6))
    found[: len(kept)] = np.array(kept[: options.max_detections]).reshape(-1, 6)
    return found


def suppress(boxes: np.ndarray, scores: np.ndarray, options: FuseOptions) -> Sequence[int]:
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] <= options.score_floor:
            break
        if all(iou(boxes[index], boxes[other]) <= (options.nms_iou or 0.45) for other in kept):
            kept.append(int(index))
    return kept


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def network(raw: np.ndarray, size_hw: tuple[int, int], opset: int = 11) -> onnx.ModelProto:
    """A network that answers `raw` (batch, N, 5 + classes) whatever it sees: the head alone is under test.

    The answer for frame i of a batch is row i of `raw`; a batch is as long as the picture is said to be.
    """
    constants = {
        "raw": raw.astype(np.float32),
        "zero": np.zeros(1, np.int64),
        "axis": np.zeros(1, np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Slice", ["raw", "zero", "batch", "axis"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "answers",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size_hw])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, *raw.shape[1:]])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def random_raw(seed: int, batch: int, size_hw: tuple[int, int], classes: int, crowd: float) -> np.ndarray:
    """Random outputs of the true layout; `crowd` is the share of cells that see something."""
    rng = np.random.default_rng(seed)
    cells = sum((size_hw[0] // stride) * (size_hw[1] // stride) for stride in (8, 16, 32))
    raw = rng.normal(0, 1, (batch, cells, 5 + classes))
    raw[..., 4:] = rng.random((batch, cells, 1 + classes)) * (rng.random((batch, cells, 1)) < crowd)
    return raw.astype(np.float32)


@pytest.mark.parametrize(
    ("seed", "size_hw", "classes", "crowd", "options"),
    [
        (0, (96, 128), 3, 0.05, FuseOptions()),
        (1, (96, 128), 3, 0.9, FuseOptions()),  # more detections than rows: the best are kept
        (2, (64, 64), 80, 0.3, FuseOptions(max_detections=300)),
        (3, (64, 64), 1, 0.5, FuseOptions(max_detections=1)),
        (4, (64, 96), 2, 0.5, FuseOptions(nms_iou=0.1)),
        (5, (64, 96), 2, 0.0, FuseOptions()),  # nothing to see
        (6, (64, 96), 2, 0.5, FuseOptions(score_floor=0.6, score_threshold=0.7)),
    ],
)
def test_fused_network_agrees_with_plain_decode_for_every_frame_of_a_batch(
    seed: int, size_hw: tuple[int, int], classes: int, crowd: float, options: FuseOptions
) -> None:
    raw = random_raw(seed, 4, size_hw, classes, crowd)
    fused = fuse(network(raw, size_hw), YOLOX, options=options)
    frames = np.zeros((4, *size_hw, 3), np.uint8)
    answer = run_contract(open_session(fused.SerializeToString()), frames)
    expected = np.stack([decode(frame, size_hw, options) for frame in raw])
    np.testing.assert_allclose(answer, expected, atol=1e-3)


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 21])
def test_every_supported_opset_decodes_alike(opset: int) -> None:
    raw = random_raw(7, 3, (64, 64), 2, 0.3)
    fused = fuse(network(raw, (64, 64), opset), YOLOX)
    answer = run_contract(open_session(fused.SerializeToString()), np.zeros((3, 64, 64, 3), np.uint8))
    np.testing.assert_allclose(answer, [decode(frame, (64, 64), FuseOptions()) for frame in raw], atol=1e-3)


@pytest.mark.parametrize("opset", [10, 22])
def test_an_opset_that_is_not_supported_is_refused_by_number(opset: int) -> None:
    with pytest.raises(InvalidInputError, match=f"opset {opset}; 11 to 21"):
        fuse(network(random_raw(0, 1, (64, 64), 2, 0.3), (64, 64), opset), YOLOX)


def test_thresholds_labels_and_size_travel_with_the_model() -> None:
    fused = fuse(
        network(random_raw(0, 3, (64, 96), 2, 0.3), (64, 96)),
        YOLOX,
        ("person", "vehicle"),
        FuseOptions(max_detections=7, score_threshold=0.35),
    )
    contract = check_contract(fused.SerializeToString())
    assert (contract.height, contract.width, contract.max_detections) == (64, 96, 7)
    assert (contract.labels, contract.score_threshold) == (("person", "vehicle"), 0.35)


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="1 labels are given and the model has 2 classes"):
        fuse(network(random_raw(0, 1, (64, 64), 2, 0.3), (64, 64)), YOLOX, ("person",))


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((84, 5), "5 \\+ classes"),
        ((83, 7), "83 rows do not fit the grids"),
    ],
)
def test_outputs_that_are_none_of_yolox_are_refused(shape: tuple[int, int], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        fuse(network(np.zeros((1, *shape)), (64, 64)), YOLOX)


def test_a_network_of_another_kind_is_not_recognised_and_the_cure_names_the_heads() -> None:
    with pytest.raises(InvalidInputError, match="no known head fits") as caught:
        recognise(Network(network(np.zeros((1, 100, 4)), (64, 64))))
    assert "yolox" in caught.value.cure


@pytest.fixture(scope="module")
def yolox_nano(shared_data: Path) -> onnx.ModelProto:
    return read_model(shared_data / "models" / "yolox_nano.onnx")


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> np.ndarray:
    """Four frames of a street from above, letterboxed to 416: (4, 416, 416, 3) RGB."""
    shown = (79, 209, 218, 329)  # one car, two, three and one
    frames = np.full((len(shown), 416, 416, 3), 114, np.uint8)
    with av.open(str(shared_data / "videos" / "car.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in shown:
                frames[shown.index(index), :234] = frame.to_ndarray(format="rgb24", width=416, height=234)
    return frames


def test_real_network_is_recognised_and_gets_the_labels_of_coco(yolox_nano: onnx.ModelProto) -> None:
    assert recognise(Network(yolox_nano)) is YOLOX
    assert check_contract(fuse(yolox_nano, YOLOX).SerializeToString(), run=False).labels == COCO_LABELS


def test_real_network_agrees_with_plain_decode_alone_and_in_batches(
    yolox_nano: onnx.ModelProto, frames: np.ndarray
) -> None:
    options = FuseOptions()
    fused = open_session(fuse(yolox_nano, YOLOX, options=options).SerializeToString())
    raw = open_session(yolox_nano.SerializeToString())
    bgr = frames[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    expected = [decode(raw.run(None, {"images": frame[None]})[0][0], (416, 416), options) for frame in bgr]
    assert [int((detections[:, 4] > 0.3).sum()) for detections in expected] == [1, 2, 3, 1], "the clip shows cars"
    together = run_contract(fused, frames)
    alone = np.concatenate([run_contract(fused, frame[None]) for frame in frames])
    np.testing.assert_allclose(together, expected, atol=1e-3)
    np.testing.assert_allclose(alone, together, atol=1e-3)


def test_real_network_runs_at_another_size(yolox_nano: onnx.ModelProto, frames: np.ndarray) -> None:
    """The lower part of the letterboxed frame is empty, so half the height sees the same."""
    small = open_session(fuse(yolox_nano, YOLOX, options=FuseOptions(size_hw=(256, 416))).SerializeToString())
    large = open_session(fuse(yolox_nano, YOLOX).SerializeToString())
    ours, theirs = run_contract(small, frames[:, :256].copy()), run_contract(large, frames)
    for few, many in zip(ours, theirs, strict=True):
        for detection in many[many[:, 4] > 0.6]:
            assert max(iou(detection[:4], other[:4]) for other in few[few[:, 4] > 0.3]) > 0.8

"""The YOLOX head against a plain NumPy decode: on random networks of the true output layout, and on the real one."""

from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.contract import check_contract, open_session, read_model, run_contract
from countline_models.fusing.options import FuseOptions
from countline_models.heads import HEADS, recognise
from countline_models.labels import COCO_LABELS
from countline_models.onnx.network import Network

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
    boxes = np.zeros((len(raw), 4))
    for row, (x, y, stride) in enumerate(nets.cells(size_hw, (8, 16, 32))):
        centre = (raw[row, :2] + (x, y)) * stride
        half = np.exp(raw[row, 2:4]) * stride / 2
        boxes[row] = np.concatenate([centre - half, centre + half])
    return nets.suppressed(boxes, (raw[:, 4:5] * raw[:, 5:]).T, options)


def network(raw: np.ndarray, size_hw: tuple[int, int], opset: int = 11) -> onnx.ModelProto:
    """A network that answers `raw` (batch, N, 5 + classes) whatever it sees: the head alone is under test."""
    return nets.answering({"output": raw.astype(np.float32)}, size_hw, opset=opset)


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
    fused = nets.fuse(network(raw, size_hw), YOLOX, options=options)
    frames = np.zeros((4, *size_hw, 3), np.uint8)
    answer = run_contract(open_session(fused.SerializeToString()), frames)
    expected = np.stack([decode(frame, size_hw, options) for frame in raw])
    np.testing.assert_allclose(answer, expected, atol=1e-3)


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 21])
def test_every_supported_opset_decodes_alike(opset: int) -> None:
    raw = random_raw(7, 3, (64, 64), 2, 0.3)
    fused = nets.fuse(network(raw, (64, 64), opset), YOLOX)
    answer = run_contract(open_session(fused.SerializeToString()), np.zeros((3, 64, 64, 3), np.uint8))
    np.testing.assert_allclose(answer, [decode(frame, (64, 64), FuseOptions()) for frame in raw], atol=1e-3)


@pytest.mark.parametrize("opset", [10, 22])
def test_an_opset_that_is_not_supported_is_refused_by_number(opset: int) -> None:
    with pytest.raises(InvalidInputError, match=f"opset {opset}; 11 to 21"):
        nets.fuse(network(random_raw(0, 1, (64, 64), 2, 0.3), (64, 64), opset), YOLOX)


@pytest.mark.parametrize("size_hw", [(64, 96), (96, 128)])
def test_a_network_exported_with_its_decoding_is_seen_to_be_decoded(size_hw: tuple[int, int]) -> None:
    raw = random_raw(8, 3, size_hw, 2, 0.3)
    cells = nets.cells(size_hw, (8, 16, 32))
    decoded = raw.copy()
    decoded[..., :2] = (raw[..., :2] + cells[:, :2]) * cells[:, 2:]
    decoded[..., 2:4] = np.exp(raw[..., 2:4]) * cells[:, 2:]
    expected = [decode(frame, size_hw, FuseOptions()) for frame in raw]
    answer = nets.run_fused(network(decoded, size_hw), "yolox", nets.blank(3, size_hw))
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(384, 640), (416, 416)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(size_hw: tuple[int, int]) -> None:
    raw = random_raw(9, 1, size_hw, 2, 0.0)
    cells = nets.cells(size_hw, (8, 16, 32))
    for box in nets.letterboxed(size_hw):
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        row = np.argmin(np.abs((cells[:, :2] + 0.5) * cells[:, 2:] - centre).sum(axis=1))
        raw[0, row] = [*(centre / cells[row, 2] - cells[row, :2]), *np.log(size / cells[row, 2]), 1.0, 0.9, 0.0]
    nets.assert_boxes_come_back(nets.run_fused(network(raw, size_hw), "yolox", nets.blank(1, size_hw))[0], size_hw)


def test_thresholds_labels_and_size_travel_with_the_model() -> None:
    fused = nets.fuse(
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
        nets.fuse(network(random_raw(0, 1, (64, 64), 2, 0.3), (64, 64)), YOLOX, ("person",))


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ((84, 5), "5 \\+ classes"),
        ((83, 7), "83 rows do not fit the grids"),
    ],
)
def test_outputs_that_are_none_of_yolox_are_refused(shape: tuple[int, int], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        nets.fuse(network(np.zeros((1, *shape)), (64, 64)), YOLOX)


def test_a_network_of_another_kind_is_not_recognised_and_the_hint_names_the_heads() -> None:
    with pytest.raises(InvalidInputError, match="no known head fits") as caught:
        recognise(Network(network(np.zeros((1, 100, 4)), (64, 64))))
    assert "yolox" in caught.value.hint


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
    assert check_contract(nets.fuse(yolox_nano, YOLOX).SerializeToString(), run=False).labels == COCO_LABELS


def test_real_network_agrees_with_plain_decode_alone_and_in_batches(
    yolox_nano: onnx.ModelProto, frames: np.ndarray
) -> None:
    options = FuseOptions()
    fused = open_session(nets.fuse(yolox_nano, YOLOX, options=options).SerializeToString())
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
    small = open_session(nets.fuse(yolox_nano, YOLOX, options=FuseOptions(size_hw=(256, 416))).SerializeToString())
    large = open_session(nets.fuse(yolox_nano, YOLOX).SerializeToString())
    ours, theirs = run_contract(small, frames[:, :256].copy()), run_contract(large, frames)
    for few, many in zip(ours, theirs, strict=True):
        for detection in many[many[:, 4] > 0.6]:
            assert max(nets.iou(detection[:4], other[:4]) for other in few[few[:, 4] > 0.3]) > 0.8

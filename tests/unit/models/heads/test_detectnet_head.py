"""DetectNet_v2's coverage and boxes, against a NumPy decode of one cell after the other."""

import numpy as np
import onnx
import pytest
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network

COVERAGE, BOXES = "output_cov/Sigmoid:0", "output_bbox/BiasAdd:0"


def grids(seed: int, batch: int, size_hw: tuple[int, int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Random coverage (batch, classes, rows, columns) and distances (batch, 4 * classes, rows, columns)."""
    rng = np.random.default_rng(seed)
    shape = size_hw[0] // 16, size_hw[1] // 16
    coverage = rng.random((batch, classes, *shape)) * (rng.random((batch, classes, *shape)) < 0.6)
    return coverage.astype(np.float32), rng.uniform(0.1, 1.5, (batch, 4 * classes, *shape)).astype(np.float32)


def decode(coverage: np.ndarray, sides: np.ndarray, options: FuseOptions) -> np.ndarray:
    classes, rows, columns = coverage.shape
    boxes, scores = [], []
    for label in range(classes):
        for row in range(rows):
            for column in range(columns):
                left, top, right, bottom = sides[4 * label : 4 * label + 4, row, column] * 35.0
                x, y = column * 16 + 0.5, row * 16 + 0.5
                boxes.append((x - left, y - top, x + right, y + bottom))
                scores.append([coverage[label, row, column] if own == label else 0.0 for own in range(classes)])
    return nets.suppressed(np.array(boxes), np.array(scores).T, options, nms_iou=0.5)


@pytest.mark.parametrize("size_hw", [(96, 128), (128, 96)])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("coverage_first", [True, False])
def test_coverage_and_boxes_agree_with_plain_decode(
    size_hw: tuple[int, int], classes: int, coverage_first: bool
) -> None:
    coverage, sides = grids(1, 3, size_hw, classes)
    outputs = {COVERAGE: coverage, BOXES: sides} if coverage_first else {BOXES: sides, COVERAGE: coverage}
    network = nets.answering(outputs, size_hw)
    assert recognise(Network(network)).name == "detectnet"
    expected = [decode(*frame, FuseOptions()) for frame in zip(coverage, sides, strict=True)]
    np.testing.assert_allclose(nets.run_fused(network, "peoplenet", nets.blank(3, size_hw)), expected, atol=1e-3)


def small_detectnet(size_hw: tuple[int, int], classes: int) -> onnx.ModelProto:
    """Convolutions down to a sixteenth and two heads."""
    net = nets.SmallNet(size_hw)
    trunk, shape = net.features(deepest=16)[16], (size_hw[0] // 16, size_hw[1] // 16)
    coverage = net.op("Sigmoid", net.conv(trunk, 8, classes, size=1, spread=6.0))
    sides = net.op("Relu", net.conv(trunk, 8, 4 * classes, size=1))
    return net.model({COVERAGE: (coverage, (1, classes, *shape)), BOXES: (sides, (1, 4 * classes, *shape))})


@pytest.mark.parametrize("size_hw", [(96, 160), (128, 128)])
def test_a_small_whole_network_is_recognised_and_agrees_with_plain_decode(size_hw: tuple[int, int]) -> None:
    network = small_detectnet(size_hw, 3)
    assert recognise(Network(network)).name == "detectnet"
    frames = nets.noise(3, size_hw)
    raw = nets.raw_answers(network, frames.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    expected = [decode(answer[COVERAGE], answer[BOXES], FuseOptions()) for answer in raw]
    assert (np.array(expected)[..., 4] > 0.3).any(), "there is something to compare"
    np.testing.assert_allclose(nets.run_fused(network, "detectnet", frames), expected, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(544, 960), (384, 640)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(size_hw: tuple[int, int]) -> None:
    coverage, sides = grids(2, 1, size_hw, 3)
    coverage[:] = 0
    for box in nets.letterboxed(size_hw):
        column, row = ((box[:2] + box[2:]) / 2 // 16).astype(int)
        point = np.array([column, row]) * 16 + 0.5
        coverage[0, 2, row, column] = 0.9
        sides[0, 8:, row, column] = np.concatenate([point - box[:2], box[2:] - point]) / 35
    network = nets.answering({COVERAGE: coverage, BOXES: sides}, size_hw)
    nets.assert_boxes_come_back(nets.run_fused(network, "detectnet", nets.blank(1, size_hw))[0], size_hw)


def test_grids_that_do_not_go_together_are_refused() -> None:
    coverage, sides = grids(3, 1, (96, 96), 3)
    network = nets.answering({COVERAGE: coverage, BOXES: sides[:, :8]}, (96, 96))
    with pytest.raises(InvalidInputError, match="four times as many boxes"):
        nets.fuse(network, head_named("detectnet"))


def test_a_size_that_is_no_multiple_of_the_stride_is_refused() -> None:
    coverage, sides = grids(4, 1, (96, 96), 1)
    network = nets.answering({COVERAGE: coverage, BOXES: sides}, (96, 96))
    with pytest.raises(InvalidInputError, match="multiples of 16, not 100x96"):
        nets.fuse(network, head_named("detectnet"), options=FuseOptions(size_hw=(96, 100)))

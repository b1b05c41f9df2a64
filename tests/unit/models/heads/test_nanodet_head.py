"""NanoDet's distributions over distances, joined and per level, against a NumPy decode of one cell after the other."""

import numpy as np
import onnx
import pytest
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network, NetworkOptions

FIRST, PLUS = (8, 16, 32), (8, 16, 32, 64)


def answers(
    seed: int, batch: int, size_hw: tuple[int, int], classes: int, strides: tuple[int, ...], bins: int = 8
) -> np.ndarray:
    """Random class probabilities and logits of distances (batch, N, classes + 4 * bins)."""
    rng = np.random.default_rng(seed)
    shape = batch, len(nets.cells(size_hw, strides))
    likely = rng.random((*shape, classes)) * (rng.random((*shape, 1)) < 0.4)
    return np.concatenate([likely, rng.normal(0, 2, (*shape, 4 * bins))], axis=2).astype(np.float32)


def decode(rows: np.ndarray, size_hw: tuple[int, int], classes: int, strides: tuple[int, ...]) -> np.ndarray:
    """Boxes (N, 4): the mean of each distribution, times the stride, away from the cell."""
    boxes, offset = [], 0.0 if strides == PLUS else 0.5
    for row, (column, line, stride) in zip(rows, nets.cells(size_hw, strides), strict=True):
        bars = row[classes:].astype(np.float64).reshape(4, -1)
        shares = np.exp(bars) / np.exp(bars).sum(axis=1, keepdims=True)
        left, top, right, bottom = (shares * np.arange(bars.shape[1])).sum(axis=1) * stride
        x, y = (column + offset) * stride, (line + offset) * stride
        boxes.append((x - left, y - top, x + right, y + bottom))
    return np.array(boxes)


def expect(rows: np.ndarray, size_hw: tuple[int, int], classes: int, strides: tuple[int, ...]) -> np.ndarray:
    boxes = decode(rows, size_hw, classes, strides)
    return nets.suppressed(boxes, rows[:, :classes].T, FuseOptions(), nms_iou=0.6)


def split_levels(
    raw: np.ndarray, size_hw: tuple[int, int], classes: int, strides: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Two outputs per level, all of one kind first."""
    outputs, counts = {}, [len(nets.cells(size_hw, (stride,))) for stride in strides]
    for kind, part in (("cls", raw[..., :classes]), ("dis", raw[..., classes:])):
        levels = np.split(part, np.cumsum(counts)[:-1], axis=1)
        outputs |= {f"{kind}_pred_stride_{stride}": level for stride, level in zip(strides, levels, strict=True)}
    return outputs


@pytest.mark.parametrize("strides", [FIRST, PLUS])
@pytest.mark.parametrize("per_level", [False, True])
@pytest.mark.parametrize(("size_hw", "classes"), [((96, 128), 3), ((104, 72), 2)])  # the second fits no stride but 8
def test_every_layout_agrees_with_plain_decode(
    strides: tuple[int, ...], per_level: bool, size_hw: tuple[int, int], classes: int
) -> None:
    raw = answers(1, 3, size_hw, classes, strides)
    outputs = split_levels(raw, size_hw, classes, strides) if per_level else {"output": raw}
    network = nets.answering(outputs, size_hw)
    assert recognise(Network(network)).name == "nanodet"
    expected = [expect(frame, size_hw, classes, strides) for frame in raw]
    np.testing.assert_allclose(nets.run_fused(network, "nanodet", nets.blank(3, size_hw)), expected, atol=1e-3)


@pytest.mark.parametrize("opset", [11, 12, 13])
def test_the_softmax_means_the_same_in_every_opset(opset: int) -> None:
    raw = answers(2, 3, (64, 64), 2, PLUS)
    network = nets.answering({"output": raw}, (64, 64), opset=opset)
    expected = [expect(frame, (64, 64), 2, PLUS) for frame in raw]
    np.testing.assert_allclose(nets.run_fused(network, "nanodet", nets.blank(3, (64, 64))), expected, atol=1e-3)


def test_labels_tell_how_many_bins_there_are() -> None:
    raw = answers(3, 3, (64, 64), 2, FIRST, bins=11)
    network = nets.answering({"output": raw}, (64, 64))
    assert recognise(Network(network, NetworkOptions(labels=("a", "b")))).name == "nanodet"
    expected = [expect(frame, (64, 64), 2, FIRST) for frame in raw]
    answer = nets.run_fused(network, "nanodet", nets.blank(3, (64, 64)), ("a", "b"))
    np.testing.assert_allclose(answer, expected, atol=1e-3)


def small_nanodet(size_hw: tuple[int, int], classes: int) -> onnx.ModelProto:
    """Convolutions of four levels, flattened and joined as the authors export them."""
    net, parts, width = nets.SmallNet(size_hw), [], classes + 32
    features = net.features(deepest=64)
    for stride in PLUS:
        both = net.conv(features[stride], 8, width, size=1, spread=0.8)
        likely, bars = net.op("Split", both, net.ints(classes, 32), outputs=2, axis=1)
        level = net.op("Concat", net.op("Sigmoid", likely), bars, axis=1)
        parts.append(net.op("Reshape", level, net.ints(1, width, -1)))
    output = net.op("Transpose", net.op("Concat", *parts, axis=2), perm=[0, 2, 1])
    return net.model({"output": (output, (1, len(nets.cells(size_hw, PLUS)), width))})


@pytest.mark.parametrize("size_hw", [(96, 96), (64, 128)])
def test_a_small_whole_network_is_recognised_and_agrees_with_plain_decode(size_hw: tuple[int, int]) -> None:
    network = small_nanodet(size_hw, 3)
    assert recognise(Network(network)).name == "nanodet"
    frames = nets.noise(3, size_hw)
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    pictures = ((frames[..., ::-1] - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    expected = [expect(answer["output"], size_hw, 3, PLUS) for answer in nets.raw_answers(network, pictures)]
    assert (np.array(expected)[..., 4] > 0.3).any(), "there is something to compare"
    np.testing.assert_allclose(nets.run_fused(network, "nanodet", frames), expected, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(320, 320), (416, 416)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(size_hw: tuple[int, int]) -> None:
    raw = answers(4, 1, size_hw, 2, PLUS)
    raw[..., :2] = 0
    cells = nets.cells(size_hw, PLUS)
    for box in nets.letterboxed(size_hw):
        points = cells[:, :2] * cells[:, 2:]
        sides = np.concatenate([points - box[:2], box[2:] - points], axis=1) / cells[:, 2:]
        row = np.flatnonzero((sides >= 0).all(axis=1) & (sides < 7).all(axis=1))[0]
        bars = np.full((4, 8), -60.0)
        for side, reach in enumerate(sides[row]):  # the mean of two neighbouring bins may be anything between them
            low = int(reach)
            bars[side, low], bars[side, low + 1] = np.log(1 - (reach - low)), np.log(max(reach - low, 1e-9))
        raw[0, row] = [0.9, 0, *bars.ravel()]
    network = nets.answering({"output": raw}, size_hw)
    nets.assert_boxes_come_back(nets.run_fused(network, "nanodet", nets.blank(1, size_hw))[0], size_hw)


def test_rows_that_fit_no_grid_are_refused() -> None:
    network = nets.answering({"output": np.zeros((1, 99, 34), np.float32)}, (64, 64))
    with pytest.raises(InvalidInputError, match=r"a row of classes \+ 4 \* bins per cell"):
        nets.fuse(network, head_named("nanodet"))

"""SSD with boxes and scores, against a plain NumPy decode."""

import numpy as np
import onnx
import pytest
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network


def answers(seed: int, batch: int, classes: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Random logits (batch, count, 1 + classes), background first, and corners (batch, count, 4) in shares."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (batch, count, 1 + classes))
    logits[..., 0] += 1
    first = rng.random((batch, count, 2)) * 0.7
    boxes = np.concatenate([first, first + rng.uniform(0.05, 0.4, (batch, count, 2))], axis=2)
    return logits.astype(np.float32), boxes.astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def decode(likely: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int], options: FuseOptions) -> np.ndarray:
    height, width = size_hw
    return nets.suppressed(boxes * [width, height, width, height], likely[:, 1:].T, options)


@pytest.mark.parametrize("size_hw", [(64, 64), (96, 128)])
@pytest.mark.parametrize("classes", [1, 3])  # with three, scores and boxes have one shape: names tell them apart
@pytest.mark.parametrize(
    ("boxes_first", "logits", "pixels"), [(False, False, False), (True, True, False), (True, False, True)]
)
def test_probabilities_logits_shares_and_pixels_agree_with_plain_decode(
    size_hw: tuple[int, int], classes: int, boxes_first: bool, logits: bool, pixels: bool
) -> None:
    raw, boxes = answers(1, 3, classes)
    expected = [
        decode(softmax(scores), frame, size_hw, FuseOptions()) for scores, frame in zip(raw, boxes, strict=True)
    ]
    if pixels:
        boxes = boxes * np.array([*size_hw[::-1], *size_hw[::-1]], np.float32)
    outputs = {"boxes": boxes, "scores": raw} if boxes_first else {"scores": raw, "boxes": boxes}
    network = nets.answering(outputs, size_hw, softmax=[] if logits else ["scores"])
    np.testing.assert_allclose(nets.run_fused(network, "ssd", nets.blank(3, size_hw)), expected, atol=1e-3)


def small_ssd(size_hw: tuple[int, int], classes: int) -> onnx.ModelProto:
    """Convolutions on two levels, two priors a cell, decoded with the usual variances 0.1 and 0.2."""
    net = nets.SmallNet(size_hw)
    features, scores, boxes, priors = net.features(), [], [], []
    for stride in (8, 16):
        cells = nets.cells(size_hw, (stride,))
        for part, width in ((scores, 1 + classes), (boxes, 4)):
            maps = net.conv(features[stride], 8, 2 * width, size=1, spread=4.0)
            part.append(net.op("Reshape", net.op("Transpose", maps, perm=[0, 2, 3, 1]), net.ints(1, -1, width)))
        middle = (np.repeat(cells[:, :2], 2, axis=0) + 0.5) * stride / size_hw[::-1]
        sides = np.tile([[0.3, 0.6], [0.5, 0.4]], (len(cells), 1))
        priors.append(np.concatenate([middle, sides], axis=1).astype(np.float32))
    prior = np.concatenate(priors)[None]
    shift, growth = net.op("Split", net.op("Concat", *boxes, axis=1), net.ints(2, 2), outputs=2, axis=2)
    centre = net.op("Add", net.op("Mul", shift, net.const(0.1 * prior[..., 2:])), net.const(prior[..., :2]))
    size = net.op("Mul", net.op("Exp", net.op("Mul", growth, net.const(np.float32(0.2)))), net.const(prior[..., 2:]))
    half = net.op("Div", size, net.const(np.float32(2)))
    corners = net.op("Concat", net.op("Sub", centre, half), net.op("Add", centre, half), axis=2)
    likely = net.op("Softmax", net.op("Concat", *scores, axis=1), axis=2)
    count = prior.shape[1]
    return net.model({"scores": (likely, (1, count, 1 + classes)), "boxes": (corners, (1, count, 4))})


@pytest.mark.parametrize("size_hw", [(64, 64), (96, 128)])
def test_a_small_whole_network_is_recognised_and_agrees_with_plain_decode(size_hw: tuple[int, int]) -> None:
    network = small_ssd(size_hw, 2)
    assert recognise(Network(network)).name == "ssd"
    frames = nets.noise(3, size_hw)
    raw = nets.raw_answers(network, (frames.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128)
    expected = [decode(answer["scores"], answer["boxes"], size_hw, FuseOptions()) for answer in raw]
    assert (np.array(expected)[..., 4] > 0.3).any(), "there is something to compare"
    np.testing.assert_allclose(nets.run_fused(network, "ssd", frames), expected, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(300, 300), (240, 320)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(size_hw: tuple[int, int]) -> None:
    logits, boxes = answers(2, 1, 2)
    logits[0] = [8, 0, 0]
    logits[0, :3] = [0, 8, 0]
    boxes[0, :3] = nets.letterboxed(size_hw) / [*size_hw[::-1], *size_hw[::-1]]
    network = nets.answering({"scores": logits, "boxes": boxes}, size_hw, softmax=["scores"])
    nets.assert_boxes_come_back(nets.run_fused(network, "ssd", nets.blank(1, size_hw))[0], size_hw)


def test_one_output_alone_is_none_of_ssd() -> None:
    network = nets.answering({"scores": answers(3, 1, 2)[0]}, (64, 64))
    with pytest.raises(InvalidInputError, match="SSD has two outputs") as caught:
        nets.fuse(network, head_named("ssd"))
    assert "--head" in caught.value.hint

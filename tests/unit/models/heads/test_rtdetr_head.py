"""RT-DETR, D-FINE and DEIM in the three forms that are exported, against a plain NumPy decode."""

import numpy as np
import onnx
import pytest
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network, NetworkOptions

NAMES = ("person", "bicycle", "car")


def queries(seed: int, batch: int, count: int = 40, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Random logits (batch, count, classes) and boxes (batch, count, 4): centre and size in shares of the input."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, (batch, count, classes)).astype(np.float32)
    return logits, rng.uniform(0.05, 0.6, (batch, count, 4)).astype(np.float32)


def decode(logits: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int], options: FuseOptions) -> np.ndarray:
    height, width = size_hw
    return nets.best(nets.by_corners(boxes) * [width, height, width, height], nets.sigmoid(logits).T, options)


@pytest.mark.parametrize("size_hw", [(64, 64), (96, 160)])
@pytest.mark.parametrize(("names", "sigmoid"), [(("logits", "pred_boxes"), False), (("pred_boxes", "scores"), True)])
@pytest.mark.parametrize("max_detections", [20, 300])
def test_queries_agree_with_plain_decode(
    size_hw: tuple[int, int], names: tuple[str, str], sigmoid: bool, max_detections: int
) -> None:
    logits, boxes = queries(1, 3)
    outputs = {name: boxes if "boxes" in name else logits for name in names}
    network = nets.answering(outputs, size_hw, sigmoid=[name for name in names if sigmoid and name != "pred_boxes"])
    options = FuseOptions(max_detections=max_detections)
    expected = [decode(*frame, size_hw, options) for frame in zip(logits, boxes, strict=True)]
    answer = nets.run_fused(network, "rtdetr", nets.blank(3, size_hw), options=options)
    np.testing.assert_allclose(answer, expected, atol=1e-3)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("size_hw", [(64, 64), (96, 160)])
def test_the_deployed_form_is_given_the_size_of_the_input(size_hw: tuple[int, int], opset: int) -> None:
    logits, boxes = queries(2, 3)
    likely = nets.sigmoid(logits)
    outputs = {
        "labels": likely.argmax(axis=2).astype(np.int64),
        "boxes": np.array([nets.by_corners(frame) for frame in boxes], np.float32),
        "scores": likely.max(axis=2),
    }
    network = nets.answering(outputs, size_hw, sizes_input="orig_target_sizes", opset=opset)
    assert recognise(Network(network, NetworkOptions(labels=NAMES))).name == "rtdetr"
    answer = nets.run_fused(network, "dfine", nets.blank(3, size_hw), NAMES)
    pixels = outputs["boxes"] * np.array([*size_hw[::-1], *size_hw[::-1]], np.float32)
    for frame, found in enumerate(answer):
        one_class = np.where(np.eye(3, dtype=bool)[outputs["labels"][frame]].T, outputs["scores"][frame], 0)
        np.testing.assert_allclose(found, nets.best(pixels[frame], one_class, FuseOptions()), atol=1e-3)


def test_the_joined_form_of_another_exporter_is_recognised_and_decoded() -> None:
    logits, boxes = queries(3, 3)
    raw = np.concatenate([boxes, nets.sigmoid(logits)], axis=2).astype(np.float32)
    network = nets.answering({"output0": raw}, (96, 160))
    assert recognise(Network(network)).name == "rtdetr"
    expected = [decode(*frame, (96, 160), FuseOptions()) for frame in zip(logits, boxes, strict=True)]
    np.testing.assert_allclose(nets.run_fused(network, "rtdetr", nets.blank(3, (96, 160))), expected, atol=1e-3)


def picked(seed: int, batch: int) -> np.ndarray:
    """Random picked queries (batch, 40, 6): centre and size in shares, score, class."""
    logits, boxes = queries(seed, batch)
    likely = nets.sigmoid(logits)
    return np.concatenate(
        [boxes, likely.max(axis=2)[..., None], likely.argmax(axis=2)[..., None]], axis=2, dtype=np.float32
    )


def test_picked_queries_are_distinguished_from_finished_corners_of_the_same_shape() -> None:
    raw = picked(6, 3)
    network = nets.answering({"output0": raw}, (96, 160))
    assert recognise(Network(network, NetworkOptions(labels=NAMES))).name == "rtdetr"
    answer = nets.run_fused(network, "rtdetr", nets.blank(3, (96, 160)), NAMES)
    for rows, found in zip(raw, answer, strict=True):
        scores = np.where(np.arange(3)[:, None] == rows[:, 5], rows[:, 4], 0)
        boxes = nets.by_corners(rows[:, :4]) * [160, 96, 160, 96]
        np.testing.assert_allclose(found, nets.best(boxes, scores, FuseOptions()), atol=1e-3)


def test_rows_that_may_be_corners_or_centre_and_size_are_ambiguous() -> None:
    raw = picked(7, 1)
    raw[..., 2:4] = raw[..., :2] + 0.1
    with pytest.raises(InvalidInputError, match="it could be end2end or rtdetr"):
        recognise(Network(nets.answering({"output0": raw}, (96, 160)), NetworkOptions(labels=NAMES)))


def test_picked_queries_are_refused_as_corners() -> None:
    with pytest.raises(InvalidInputError, match="these are not corners") as caught:
        nets.fuse(nets.answering({"output0": picked(8, 1)}, (96, 160)), head_named("end2end"), NAMES)
    assert "--head rtdetr" in caught.value.hint


def small_rtdetr(size_hw: tuple[int, int], classes: int, count: int = 20) -> onnx.ModelProto:
    """Convolutions, queries picked by score from the encoder's cells, one layer of attention, two linear heads."""
    net, width = nets.SmallNet(size_hw), 8
    memory = net.op("Reshape", net.features(width)[16], net.ints(1, width, -1))
    memory = net.op("Transpose", memory, perm=[0, 2, 1])
    likely = net.op("ReduceMax", net.op("MatMul", memory, net.weights(width, classes)), axes=[2], keepdims=0)
    _, places = net.op("TopK", likely, net.ints(count), outputs=2, axis=1)
    queries = net.op("GatherND", memory, net.op("Unsqueeze", places, net.ints(2)), batch_dims=1)
    sight = net.op("MatMul", queries, net.op("Transpose", memory, perm=[0, 2, 1]))
    queries = net.op("Add", queries, net.op("MatMul", net.op("Softmax", sight, axis=2), memory))
    logits = net.op("MatMul", queries, net.weights(width, classes, spread=4.0))
    boxes = net.op("Sigmoid", net.op("MatMul", queries, net.weights(width, 4, spread=2.0)))
    return net.model({"logits": (logits, (1, count, classes)), "pred_boxes": (boxes, (1, count, 4))})


@pytest.mark.parametrize("size_hw", [(96, 96), (128, 160)])
def test_a_small_whole_network_is_recognised_and_agrees_with_plain_decode(size_hw: tuple[int, int]) -> None:
    network = small_rtdetr(size_hw, 3)
    assert recognise(Network(network)).name == "rtdetr"
    frames = nets.noise(3, size_hw)
    raw = nets.raw_answers(network, frames.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    expected = [decode(answer["logits"], answer["pred_boxes"], size_hw, FuseOptions()) for answer in raw]
    assert (np.array(expected)[..., 4] > 0.3).any(), "there is something to compare"
    np.testing.assert_allclose(nets.run_fused(network, "rtdetr", frames), expected, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(640, 640), (384, 640)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(size_hw: tuple[int, int]) -> None:
    logits, boxes = queries(4, 1)
    logits[:] = -5
    corners = nets.letterboxed(size_hw) / [*size_hw[::-1], *size_hw[::-1]]
    boxes[0, :3] = np.column_stack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
    logits[0, :3, 0] = 4
    network = nets.answering({"logits": logits, "pred_boxes": boxes}, size_hw)
    nets.assert_boxes_come_back(nets.run_fused(network, "deim", nets.blank(1, size_hw))[0], size_hw)


def test_a_second_input_that_nobody_knows_is_refused() -> None:
    logits, boxes = queries(5, 1)
    network = nets.answering({"logits": logits, "boxes": boxes}, (64, 64), sizes_input="mask")
    with pytest.raises(InvalidInputError, match="inputs of an unknown kind: mask"):
        nets.fuse(network, head_named("rtdetr"))


def test_outputs_of_another_form_are_refused_with_the_forms_there_are() -> None:
    network = nets.answering({"maps": np.zeros((1, 3, 8, 8), np.float32)}, (64, 64))
    with pytest.raises(InvalidInputError, match="logits and boxes, or labels, boxes and scores"):
        nets.fuse(network, head_named("rtdetr"))

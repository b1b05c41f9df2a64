"""Heat maps of centres, against a NumPy decode that looks at one cell after the other."""

import numpy as np
import onnx
import pytest
from tests.fixtures.models import detector_networks as nets

from countline_common.errors import InvalidInputError
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named, recognise
from countline_models.onnx.network import Network


def maps(seed: int, batch: int, size_hw: tuple[int, int], classes: int, stride: int = 4) -> dict[str, np.ndarray]:
    """Random logits of centres, sizes and offsets in cells."""
    rng = np.random.default_rng(seed)
    shape = size_hw[0] // stride, size_hw[1] // stride
    return {
        "hm": rng.normal(-1, 2, (batch, classes, *shape)).astype(np.float32),
        "wh": rng.uniform(1, 8, (batch, 2, *shape)).astype(np.float32),
        "reg": rng.random((batch, 2, *shape)).astype(np.float32),
    }


def peaks(heat: np.ndarray) -> np.ndarray:
    """The likelihoods (classes, rows * columns), 0 where one of the eight neighbours is likelier."""
    found = np.zeros_like(heat)
    classes, rows, columns = heat.shape
    for label in range(classes):
        for row in range(rows):
            for column in range(columns):
                around = heat[label, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
                found[label, row, column] = heat[label, row, column] * (heat[label, row, column] >= around.max())
    return found.reshape(classes, -1)


def decode(answer: dict[str, np.ndarray], stride: int, options: FuseOptions) -> np.ndarray:
    heat = nets.sigmoid(answer["hm"])
    boxes = [
        (
            np.array([column, row] * 2)
            + np.tile(answer["reg"][:, row, column], 2)
            + np.concatenate([-answer["wh"][:, row, column], answer["wh"][:, row, column]]) / 2
        )
        * stride
        for row in range(heat.shape[1])
        for column in range(heat.shape[2])
    ]
    return nets.best(np.array(boxes), peaks(heat), options)


def frame_of(outputs: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in outputs.items()}


@pytest.mark.parametrize(("size_hw", "stride"), [((64, 96), 4), ((96, 64), 8)])
@pytest.mark.parametrize(("order", "activated"), [(("hm", "wh", "reg"), False), (("reg", "hm", "wh"), True)])
@pytest.mark.parametrize("classes", [1, 2, 3])  # with two, all maps have one shape
def test_heat_size_and_offset_agree_with_plain_decode(
    size_hw: tuple[int, int], stride: int, order: tuple[str, ...], activated: bool, classes: int
) -> None:
    outputs = maps(1, 3, size_hw, classes, stride)
    network = nets.answering({name: outputs[name] for name in order}, size_hw, sigmoid=["hm"] if activated else [])
    assert recognise(Network(network)).name == "centernet"
    options = FuseOptions(max_detections=40)
    expected = [decode(frame_of(outputs, index), stride, options) for index in range(3)]
    answer = nets.run_fused(network, "centernet", nets.blank(3, size_hw), options=options)
    np.testing.assert_allclose(answer, expected, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(64, 96), (96, 64)])
def test_the_demo_detectors_maps_of_distances_agree_with_plain_decode(size_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    heat = maps(2, 3, size_hw, 2)["hm"]
    sides = rng.uniform(2, 30, (3, 4, size_hw[0] // 4, size_hw[1] // 4)).astype(np.float32)
    network = nets.answering({"logits": heat, "distances": sides}, size_hw)
    middle = (nets.cells(size_hw, (4,))[:, :2] + 0.5) * 4
    expected = []
    for logits, distances in zip(heat, sides, strict=True):
        reach = distances.reshape(4, -1).T
        boxes = np.concatenate([middle - reach[:, :2], middle + reach[:, 2:]], axis=1)
        expected.append(nets.suppressed(boxes, peaks(nets.sigmoid(logits)), FuseOptions(), 0.75))
    np.testing.assert_allclose(nets.run_fused(network, "centernet", nets.blank(3, size_hw)), expected, atol=1e-3)


def small_centernet(size_hw: tuple[int, int], classes: int) -> onnx.ModelProto:
    """A backbone down to a quarter of the picture and three heads."""
    net = nets.SmallNet(size_hw)
    trunk, shape = net.features(deepest=4)[4], (size_hw[0] // 4, size_hw[1] // 4)
    heat = net.op("Sigmoid", net.conv(trunk, 8, classes, spread=4.0))
    size = net.op("Exp", net.conv(trunk, 8, 2))
    offset = net.op("Sigmoid", net.conv(trunk, 8, 2))
    return net.model(
        {"hm": (heat, (1, classes, *shape)), "wh": (size, (1, 2, *shape)), "reg": (offset, (1, 2, *shape))}
    )


@pytest.mark.parametrize("size_hw", [(64, 64), (64, 128)])
def test_a_small_whole_network_is_recognised_and_agrees_with_plain_decode(size_hw: tuple[int, int]) -> None:
    network = small_centernet(size_hw, 3)
    assert recognise(Network(network)).name == "centernet"
    frames = nets.noise(3, size_hw)
    mean, std = np.array([0.408, 0.447, 0.470]), np.array([0.289, 0.274, 0.278])
    pictures = ((frames[..., ::-1] / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    expected = []
    for answer in nets.raw_answers(network, pictures):
        answer["hm"] = np.log(answer["hm"] / (1 - answer["hm"]))
        expected.append(decode(answer, 4, FuseOptions()))
    assert (np.array(expected)[..., 4] > 0.3).any(), "there is something to compare"
    np.testing.assert_allclose(nets.run_fused(network, "centernet", frames), expected, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(512, 512), (384, 640)])
def test_boxes_come_back_in_the_picture_within_half_a_pixel(size_hw: tuple[int, int]) -> None:
    outputs = maps(3, 1, size_hw, 2)
    outputs["hm"][:] = -9
    for box in nets.letterboxed(size_hw) / 4:
        centre = (box[:2] + box[2:]) / 2
        column, row = centre.astype(int)
        outputs["hm"][0, 1, row, column] = 4
        outputs["wh"][0, :, row, column] = box[2:] - box[:2]
        outputs["reg"][0, :, row, column] = centre - [column, row]
    nets.assert_boxes_come_back(
        nets.run_fused(nets.answering(outputs, size_hw), "centernet", nets.blank(1, size_hw))[0], size_hw
    )


def test_maps_without_distinct_names_are_not_recognised_but_read_in_the_authors_order_when_asked() -> None:
    outputs = maps(4, 3, (64, 64), 2)
    network = nets.answering(dict(zip("abc", outputs.values(), strict=True)), (64, 64))
    with pytest.raises(InvalidInputError, match="no known head fits"):
        recognise(Network(network))
    expected = [decode(frame_of(outputs, index), 4, FuseOptions()) for index in range(3)]
    np.testing.assert_allclose(nets.run_fused(network, "centernet", nets.blank(3, (64, 64))), expected, atol=1e-3)


def test_maps_of_several_sizes_are_refused() -> None:
    outputs = maps(5, 1, (64, 64), 2)
    outputs["wh"] = outputs["wh"][:, :, :8]
    with pytest.raises(InvalidInputError, match="maps of one size"):
        nets.fuse(nets.answering(outputs, (64, 64)), head_named("centernet"))

"""Networks that were exported for a batch of one, opened for any: how the batch that Reshape nodes hide is found."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.fixtures.models import detector_networks as nets

from countline_models.fusing.options import FuseOptions
from countline_models.onnx.batching import carrying_axis

NAMES = ("person", "car")


@pytest.mark.parametrize(
    ("source", "opened", "target", "axis"),
    [
        ([1, 84, 20, 20], 0, [1, 84, 400], 0),
        ([1, 400, 64], 0, [4, 100, 64], 0),  # area attention: a picture becomes four of a batch
        ([4, 100, 64], 0, [1, 400, 64], 0),
        ([30, 1, 32], 1, [30, 4, 8], 1),  # heads folded into the batch
        ([4, 30, 8], 0, [1, 4, 30, 8], 0),
        ([30, 4, 8], 1, [30, 1, 32], 1),
        ([30, 1, 32], 1, [30, 32], 0),  # batch merged into the cells, not into the features
        ([1, 64, 5, 6], 0, [1, 64, 30], 0),
        ([1, 50, 4], 0, [50, 4], 0),
        ([1, 50, 1], 0, [50], 0),
    ],
)
def test_the_axis_that_carries_the_batch_follows_from_the_order_of_elements(
    source: list[int], opened: int, target: list[int], axis: int
) -> None:
    assert carrying_axis(source, opened, target)[0] == axis
    # Held against what it means: with a batch of 3 the reshape works, and each frame's elements stay together.
    many = [3 * size if place == opened else size for place, size in enumerate(source)]
    new = [-1 if place == axis else size for place, size in enumerate(target)]
    assert np.zeros(many).reshape(new).size == 3 * np.prod(source)


def test_a_batch_merged_behind_the_cells_is_found_again() -> None:
    axis, inner = carrying_axis([30, 1, 32], 1, [30, 32])
    assert (axis, inner) == (0, 30)
    assert carrying_axis([30, 32], axis, [30, 1, 32], inner) == (1, 1)


def attention(net: nets.SmallNet, tokens: str, count: int, width: int, heads: int) -> str:
    """Self-attention as PyTorch's own layer is traced: cells first, heads folded into the batch."""
    by_cell = net.op("Transpose", tokens, perm=[1, 0, 2])
    parts = []
    for _ in range(3):
        part = net.op("MatMul", by_cell, net.weights(width, width, spread=2.0))
        folded = net.op("Reshape", part, net.ints(count, heads, width // heads))
        parts.append(net.op("Transpose", folded, perm=[1, 0, 2]))
    sight = net.op("Softmax", net.op("MatMul", parts[0], net.op("Transpose", parts[1], perm=[0, 2, 1])), axis=2)
    seen = net.op("Transpose", net.op("MatMul", sight, parts[2]), perm=[1, 0, 2])
    flat = net.op("MatMul", net.op("Reshape", seen, net.ints(count, width)), net.weights(width, width))
    return str(net.op("Transpose", net.op("Reshape", flat, net.ints(count, 1, width)), perm=[1, 0, 2]))


def area_attention(net: nets.SmallNet, tokens: str, count: int, width: int, areas: int) -> str:
    """Attention within each of several parts of the picture, which stand as frames of their own (YOLOv12)."""
    part = net.op("Reshape", tokens, net.ints(areas, count // areas, width))
    heads = net.op(
        "Transpose", net.op("Reshape", part, net.ints(areas, count // areas, 2, width // 2)), perm=[0, 2, 1, 3]
    )
    sight = net.op("Softmax", net.op("MatMul", heads, net.op("Transpose", heads, perm=[0, 1, 3, 2])), axis=3)
    seen = net.op("Transpose", net.op("MatMul", sight, heads), perm=[0, 2, 1, 3])
    return str(net.op("Reshape", seen, net.ints(1, count, width)))


def attentive(size_hw: tuple[int, int], kind: str) -> onnx.ModelProto:
    """Convolutions, attention over all cells, and finished detections; exported for one frame."""
    net, width, count = nets.SmallNet(size_hw), 8, (size_hw[0] // 16) * (size_hw[1] // 16)
    tokens = net.op("Reshape", net.features(width)[16], net.ints(1, width, -1))
    tokens = net.op("Transpose", tokens, perm=[0, 2, 1])
    attend = attention if kind == "cells first" else area_attention
    seen = net.op("Add", tokens, attend(net, tokens, count, width, 4))
    raw = net.op("MatMul", net.op("Tanh", seen), net.weights(width, 5, spread=3.0))
    shares, likely = net.op("Split", net.op("Sigmoid", raw), net.ints(4, 1), outputs=2, axis=2)
    boxes = net.op("Mul", shares, net.const(np.float32(200)))
    label = net.op("Mul", likely, net.const(np.float32(0)))
    return net.model({"output0": (net.op("Concat", boxes, likely, label, axis=2), (1, count, 6))})


def test_a_batch_is_opened_behind_an_operator_whose_sizes_onnx_cannot_tell() -> None:
    """YOLOv9's pooling is one; here a cut whose place is computed."""
    net, width = nets.SmallNet((64, 64)), 8
    features = net.features(width)[16]
    nothing = net.op(
        "Cast", net.op("Mul", net.op("ReduceMean", features), net.const(np.float32(0))), to=TensorProto.INT64
    )
    start = net.op("Reshape", nothing, net.ints(1))
    cut = net.op("Slice", features, start, net.ints(99), net.ints(2))
    tokens = net.op("Transpose", net.op("Reshape", cut, net.ints(1, width, -1)), perm=[0, 2, 1])
    raw = net.op("Sigmoid", net.op("MatMul", tokens, net.weights(width, 6)))
    keep = net.const(np.array([99, 99, 99, 99, 1, 0], np.float32))
    network = net.model({"output0": (net.op("Mul", raw, keep), (1, 16, 6))})
    frames = nets.noise(3, (64, 64))
    options = FuseOptions(boxes="pixels", max_detections=16)
    answer = nets.run_fused(network, "end2end", frames, NAMES, options)
    for found, raw_rows in zip(
        answer, nets.raw_answers(network, frames.transpose(0, 3, 1, 2).astype(np.float32) / 255), strict=True
    ):
        scores = np.stack([raw_rows["output0"][:, 4], np.zeros(16)])
        np.testing.assert_allclose(found, nets.best(raw_rows["output0"][:, :4], scores, options), atol=1e-3)


@pytest.mark.parametrize("kind", ["cells first", "areas"])
@pytest.mark.parametrize("size_hw", [(64, 64), (64, 128)])
def test_a_batch_that_attention_folds_into_other_axes_is_opened(kind: str, size_hw: tuple[int, int]) -> None:
    network = attentive(size_hw, kind)
    frames = nets.noise(3, size_hw)
    answer = nets.run_fused(network, "end2end", frames, NAMES, FuseOptions(boxes="pixels"))
    pictures = frames.transpose(0, 3, 1, 2).astype(np.float32) / 255
    for found, raw in zip(answer, nets.raw_answers(network, pictures), strict=True):
        rows = raw["output0"]
        scores = np.zeros((2, len(rows)))
        scores[0] = rows[:, 4]
        np.testing.assert_allclose(found, nets.best(rows[:, :4], scores, FuseOptions()), atol=1e-3)
    assert np.abs(answer[0] - answer[1]).max() > 0.1, "the network answers each frame differently"

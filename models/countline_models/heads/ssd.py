"""SSD: boxes at fixed priors, decoded by the exporter, and class probabilities with a background.

Source of the decoding: Liu et al., "SSD: Single Shot MultiBox Detector", arXiv 1512.02325, and the exporter of
github.com/qfgaohao/pytorch-ssd, whose layout NVIDIA's jetson-inference and UltraFace share. The network answers

    scores [batch, N, 1 + classes]   softmax over the classes, background first
    boxes  [batch, N, 4]             x1, y1, x2, y2 in shares of the input

in either order; their shapes distinguish them. A run on a test picture, or `--scores` and `--boxes`, shows whether
scores are probabilities or logits, and whether boxes are shares or pixels. Boxes that are still offsets to priors
cannot be decoded, because the priors are not in the graph. The picture is RGB, (value - 127) / 128; the authors stretch
it to the input.
"""

from collections.abc import Sequence
from typing import Final

from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.grids import need, to_pixels, unit_of_values
from countline_models.heads.rtdetr import pair_of, sums_to_one
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import Network

NMS_IOU: Final = 0.45


class SsdHead:
    """Boxes and class probabilities at priors."""

    name = "ssd"
    aliases: tuple[str, ...] = ("mobilenet-ssd", "ultraface")
    about = "SSD: RGB (v - 127) / 128 in, scores [batch, N, 1 + classes] and boxes [batch, N, 4] out (arXiv 1512.02325)"
    preprocessing = Preprocessing(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
    resized: Resized = "stretched"

    def recognises(self, network: Network) -> bool:
        """Two outputs, boxes and probabilities that sum to one over classes."""
        pair = pair_of(network)
        return pair is not None and network.outputs[pair[0]][2] > 1 and sums_to_one(network, pair[0])

    def plan(self, network: Network) -> DecodePlan:
        pair = pair_of(network)
        fits = pair is not None and network.outputs[pair[0]][2] > 1
        need(fits, network, "SSD has two outputs, scores [batch, N, 1 + classes] and boxes [batch, N, 4]")
        assert pair is not None
        names = list(network.outputs)
        _, count, width = network.outputs[pair[0]]
        kind = network.options.scores or ("probabilities" if sums_to_one(network, pair[0]) else "logits")
        unit = network.options.boxes or unit_of_values(network, pair[1]) or "normalised"

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            scores, boxes = (outputs[names.index(name)] for name in pair)
            if kind == "logits":
                scores = build.op("Softmax", scores, axis=2)
            scores = build.slice(build.transpose(scores, 0, 2, 1), 1, width, 1)
            return Candidates(to_pixels(build, boxes, unit, network.size_hw), scores)

        found = f"{count} priors, background + {width - 1} classes, scores are {kind}, boxes {unit}"
        return DecodePlan(width - 1, found, decode, NMS_IOU)

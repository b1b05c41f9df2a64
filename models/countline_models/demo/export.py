"""Write the trained network as one ONNX graph under the detection contract.

Everything is inside: bytes in, boxes out. Peaks of the centre maps are found by max-pooling, the best ones decoded
to boxes, and of two boxes of one class that nearly coincide the weaker is dropped (Bolya et al. 2019, Fast NMS: one
matrix, no loop, so it also runs batched in TensorRT). The factor on the input is multiplied into the first
convolution.
"""

import copy
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from countline_models.demo.network import INPUT_SCALE, STRIDE, DemoDetector

MAX_DETECTIONS: Final = 100
SAME_OBJECT_IOU: Final = 0.75
"""Two boxes of one class that overlap more than this are one object found twice; people side by side stay below
it."""
LEAST_SCORE: Final = 0.05
OPSET: Final = 17
SIZE_HW: Final = (384, 640)


class ContractDetector(nn.Module):  # type: ignore[misc]  # PyTorch is absent where types are checked
    """The network with what comes before and after it."""

    def __init__(self, network: DemoDetector) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().float()
        with torch.no_grad():
            self.network.stem[0].weight *= INPUT_SCALE
        rows, columns = torch.arange(SIZE_HW[0] // STRIDE), torch.arange(SIZE_HW[1] // STRIDE)
        y, x = torch.meshgrid(rows * float(STRIDE) + STRIDE / 2, columns * float(STRIDE) + STRIDE / 2, indexing="ij")
        self.register_buffer("middles", torch.stack([x, y]).reshape(1, 2, -1))
        self.register_buffer("earlier", torch.ones(MAX_DETECTIONS, MAX_DETECTIONS).tril(-1))
        self.register_buffer(
            "limits", torch.tensor([SIZE_HW[1], SIZE_HW[0], SIZE_HW[1], SIZE_HW[0]], dtype=torch.float32)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Detections (B, MAX_DETECTIONS, 6) for frames (B, H, W, 3) of bytes."""
        logits, distances = self.network.maps(frames.permute(0, 3, 1, 2).float())
        scores, classes, boxes = self._peaks(torch.sigmoid(logits), distances)
        scores = scores * self._first_of_its_kind(boxes, classes)
        scores, order = scores.topk(MAX_DETECTIONS, dim=1)
        rows = torch.cat([boxes, classes[:, :, None]], dim=2).gather(1, order[:, :, None].expand(-1, -1, 5))
        found = torch.cat([rows[:, :, :4], scores[:, :, None], rows[:, :, 4:]], dim=2)
        return found * (scores[:, :, None] >= LEAST_SCORE).float()

    def _peaks(self, likely: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (B, N), classes (B, N) and boxes (B, N, 4) of the best local maxima, best first."""
        tops = functional.max_pool2d(likely, 3, stride=1, padding=1)
        scores, places = (likely * (likely >= tops).float()).flatten(1).topk(MAX_DETECTIONS, dim=1)
        cells = SIZE_HW[0] * SIZE_HW[1] // STRIDE**2
        classes = torch.div(places, cells, rounding_mode="floor")
        within = places - classes * cells
        sides = torch.cat(
            [self.middles - distances[:, :2].flatten(2), self.middles + distances[:, 2:].flatten(2)], dim=1
        )
        boxes = sides.gather(2, within[:, None].expand(-1, 4, -1)).transpose(1, 2)
        return scores, classes.float(), torch.minimum(boxes.clamp(min=0.0), self.limits)

    def _first_of_its_kind(self, boxes: Tensor, classes: Tensor) -> Tensor:
        """(B, N): 0 where a better box of the same class nearly coincides, else 1."""
        low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
        high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
        shared = (high - low).clamp(min=0.0).prod(dim=3)
        area = (boxes[:, :, 2:] - boxes[:, :, :2]).prod(dim=2)
        overlap = shared / (area[:, :, None] + area[:, None, :] - shared + 1e-6)
        twice = (overlap > SAME_OBJECT_IOU) & (classes[:, :, None] == classes[:, None, :])
        return 1.0 - (twice.float() * self.earlier).amax(dim=2)


def export(network: DemoDetector, folder: Path) -> None:
    """Write `folder`/1/model.onnx; labels and configuration beside it are kept by hand."""
    target = folder / "1" / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        ContractDetector(network).eval(),
        (torch.zeros(2, *SIZE_HW, 3, dtype=torch.uint8),),
        str(target),
        input_names=["frames"],
        output_names=["detections"],
        dynamic_axes={"frames": {0: "batch"}, "detections": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )

"""Writes the trained network as one ONNX graph under the detection contract.

The graph takes bytes and answers boxes. Max-pooling finds the peaks of the centre maps, and the best peaks are decoded
to boxes. Of two boxes of one class that nearly coincide, the weaker is dropped (Bolya et al. 2019, Fast NMS: one matrix
and no loop, so it also runs batched in TensorRT). The factor on the input is multiplied into the first convolution.
"""

import copy
import io
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from countline_demo.scenes.scene import CLASSES
from countline_demo.training.network import INPUT_SCALE, STRIDE, DemoDetector
from countline_models.contract import INPUT_NAME, OUTPUT_NAME, set_metadata
from countline_models.repository.adding import add_model

MAX_DETECTIONS: Final = 100
SAME_OBJECT_IOU: Final = (0.75, 0.5)
"""IoU by class above which two boxes are one object found twice. People who walk side by side overlap nearly as much;
vehicles keep a distance, and a long one is found at both ends."""
LEAST_SCORE: Final = 0.05
SCORE_THRESHOLD: Final = 0.45
"""Precision and recall are about equal here, in calm scenes with seeds outside training and evaluation."""
OPSET: Final = 17
SMALL_TENSOR: Final = 1000
"""Tensors with fewer values stay as they are."""
SIZE_HW: Final = (384, 640)


class ContractDetector(nn.Module):  # type: ignore[misc]  # PyTorch is absent where types are checked
    """The network with pre-processing and decoding."""

    def __init__(self, network: DemoDetector) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().float()
        with torch.no_grad():
            self.network.stem[0].weight *= INPUT_SCALE
        self.register_buffer("same", torch.tensor(SAME_OBJECT_IOU))
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
        width, cells = SIZE_HW[1] // STRIDE, SIZE_HW[0] * SIZE_HW[1] // STRIDE**2
        classes = torch.div(places, cells, rounding_mode="floor")
        within = places - classes * cells
        row = torch.div(within, width, rounding_mode="floor")
        middles = torch.stack([within - row * width, row], dim=2).float() * STRIDE + STRIDE / 2
        sides = distances.flatten(2).gather(2, within[:, None].expand(-1, 4, -1)).transpose(1, 2)
        boxes = torch.cat([middles - sides[:, :, :2], middles + sides[:, :, 2:]], dim=2)
        return scores, classes.float(), torch.minimum(boxes.clamp(min=0.0), self.limits)

    def _first_of_its_kind(self, boxes: Tensor, classes: Tensor) -> Tensor:
        """(B, N): 0 where a better box of the same class nearly coincides, else 1."""
        x1, y1, x2, y2 = boxes.unbind(dim=2)
        across = torch.minimum(x2[:, :, None], x2[:, None]) - torch.maximum(x1[:, :, None], x1[:, None])
        down = torch.minimum(y2[:, :, None], y2[:, None]) - torch.maximum(y1[:, :, None], y1[:, None])
        shared = across.clamp(min=0.0) * down.clamp(min=0.0)
        area = (x2 - x1) * (y2 - y1)
        overlap = shared / (area[:, :, None] + area[:, None] - shared + 1e-6)
        twice = (overlap > self.same[classes.long()][:, :, None]) & (classes[:, :, None] == classes[:, None, :])
        return 1.0 - (twice.float() * self.earlier).amax(dim=2)


def export(network: DemoDetector, repository: Path, name: str = "demo_detector") -> None:
    """Put the network into a model repository as a contract model."""
    packed = io.BytesIO()
    torch.onnx.export(
        ContractDetector(network).eval(),
        (torch.zeros(2, *SIZE_HW, 3, dtype=torch.uint8),),
        packed,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_axes={INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load_model_from_string(packed.getvalue())
    _halve(model)
    set_metadata(model, CLASSES, SCORE_THRESHOLD)
    add_model(model.SerializeToString(), name, repository, replace=True)


def _halve(model: onnx.ModelProto) -> None:
    """Store the weights as float16, with a Cast to float32 that every runtime folds when it loads the model."""
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL_TENSOR:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        model.graph.node.insert(0, onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))

"""YOLOv5 to v12 as exported: one output, all predictions decoded to centre and size, without suppression.

Source of the layout: the exporters of github.com/ultralytics/yolov5, github.com/ultralytics/ultralytics,
github.com/WongKinYiu/yolov7 and yolov9, github.com/meituan/YOLOv6. Two families:

    yolov8   [batch, 4 + classes, N]   cx, cy, w, h, class probabilities; N cells of strides 8, 16, 32
             (YOLOv8, v9, v11, v12; P2 and P6 variants have one stride more)
    yolov5   [batch, N, 5 + classes]   cx, cy, w, h, objectness, class probabilities; N is three anchors per cell
             (YOLOv5, v7) or one (YOLOv6); score = objectness * class probability

Both may have their axes swapped. Boxes are in pixels of the input, or in shares of it if the export went through
TensorFlow; a run on a test picture (`grids.unit_of_rows`) or `--boxes` shows which. The picture is RGB, 0..1. The
authors letterbox it in the middle on 114; for a convolutional network this differs from the top left only by the place
of the border.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from countline_common.errors import InvalidInputError
from countline_models.heads.base import Candidates, DecodePlan, Preprocessing, Resized
from countline_models.heads.grids import Rows, corners, likely, need, rows_of, to_pixels, unit_of_rows
from countline_models.onnx.builder import GraphBuilder
from countline_models.onnx.network import BoxUnit, Network

NMS_IOU: Final = 0.45


@dataclass(frozen=True)
class YoloHead:
    """Rows of centre, size, objectness (in some), and class probabilities."""

    name: str
    aliases: tuple[str, ...]
    about: str
    objectness: bool
    preprocessing: Preprocessing = Preprocessing(scale=1 / 255)  # noqa: RUF009  # frozen
    resized: Resized = "letterboxed"

    @property
    def _before_classes(self) -> int:
        return 5 if self.objectness else 4

    def recognises(self, network: Network) -> bool:
        """One row per cell, or three with objectness, whose centres lie near their cells."""
        rows = rows_of(network)
        if rows is None or not rows.strides or rows.width <= self._before_classes:
            return False
        if rows.per_cell == 3 and not self.objectness:
            return False
        if network.labels:
            fits = len(network.labels) == rows.width - self._before_classes
        else:
            # No exporter writes objectness with channels first and one prediction per cell; with rows first, both
            # exist.
            fits = rows.per_cell == 3 or not rows.channels_first or not self.objectness
        return fits and self._unit(network, rows) is not None

    def _unit(self, network: Network, rows: Rows) -> BoxUnit | None:
        return network.options.boxes or unit_of_rows(network, rows)

    def plan(self, network: Network) -> DecodePlan:
        _refuse_other_tasks(network)
        rows = rows_of(network)
        before = self._before_classes
        wanted = f"{self.name} has one output of {before} + classes by predictions, in either order"
        need(rows is not None and rows.width > before, network, wanted)
        assert rows is not None
        unit = self._unit(network, rows)
        if unit is None:
            raise InvalidInputError(
                f"a run does not show whether the boxes of this network are decoded, and in which unit: "
                f"{network.signature}",
                hint="use --boxes pixels or --boxes normalised; for undecoded boxes of YOLOX use --head yolox",
            )

        def decode(build: GraphBuilder, outputs: Sequence[str]) -> Candidates:
            return self._decode(build, outputs[0], rows, unit, network)

        classes = rows.width - before
        how = "stated" if network.options.boxes else "observed"
        found = f"{rows.layout}: {before} + {classes} classes, boxes in {_words(unit)} ({how})"
        return DecodePlan(classes, found, decode, NMS_IOU)

    def _decode(self, build: GraphBuilder, output: str, rows: Rows, unit: BoxUnit, network: Network) -> Candidates:
        raw = output if rows.channels_first else build.transpose(output, 0, 2, 1)
        boxes = corners(build, build.slice(raw, 0, 2, 1), build.slice(raw, 2, 4, 1), 1)
        scores = likely(build, build.slice(raw, self._before_classes, rows.width, 1), network)
        if self.objectness:
            scores = build.op("Mul", scores, likely(build, build.slice(raw, 4, 5, 1), network))
        return Candidates(to_pixels(build, build.transpose(boxes, 0, 2, 1), unit, network.size_hw), scores)


def _words(unit: BoxUnit) -> str:
    return "pixels" if unit == "pixels" else "shares of the picture"


def _refuse_other_tasks(network: Network) -> None:
    """Refuse networks for poses and masks, whose rows look like classes; Ultralytics writes the task into the file."""
    task = next((entry.value for entry in network.model.metadata_props if entry.key == "task"), "detect")
    if task != "detect":
        raise InvalidInputError(
            f"the network is made for the task {task!r}, not for detection", hint="export a network for detection"
        )


YOLOV8: Final = YoloHead(
    "yolov8",
    ("yolov9", "yolov11", "yolo11", "yolov12", "yolo12"),
    "YOLOv8, v9, v11, v12: RGB 0..1 in, [batch, 4 + classes, cells] out, decoded (github.com/ultralytics/ultralytics)",
    objectness=False,
)
YOLOV5: Final = YoloHead(
    "yolov5",
    ("yolov6", "yolov7"),
    "YOLOv5, v6, v7: RGB 0..1 in, [batch, predictions, 5 + classes] out, decoded (github.com/ultralytics/yolov5)",
    objectness=True,
)

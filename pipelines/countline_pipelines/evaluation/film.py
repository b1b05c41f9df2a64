"""A film of the faults of a run: for each, the boxes, tracks and lines around it, with its cause.

There are no pictures in MOT text, so the ground is plain. True boxes are grey; the true object of a fault is red.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from countline_common.files.output_files import OutputFile
from countline_counting.frames import TrackedFrame
from countline_counting.spec import CountingSpec
from countline_pipelines.evaluation.causes import CountFault
from countline_pipelines.evaluation.fault_report import caption
from countline_pipelines.evaluation.mot import Boxes
from countline_pipelines.evaluation.run import SequenceInfo
from countline_pipelines.offline.annotate import Annotator

AROUND_S: Final = 2.0
"""Length of film before and after a fault."""
_GROUND, _TRUTH, _FAULT = "#20242a", "#8a929e", "#ff1744"


class _Ground:
    """What a decoded picture is for the annotator: it gives an image of a size."""

    def __init__(self, boxes: Boxes, faults: Sequence[CountFault]) -> None:
        self._boxes, self._faults = boxes, faults

    def to_image(self, *, width: int, height: int) -> Image.Image:
        """Draw the true boxes, and a caption for each fault."""
        image = Image.new("RGB", (width, height), _GROUND)
        draw = ImageDraw.Draw(image)
        wrong = {fault.truth_id for fault in self._faults}
        for number, box in zip(self._boxes.ids.tolist(), self._boxes.xyxy.tolist(), strict=True):
            draw.rectangle(tuple(box), outline=_FAULT if number in wrong else _TRUTH, width=1)
        font = ImageFont.load_default(max(12, height // 50))
        for row, fault in enumerate(self._faults):
            draw.text((8, height - (row + 1) * height // 32), caption(fault), fill=_FAULT, font=font)
        return image


def write_film(
    output: OutputFile,
    faults: Sequence[CountFault],
    truth: Boxes | None,
    tracked: Boxes,
    sequence: SequenceInfo,
    spec: CountingSpec,
) -> None:
    """Write the frames around all faults, in order of time. An error of writing is kept for the owner of the file.

    Args:
        output: the open file; its name ends as that of a video.
        faults: at least one.
        truth: the true boxes, if they are known.
        tracked: the tracks.
        sequence: size and rate.
        spec: the lines.
    """
    objects = truth if truth is not None else tracked.where(np.zeros(len(tracked), dtype=np.bool_))
    there, found = objects.rows_of_frames(sequence.frames), tracked.rows_of_frames(sequence.frames)
    annotator = Annotator(output, spec, ("",), sequence.fps, totals=False)
    around = round(AROUND_S * sequence.fps)
    place_of = {fault: round(fault.t * sequence.fps) + 1 for fault in faults}
    frames = sorted({frame for at in place_of.values() for frame in range(at - around, at + around + 1)})
    for shown, frame in enumerate(frame for frame in frames if 1 <= frame <= sequence.frames):
        here = [fault for fault, at in place_of.items() if abs(at - frame) <= around]
        ground = _Ground(_rows(objects, there[frame - 1]), here)
        annotator.add(ground, _tracked(_rows(tracked, found[frame - 1]), shown, sequence), ())
    annotator.close()


def _tracked(boxes: Boxes, index: int, sequence: SequenceInfo) -> TrackedFrame:
    classes = np.zeros(len(boxes), dtype=np.int64)
    t = index / sequence.fps  # the film has no gaps
    return TrackedFrame("evaluate", index, t, sequence.size_wh, boxes.ids, boxes.xyxy, boxes.score, classes)


def _rows(boxes: Boxes, rows: slice) -> Boxes:
    return Boxes(boxes.frame[rows], boxes.ids[rows], boxes.xyxy[rows], boxes.score[rows])

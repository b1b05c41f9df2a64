"""Ground truth, detections and results in the text of MOTChallenge: `frame, id, x, y, w, h, ...`, frames from 1.

The number of columns decides the convention of the ground truth:

* ten (MOT15): the seventh column is 1 for an object to be found and 0 for one to be passed over; the last three are
  places in the world; there are no classes;
* nine (MOT16, MOT17, MOT20): the eighth column is the class and the ninth the visibility. Pedestrians (class 1) are
  to be found; persons on vehicles, static persons, distractors and reflections (2, 7, 8, 12) may be found: results
  that lie on them are taken out before anything is measured, as TrackEval does (Luiten et al. 2021);
* six to eight: every row counts, but for those whose seventh column is 0.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile
from countline_common.files.text_files import read_lines

Floats = NDArray[np.float64]

PEDESTRIAN: Final = 1
MAY_BE_FOUND: Final = (2, 7, 8, 12)
"""Classes of MOT16 and later whose detection is neither right nor wrong."""
SCORE_FLOOR, SCORE_CEILING = 0.05, 0.99
"""Range to which scores that are no probabilities are scaled."""
_FORM = "frame, id, x, y, width, height, score, ... with frames from 1, separated by commas"


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of a sequence; rows are sorted by frame."""

    frame: NDArray[np.int64]
    """(N,) from 1."""
    ids: NDArray[np.int64]
    """(N,)"""
    xyxy: Floats
    """(N, 4) x1, y1, x2, y2 in pixels."""
    score: Floats
    """(N,)"""

    def __len__(self) -> int:
        return len(self.frame)

    def where(self, keep: NDArray[np.bool_]) -> "Boxes":
        """Return the rows that are marked, (N,)."""
        return Boxes(self.frame[keep], self.ids[keep], self.xyxy[keep], self.score[keep])

    def rows_of_frames(self, frames: int) -> list[slice]:
        """Return the slices of rows of frame 1, 2, ... `frames`."""
        ends = np.searchsorted(self.frame, np.arange(frames + 1), side="right").tolist()
        return [slice(first, last) for first, last in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class MotTruth:
    """The ground truth of a sequence."""

    objects: Boxes
    """Objects that a run should find."""
    indifferent: Boxes
    """Objects that a run may find: results on them are neither right nor wrong."""
    convention: str

    @property
    def frames(self) -> int:
        """Number of the last frame with a box."""
        return int(max(self.objects.frame.max(initial=0), self.indifferent.frame.max(initial=0)))


def read_truth(path: Path) -> MotTruth:
    """Read ground truth by the conventions above.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is not MOT text, or it holds no object to find.
    """
    table = _table(path)
    boxes = _boxes(table, path)
    _refuse_doubles(boxes, path)
    considered = table[:, 6] != 0 if table.shape[1] > 6 else np.ones(len(table), dtype=np.bool_)
    convention, indifferent = "without classes", np.zeros(len(table), dtype=np.bool_)
    if table.shape[1] == 9:
        convention = "MOT16 and later"
        indifferent = np.isin(table[:, 7], MAY_BE_FOUND)
        considered &= table[:, 7] == PEDESTRIAN
    elif table.shape[1] >= 10:
        convention = "MOT15"
    if not considered.any():
        raise InvalidInputError(
            f"{path}: no row is an object to find ({convention})",
            hint="check that it is ground truth: its seventh column is 1 for such objects; other files have scores",
        )
    return MotTruth(boxes.where(considered), boxes.where(indifferent & ~considered), convention)


def read_result(path: Path) -> Boxes:
    """Read tracks: boxes with ids, no id twice in a frame.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is not MOT text, or an id is missing or given twice in a frame.
    """
    boxes = _boxes(_table(path), path)
    if len(boxes) and (boxes.ids < 0).all():
        raise InvalidInputError(
            f"{path}: no box has an id, so these are detections",
            hint=f"use --detections {path} to track them",
        )
    _refuse_doubles(boxes, path)
    return boxes


def read_detections(path: Path) -> Boxes:
    """Read detections. Ids are ignored; scores that are no probabilities are scaled to 0.05..0.99.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is not MOT text.
    """
    boxes = _boxes(_table(path), path)
    return Boxes(boxes.frame, boxes.ids, boxes.xyxy, as_probabilities(boxes.score))


def as_probabilities(score: Floats) -> Floats:
    """Return (N,) scores unchanged if all lie in 0..1, else scaled to `SCORE_FLOOR`..`SCORE_CEILING`."""
    if not len(score) or (score.min() >= 0 and score.max() <= 1):
        return score
    stretched = (score - score.min()) / max(float(np.ptp(score)), 1e-9)
    return np.asarray(np.clip(stretched, SCORE_FLOOR, SCORE_CEILING))


def write_result(output: OutputFile, boxes: Boxes) -> None:
    """Write tracks as MOT text: frame, id, x, y, width, height, score, -1, -1, -1.

    Raises:
        CountlineError: the file cannot be written.
    """
    rows = zip(
        boxes.frame.tolist(),
        boxes.ids.tolist(),
        boxes.xyxy[:, :2].tolist(),
        (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).tolist(),
        boxes.score.tolist(),
        strict=True,
    )
    lines = [
        f"{frame},{track},{x:.2f},{y:.2f},{width:.2f},{height:.2f},{score:.4f},-1,-1,-1\n"
        for frame, track, (x, y), (width, height), score in rows
    ]
    output.write("".join(lines).encode())


def _table(path: Path) -> Floats:
    """Return the numbers of a file, (N, columns)."""
    rows: list[list[float]] = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            rows.append(_row(line, number, path, len(rows[0]) if rows else None))
    if not rows:
        raise InvalidInputError(f"{path} is empty", hint=_FORM)
    table: Floats = np.array(rows, dtype=np.float64)
    order = np.argsort(table[:, 0], kind="stable")
    in_order: Floats = table[order]
    return in_order


def _row(line: str, number: int, path: Path, columns: int | None) -> list[float]:
    try:
        row = [float(value) for value in line.split(",")]
    except ValueError as error:
        raise InvalidInputError(f"{path}, line {number}: {error}; this is not MOT text", hint=_FORM) from error
    problem = None
    if len(row) < 6:
        problem = f"{len(row)} values, at least 6 are needed"
    elif columns is not None and len(row) != columns:
        problem = f"{len(row)} values, the first line has {columns}"
    elif not np.isfinite(row).all():
        problem = "a value is not finite"
    elif row[0] < 1 or row[0] != int(row[0]):
        problem = f"{row[0]:g} is no frame number"
    elif row[4] <= 0 or row[5] <= 0:
        problem = f"a box of {row[4]:g} x {row[5]:g} pixels"
    if problem:
        raise InvalidInputError(f"{path}, line {number}: {problem}", hint=_FORM)
    return row


def _boxes(table: Floats, path: Path) -> Boxes:
    if (table[:, 1] != np.round(table[:, 1])).any():
        raise InvalidInputError(f"{path}: the ids in the second column are no whole numbers", hint=_FORM)
    low = table[:, 2:4]
    score = table[:, 6] if table.shape[1] > 6 else np.ones(len(table))
    return Boxes(
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        np.concatenate([low, low + table[:, 4:6]], axis=1),
        score,
    )


def _refuse_doubles(boxes: Boxes, path: Path) -> None:
    keys = np.stack([boxes.frame, boxes.ids], axis=1)
    found, count = np.unique(keys, axis=0, return_counts=True)
    if (count > 1).any():
        frame, track = found[count > 1][0].tolist()
        raise InvalidInputError(
            f"{path}: id {track} is given twice in frame {frame}", hint="give each object of a frame an id of its own"
        )

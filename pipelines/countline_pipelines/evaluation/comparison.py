"""Compares a run with the truth, frame by frame: objects, tracks, and the overlap of their boxes.

Every metric starts from this comparison. Objects and tracks are numbered from 0 without gaps, so that counts fit into
arrays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from countline_common.errors import InvalidInputError
from countline_counting.geometry.boxes import intersection_over_union
from countline_pipelines.evaluation.mot import Boxes, Floats, MotTruth

Rows = NDArray[np.intp]

LEAST_OVERLAP = 0.5
"""Least intersection over union at which a box matches an object, for CLEAR MOT and identity (as MOTChallenge)."""
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class ComparedFrame:
    """One frame of truth and run."""

    truth: Rows
    """(N,) numbers of the objects."""
    tracked: Rows
    """(M,) numbers of the tracks."""
    overlap: Floats
    """(N, M) intersection over union."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All frames, and the ids behind the numbers."""

    frames: tuple[ComparedFrame, ...]
    truth_ids: NDArray[np.int64]
    """(T,) ids in the file of ground truth."""
    tracked_ids: NDArray[np.int64]
    """(K,) ids of the run."""
    tracked: Boxes
    """The compared boxes, without those on indifferent objects."""

    def truth_counts(self) -> NDArray[np.int64]:
        """Return the number of frames with each object, (T,)."""
        return _count([frame.truth for frame in self.frames], len(self.truth_ids))

    def tracked_counts(self) -> NDArray[np.int64]:
        """Return the number of frames with each track, (K,)."""
        return _count([frame.tracked for frame in self.frames], len(self.tracked_ids))


def compare(truth: MotTruth, tracked: Boxes, frames: int | None = None) -> Comparison:
    """Compare tracks with the truth.

    Args:
        truth: the true objects.
        tracked: the tracks of the run.
        frames: number of frames of the sequence; by default up to the last frame with a box.

    Raises:
        InvalidInputError: the frames do not match.
    """
    length = sequence_length(truth, tracked, frames)
    tracked = _without_indifferent(truth, tracked, length)
    truth_ids, truth_index = np.unique(truth.objects.ids, return_inverse=True)
    tracked_ids, tracked_index = np.unique(tracked.ids, return_inverse=True)
    pairs = zip(truth.objects.rows_of_frames(length), tracked.rows_of_frames(length), strict=True)
    return Comparison(
        tuple(
            ComparedFrame(
                truth_index[a],
                tracked_index[b],
                intersection_over_union(truth.objects.xyxy[a, None], tracked.xyxy[None, b]),
            )
            for a, b in pairs
        ),
        truth_ids,
        tracked_ids,
        tracked,
    )


def best_matches(worth: Floats) -> tuple[Rows, Rows]:
    """Return rows and columns of the matching of (N, M) with the largest total."""
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return np.asarray(rows), np.asarray(columns)


def with_true_ids(truth: Boxes, found: Boxes, frames: int) -> Boxes:
    """Return the boxes that lie on an object, with the object's id: what perfect association makes of them.

    In each frame, boxes and objects are paired one to one for the largest total of overlaps. A pair with less than
    `LEAST_OVERLAP` is no pair.
    """
    ids, keep = found.ids.copy(), np.zeros(len(found), dtype=np.bool_)
    for there, here in zip(truth.rows_of_frames(frames), found.rows_of_frames(frames), strict=True):
        overlap = intersection_over_union(truth.xyxy[there, None], found.xyxy[None, here])
        rows, columns = best_matches(overlap)
        real = overlap[rows, columns] >= LEAST_OVERLAP
        chosen = here.start + columns[real]
        ids[chosen], keep[chosen] = truth.ids[there.start + rows[real]], True
    return Boxes(found.frame, ids, found.xyxy, found.score).where(keep)


def _count(numbers: list[Rows], length: int) -> NDArray[np.int64]:
    together = np.concatenate(numbers) if numbers else np.zeros(0, dtype=np.intp)
    return np.bincount(together, minlength=length)


def sequence_length(truth: MotTruth | None, tracked: Boxes, frames: int | None) -> int:
    """Return the number of frames. Without true tracks, they are those of the run, if not given.

    Raises:
        InvalidInputError: the run is of another sequence.
    """
    last = int(tracked.frame.max(initial=0))
    if truth is None:
        return max(last, frames or 0)
    if frames is not None:
        if max(last, truth.frames) > frames:
            raise InvalidInputError(
                f"the frames do not match: the sequence has {frames}, the truth goes up to {truth.frames}, "
                f"the run up to {last}",
                hint="check that both are of the same sequence; --frames is the number of its pictures",
            )
        return frames
    if len(tracked) and (tracked.frame.min() > truth.frames or last > 2 * truth.frames):
        raise InvalidInputError(
            f"the frames do not match: the truth goes up to {truth.frames}, the run from {tracked.frame.min()} "
            f"to {last}",
            hint="check that both are of the same sequence and number frames from 1; --frames gives its length",
        )
    return max(last, truth.frames)


def _without_indifferent(truth: MotTruth, tracked: Boxes, frames: int) -> Boxes:
    """Drop boxes on objects whose detection is neither right nor wrong."""
    if not len(truth.indifferent):
        return tracked
    keep = np.ones(len(tracked), dtype=np.bool_)
    spans = zip(
        truth.objects.rows_of_frames(frames),
        truth.indifferent.rows_of_frames(frames),
        tracked.rows_of_frames(frames),
        strict=True,
    )
    for wanted, passed_over, found in spans:
        there = np.concatenate([truth.objects.xyxy[wanted], truth.indifferent.xyxy[passed_over]])
        overlap = intersection_over_union(there[:, None], tracked.xyxy[None, found])
        overlap[overlap < LEAST_OVERLAP - EPSILON] = 0
        rows, columns = best_matches(overlap)
        on = columns[(overlap[rows, columns] > 0) & (rows >= wanted.stop - wanted.start)]
        keep[np.arange(found.start, found.stop)[on]] = False
    return tracked.where(keep)

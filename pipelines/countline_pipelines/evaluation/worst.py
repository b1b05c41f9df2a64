"""The worst cases of a run: miscounted crossings, changes of identity, false tracks, missed objects."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from countline_pipelines.evaluation.comparison import Comparison, Rows
from countline_pipelines.evaluation.counts import CountErrors
from countline_pipelines.evaluation.metrics import clear_matches

WORST = 12
"""Number of cases kept of each kind."""


class Kind(StrEnum):
    """The kind of an error."""

    MISCOUNT = "miscount"
    SWITCH = "switch"
    FALSE_TRACK = "false track"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class WorstCase:
    """One error of a run."""

    kind: Kind
    first: int
    last: int
    """First and last frame, numbered from 1."""
    truth_id: int | None
    track_id: int | None
    words: str
    weight: float
    """How bad the case is, in frames; a miscounted crossing and a change of identity outweigh boxes."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The track on each object, by frame; -1 for none."""

    on_object: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    """(objects, frames) the number of the track."""
    there: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    """(objects, frames) whether the object is there."""
    stray: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    """(tracks, frames) whether the track is there, and on no object."""
    tracked: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    """(tracks, frames) whether the track is there."""


def ledger(comparison: Comparison) -> Ledger:
    """Build the ledger from the matches of CLEAR MOT."""
    objects, tracks, frames = len(comparison.truth_ids), len(comparison.tracked_ids), len(comparison.frames)
    on_object = np.full((objects, frames), -1, dtype=np.int64)
    there = np.zeros((objects, frames), dtype=np.bool_)
    stray = np.zeros((tracks, frames), dtype=np.bool_)
    tracked = np.zeros((tracks, frames), dtype=np.bool_)
    for i, (frame, (rows, columns)) in enumerate(zip(comparison.frames, clear_matches(comparison), strict=True)):
        there[frame.truth, i] = True
        on_object[frame.truth[rows], i] = frame.tracked[columns]
        tracked[frame.tracked, i] = stray[frame.tracked, i] = True
        stray[frame.tracked[columns], i] = False
    return Ledger(on_object, there, stray, tracked)


def worst_cases(comparison: Comparison, book: Ledger, errors: CountErrors | None, fps: float) -> list[WorstCase]:
    """Return the worst cases of each kind, the worst first."""
    kinds = [_switches(comparison, book, fps), _missed(comparison, book, fps), _false_tracks(comparison, book, fps)]
    if errors is not None:
        kinds.append(_miscounts(errors, fps))
    return _in_order(case for cases in kinds for case in _in_order(cases)[:WORST])


def in_turn(cases: Sequence[WorstCase], most: int) -> list[WorstCase]:
    """Return the worst of each kind in turn, so that all kinds are present; sorted by kind."""
    by_kind = [[case for case in cases if case.kind is kind] for kind in Kind]
    chosen = [of_kind[i] for i in range(most) for of_kind in by_kind if i < len(of_kind)][:most]
    return sorted(chosen, key=lambda case: list(Kind).index(case.kind))


def _in_order(cases: Iterable[WorstCase]) -> list[WorstCase]:
    return sorted(cases, key=lambda case: (-case.weight, case.first, case.words))


def _miscounts(errors: CountErrors, fps: float) -> Iterator[WorstCase]:
    for line in errors.lines:
        for crossings, word in ((line.missed, "was not counted"), (line.extra, "is not true")):
            for crossing in crossings:
                frame = round(crossing.t * fps) + 1
                words = f"{line.line_id} {line.direction.value} at {crossing.t:.1f} s {word}"
                true, counted = (crossing.track, None) if crossings is line.missed else (None, crossing.track)
                yield WorstCase(Kind.MISCOUNT, frame, frame, true, counted, words, weight=1000 * fps)


def _switches(comparison: Comparison, book: Ledger, fps: float) -> Iterator[WorstCase]:
    for row, number in enumerate(comparison.truth_ids.tolist()):
        seen = np.nonzero(book.on_object[row] >= 0)[0]
        for before, after in pairwise(seen.tolist()):
            old, new = int(book.on_object[row, before]), int(book.on_object[row, after])
            if old != new:
                ids = comparison.tracked_ids[[old, new]].tolist()
                words = f"object {number} was track {ids[0]}, is track {ids[1]} from {after / fps:.1f} s on"
                yield WorstCase(
                    Kind.SWITCH, before + 1, after + 1, number, ids[1], words, weight=100 * fps + after - before
                )


def _missed(comparison: Comparison, book: Ledger, fps: float) -> Iterator[WorstCase]:
    for row, number in enumerate(comparison.truth_ids.tolist()):
        for first, last in _spans(np.nonzero(book.there[row] & (book.on_object[row] < 0))[0]):
            words = f"object {number} went unseen for {(last - first + 1) / fps:.1f} s"
            yield WorstCase(Kind.MISSED, first + 1, last + 1, number, None, words, weight=last - first + 1)


def _false_tracks(comparison: Comparison, book: Ledger, fps: float) -> Iterator[WorstCase]:
    for row, number in enumerate(comparison.tracked_ids.tolist()):
        stray = np.nonzero(book.stray[row])[0]
        if 2 * len(stray) > book.tracked[row].sum():
            first, last = int(stray[0]), int(stray[-1])
            words = f"track {number} is on no object for {len(stray) / fps:.1f} s"
            yield WorstCase(Kind.FALSE_TRACK, first + 1, last + 1, None, number, words, weight=len(stray))


def _spans(frames: Rows) -> Iterator[tuple[int, int]]:
    """Return runs of numbers that follow each other, as first and last."""
    breaks = np.nonzero(np.diff(frames) > 1)[0] + 1
    for run in np.split(frames, breaks):
        if len(run):
            yield int(run[0]), int(run[-1])

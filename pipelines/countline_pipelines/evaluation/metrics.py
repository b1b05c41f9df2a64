"""HOTA, IDF1 and MOTA as pure functions of a comparison.

Sources: HOTA, Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021. IDF1,
Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", ECCV workshops 2016.
MOTA, Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics", 2008. Where
the papers leave a choice, this module decides as TrackEval, the program behind MOTChallenge, so that numbers compare
with published ones. (TrackEval and similar programs need numpy 2, which the embedded Triton forbids.)

The classes hold counts: to combine sequences, counts are added, and the metric is computed from the sum.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from countline_pipelines.evaluation.comparison import (
    EPSILON,
    LEAST_OVERLAP,
    ComparedFrame,
    Comparison,
    Rows,
    best_matches,
)
from countline_pipelines.evaluation.mot import Floats

ALPHAS: Final = np.arange(0.05, 0.99, 0.05)
"""The 19 overlaps over which HOTA is averaged."""
_STAYS = 1000.0
"""Worth of a continued match, above any overlap."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Counts of CLEAR MOT."""

    true_positives: int
    false_positives: int
    misses: int
    switches: int

    @property
    def mota(self) -> float:
        wrong = self.misses + self.false_positives + self.switches
        return 1 - wrong / max(1, self.true_positives + self.misses)


@dataclass(frozen=True, slots=True)
class IdentityScores:
    """Counts of identity: boxes that one fixed pairing of objects and tracks explains, and the other boxes."""

    true_positives: int
    false_positives: int
    misses: int

    @property
    def idf1(self) -> float:
        right = self.true_positives
        return right / max(1.0, right + (self.false_positives + self.misses) / 2)


@dataclass(frozen=True, slots=True)
class Hota:
    """Counts of HOTA at each of `ALPHAS`, (19,) each."""

    true_positives: Floats
    false_positives: Floats
    misses: Floats
    association: Floats
    """Sum of the associations of all true positives, each from 0 to 1."""

    @property
    def det_a(self) -> float:
        """Detection accuracy."""
        return float(self._det_a().mean())

    @property
    def ass_a(self) -> float:
        """Association accuracy."""
        return float(self._ass_a().mean())

    @property
    def hota(self) -> float:
        return float(np.sqrt(self._det_a() * self._ass_a()).mean())

    def _det_a(self) -> Floats:
        total = self.true_positives + self.false_positives + self.misses
        return np.asarray(self.true_positives / np.maximum(1, total))

    def _ass_a(self) -> Floats:
        return np.asarray(self.association / np.maximum(1, self.true_positives))


@dataclass(frozen=True, slots=True)
class Metrics:
    """All three families."""

    clear: Clear
    identity: IdentityScores
    hota: Hota

    def as_dict(self) -> dict[str, float | int]:
        """Return the numbers by their usual names; shares from 0 to 1."""
        return {
            "HOTA": round(self.hota.hota, 5),
            "DetA": round(self.hota.det_a, 5),
            "AssA": round(self.hota.ass_a, 5),
            "IDF1": round(self.identity.idf1, 5),
            "MOTA": round(self.clear.mota, 5),
            "FP": self.clear.false_positives,
            "FN": self.clear.misses,
            "IDSW": self.clear.switches,
        }


def measure(comparison: Comparison) -> Metrics:
    """Measure a run."""
    return Metrics(clear(comparison), identity(comparison), hota(comparison))


def clear(comparison: Comparison) -> Clear:
    """Return the counts of CLEAR MOT."""
    matched, switches, last = 0, 0, np.full(len(comparison.truth_ids), -1)
    for frame, (rows, columns) in zip(comparison.frames, clear_matches(comparison), strict=True):
        objects, tracks = frame.truth[rows], frame.tracked[columns]
        switches += int(((last[objects] >= 0) & (last[objects] != tracks)).sum())
        last[objects] = tracks
        matched += len(rows)
    there, found = int(comparison.truth_counts().sum()), int(comparison.tracked_counts().sum())
    return Clear(matched, found - matched, there - matched, switches)


def clear_matches(comparison: Comparison) -> list[tuple[Rows, Rows]]:
    """Return, frame by frame, the matched rows of truth and tracks.

    A match of the previous frame continues while its boxes overlap enough; the rest is matched by the largest overlap.
    """
    found, before = [], np.full(len(comparison.truth_ids), -1)
    for frame in comparison.frames:
        worth = _STAYS * (before[frame.truth][:, None] == frame.tracked[None, :]) + frame.overlap
        worth[frame.overlap < LEAST_OVERLAP - EPSILON] = 0
        rows, columns = best_matches(worth)
        real = worth[rows, columns] > EPSILON
        rows, columns = rows[real], columns[real]
        before[:] = -1
        before[frame.truth[rows]] = frame.tracked[columns]
        found.append((rows, columns))
    return found


def identity(comparison: Comparison) -> IdentityScores:
    """Return the counts of identity. Objects and tracks are paired once for the whole sequence, with the best total."""
    there, found = comparison.truth_counts(), comparison.tracked_counts()
    together = np.zeros((len(there), len(found)))
    for frame in comparison.frames:
        rows, columns = np.nonzero(frame.overlap >= LEAST_OVERLAP)
        together[frame.truth[rows], frame.tracked[columns]] += 1
    # A pair gains the frames that both share; an unpaired object or track gains nothing.
    rows, columns = linear_sum_assignment(together, maximize=True)
    right = int(together[rows, columns].sum())
    return IdentityScores(right, int(found.sum()) - right, int(there.sum()) - right)


def hota(comparison: Comparison) -> Hota:
    """Return the counts of HOTA."""
    there, found = comparison.truth_counts(), comparison.tracked_counts()
    alignment = _alignment(comparison, there, found)
    together = np.zeros((len(ALPHAS), len(there), len(found)))
    for frame in comparison.frames:
        rows, columns = best_matches(alignment[frame.truth[:, None], frame.tracked[None, :]] * frame.overlap)
        level, pair = np.nonzero(frame.overlap[rows, columns] >= ALPHAS[:, None] - EPSILON)
        together[level, frame.truth[rows[pair]], frame.tracked[columns[pair]]] += 1
    true_positives = together.sum(axis=(1, 2))
    joined = there[None, :, None] + found[None, None, :] - together
    association = (together * together / np.maximum(1, joined)).sum(axis=(1, 2))
    return Hota(true_positives, found.sum() - true_positives, there.sum() - true_positives, association)


def _alignment(comparison: Comparison, there: NDArray[np.int64], found: NDArray[np.int64]) -> Floats:
    """Return the alignment of each object with each track over the whole sequence, (T, K) from 0 to 1."""
    shared = np.zeros((len(there), len(found)))
    for frame in comparison.frames:
        shared[frame.truth[:, None], frame.tracked[None, :]] += _mutual(frame)
    return np.asarray(shared / (there[:, None] + found[None, :] - shared))


def _mutual(frame: ComparedFrame) -> Floats:
    """Return overlaps as shares of all overlaps of the two boxes, (N, M)."""
    total = frame.overlap.sum(axis=1, keepdims=True) + frame.overlap.sum(axis=0, keepdims=True) - frame.overlap
    return np.divide(frame.overlap, total, out=np.zeros_like(frame.overlap), where=total > EPSILON)

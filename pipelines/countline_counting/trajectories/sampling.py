"""Samples of stored paths: the moments at which a recount looks at each object, and the place and size there. Pure.

A path is sampled as often as its object was seen, and at its corners. A sight that came late, because it was not
settled whose it was, comes late again (`Samples.known_at`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.geometry.segments import Floats
from countline_counting.identity import Identity
from countline_counting.objects.healing import SETTLE_S
from countline_counting.paths import LEAST_ERROR_PX, ObjectPath
from countline_counting.trajectories.simplification import SIZE_ERROR_HEIGHTS

TOGETHER_S: Final = 0.005
"""Samples of several objects that are no farther apart than this are taken together."""
_LONGEST_PERIOD_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """One object with its whole path, parts joined."""

    identity: Identity
    track: int
    class_name: str
    score: float
    stitched: bool
    picture_wh: tuple[int, int]
    parts: tuple[ObjectPath, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """Moments of several objects, (N,) or (N, k) each, ordered by `known_at`."""

    rows: NDArray[np.intp]
    """Index of the object."""
    t: Floats
    """Capture time, seconds."""
    known_at: Floats
    """Capture time at which it was known whose sight it is."""
    value: Floats
    """(N, 4) anchor x, y, width, height in pixels."""
    reach: Floats
    """How far the object may be from there along either axis, in pixels."""
    period_s: Floats
    """Time from frame to frame."""
    before: NDArray[np.intp]
    """Number of the previous sample of the same object, -1 for the first."""
    last: NDArray[np.bool_]
    """Whether it is the last sample of its object."""


def sampled(objects: Sequence[TrackedObject]) -> Samples:
    """Sample every object as often as it was seen."""
    each = [_samples_of(item) for item in objects]
    lengths = [len(samples.t) for samples in each]
    t, known_at, value, reach, period_s = (np.concatenate(column) for column in zip(*each, strict=True))
    rows = np.repeat(np.arange(len(objects)), lengths)
    ends = np.cumsum(lengths)
    before = np.arange(-1, len(t) - 1)
    before[ends - lengths] = -1
    last = np.zeros(len(t), dtype=np.bool_)
    last[ends - 1] = True
    order = np.argsort(known_at, kind="stable")
    place = np.empty(len(t) + 1, dtype=np.intp)
    place[order], place[-1] = np.arange(len(t)), -1
    return Samples(
        rows=rows[order],
        t=t[order],
        known_at=known_at[order],
        value=value[order],
        reach=reach[order],
        period_s=period_s[order],
        before=place[before[order]],
        last=last[order],
    )


def moments(samples: Samples) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of runs of samples in which no object appears twice."""
    start, rows, t = 0, samples.rows.tolist(), samples.known_at.tolist()
    seen: set[int] = set()
    for i, row in enumerate(rows):
        if row in seen or t[i] - t[start] > TOGETHER_S:
            yield start, i
            start, seen = i, set()
        seen.add(row)
    if rows:
        yield start, len(rows)


class _ObjectSamples(NamedTuple):
    """Moments of one object, as in `Samples`."""

    t: Floats
    known_at: Floats
    value: Floats
    reach: Floats
    period_s: Floats


def _samples_of(item: TrackedObject) -> _ObjectSamples:
    pieces: list[_ObjectSamples] = []
    for path in item.parts:
        t, known_at, period_s = _times(path)
        value = path.at(t)
        # Lines measure in heights, so near a line a wrong height does as much as a wrong place.
        apart_px = np.maximum(path.error_heights / np.sqrt(2) * value[:, 3], LEAST_ERROR_PX)
        larger_px = np.maximum(SIZE_ERROR_HEIGHTS * value[:, 3], LEAST_ERROR_PX) * rules.DESTINATION_CLEAR_HEIGHTS
        samples = _ObjectSamples(t, known_at, value, apart_px + larger_px, np.full(len(t), period_s))
        # A part begins where the one before has ended.
        pieces.append(_ObjectSamples(*(column[1 if pieces else 0 :] for column in samples)))
    t, known_at, value, reach, period_s = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return _ObjectSamples(t, np.maximum.accumulate(known_at), value, reach, period_s)


def _times(path: ObjectPath) -> tuple[Floats, Floats, float]:
    """Return the times of the samples of a path, when each was known to be of its object, and the time per frame.

    Samples lie at the corners, and between them as often as the object was seen. The sights of a fragment that
    waited to be healed became known with the first frame after the wait.
    """
    t, _ = path.corners()
    gap = np.zeros(len(t), dtype=np.bool_)
    gap[[after for _, after in path.unseen]] = True
    steps_s = np.diff(t)
    seen_s = float(steps_s[~gap[1:]].sum())
    period_s = min(max(seen_s / max(1, path.sights - 1 - len(path.unseen)), 1e-3), _LONGEST_PERIOD_S)
    pieces = np.where(gap[1:], 1, np.maximum(1, np.rint(steps_s / period_s))).astype(np.int64)
    times = [t[:1], *(np.linspace(a, b, n + 1)[1:] for a, b, n in zip(t[:-1], t[1:], pieces.tolist(), strict=True))]
    seen = np.concatenate(times)
    known_at = seen.copy()
    waited_s = np.ceil((SETTLE_S - TOGETHER_S) / period_s) * period_s
    for corner in path.joined:
        known_at[(seen >= t[corner]) & (seen < t[corner] + waited_s)] = t[corner] + waited_s
    return seen, known_at, period_s

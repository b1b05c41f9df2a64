"""Counts lines over stored trajectories, by the rules and with the code that count live. Pure.

Paths are sampled as often as their objects were seen (`sampling`) and go through `LineCounter` like sights. Every path
is counted five times: as it is, and moved by its error to each corner of the square in which the true place of the
object lies. A crossing that is in all five, in the same direction and within `SAME_S`, is certain. A crossing of the
path as it is that is not in all others is `uncertain`. A crossing that is only in a moved path is *possible*: it does
not count, but may have been.

A certain crossing is the one that live counting emitted: the same line, direction and class, its time within `SAME_S`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countline_counting.events import Direction
from countline_counting.geometry.segments import Floats, Point
from countline_counting.identity import Identity, event_id
from countline_counting.objects.sights import Sights
from countline_counting.paths import ObjectPath
from countline_counting.rule.lines import LineCounter
from countline_counting.rule.passes import Pass
from countline_counting.spec import DEFAULT_ANCHOR, Line
from countline_counting.tracking.motion import cut_edges
from countline_counting.trajectories.sampling import TOGETHER_S, Samples, TrackedObject, moments, sampled

SAME_S: Final = 1.0
"""Two crossings of one object over one line in one direction are one event if they are at most this far apart."""
OBJECTS_AT_ONCE: Final = 500
"""Objects do not influence each other; counting many at once is cheaper."""
_GAP_PERIODS: Final = 1.5
"""An object whose next sample is farther away than this was not seen in the frames between."""

_MOVES: Final = np.array([[0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=np.float64)
"""(V, 2) by how much each counting moves a path, in shares of its error; the first is the path as it is."""
_WAYS: Final = len(_MOVES)


@dataclass(frozen=True, slots=True)
class RecountedCrossing:
    """A crossing of a stored path."""

    id: str
    """The id that live counting of the same line gives the crossing, if the whole path is known."""
    line_id: str
    track: int
    t: float
    decided_at: float
    direction: Direction
    class_name: str
    score: float
    stitched: bool
    uncertain: bool
    """Whether it lies within the error of the path."""


@dataclass(frozen=True, slots=True)
class RecountResult:
    """The crossings of some paths over some lines, in the order of time."""

    events: tuple[RecountedCrossing, ...]
    possible: tuple[RecountedCrossing, ...]
    """Crossings that may have been, and do not count."""


class PartJoiner:
    """Joins the parts of long tracks. Holds only objects that are not complete."""

    def __init__(self) -> None:
        self._open: dict[tuple[Identity, int], list[TrackedObject]] = {}

    def add(self, part: TrackedObject) -> list[TrackedObject]:
        """Take an object with one part of its path, parts of one track in their order; return complete objects."""
        key = part.identity, part.track
        known = self._open.pop(key, [])
        complete = []
        if known and not _joins(known[-1].parts[-1], part.parts[0]):
            complete, known = [_joined(known)], []
        known.append(part)
        if part.parts[0].continues:
            self._open[key] = known
        else:
            complete.append(_joined(known))
        return complete

    def rest(self) -> list[TrackedObject]:
        """Return the objects whose later parts did not come."""
        rest = [_joined(parts) for parts in self._open.values()]
        self._open = {}
        return rest


def _joins(before: ObjectPath, after: ObjectPath) -> bool:
    return after.part == before.part + 1 and abs(after.start - before.end) < TOGETHER_S


def _joined(parts: Sequence[TrackedObject]) -> TrackedObject:
    """Return one object; its class, score and stitching are those of the last part."""
    return replace(parts[-1], parts=tuple(path for part in parts for path in part.parts))


def recount(
    objects: Iterable[TrackedObject], lines: Sequence[Line], anchor: Point = DEFAULT_ANCHOR
) -> Iterator[RecountResult]:
    """Count lines over objects, some hundred at a time.

    Args:
        objects: what to count; those of one picture size in any order.
        lines: where to count. The classes of a line are not looked at.
        anchor: the point of the box that the paths follow.
    """
    by_picture: dict[tuple[int, int], list[TrackedObject]] = defaultdict(list)
    for item in objects:
        group = by_picture[item.picture_wh]
        group.append(item)
        if len(group) >= OBJECTS_AT_ONCE:
            yield _Recount(group, lines, anchor).run()
            by_picture[item.picture_wh] = []
    for group in by_picture.values():
        if group:
            yield _Recount(group, lines, anchor).run()


class _Recount:
    """Counts some objects in pictures of one size."""

    def __init__(self, objects: Sequence[TrackedObject], lines: Sequence[Line], anchor: Point) -> None:
        self._objects = objects
        self._anchor = np.array(anchor)
        self._picture_wh = objects[0].picture_wh
        self._counters = [LineCounter(line, self._picture_wh) for line in lines]
        self._passes: dict[tuple[int, int], list[list[tuple[Pass, float]]]] = {}
        """By line and object, for each way to move the path: passes and when they were decided."""

    def run(self) -> RecountResult:
        """Count all objects and return their crossings."""
        samples = sampled(self._objects)
        for start, end in moments(samples):
            self._take(samples, np.arange(start, end))
        for row in range(len(self._objects)):
            self._end(row, self._objects[row].parts[-1].end)
        events: list[RecountedCrossing] = []
        possible: list[RecountedCrossing] = []
        for (number, row), found in self._passes.items():
            line, item = self._counters[number].line, self._objects[row]
            certain, maybe = _judged(found)
            events += [_recounted(line, item, *each) for each in certain]
            possible += [_recounted(line, item, *each, uncertain=True) for each in maybe]
        return RecountResult(_in_order(events), _in_order(possible))

    def _take(self, samples: Samples, which: NDArray[np.intp]) -> None:
        now = float(samples.known_at[which[-1]])
        self._decide_unseen(samples, which)
        sights = self._sights(samples, which)
        for number, counter in enumerate(self._counters):
            self._note(number, counter.see(sights), now)
        for row in samples.rows[which[samples.last[which]]].tolist():
            self._end(row, now)

    def _decide_unseen(self, samples: Samples, which: NDArray[np.intp]) -> None:
        """Decide what became certain in the frames since the last sample of each object, in which it was not seen.

        Only in such gaps: an object that was seen in each frame may have come back, so its next sample comes first.
        """
        before = samples.before[which]
        unseen_s = samples.known_at[which] - samples.known_at[before]
        is_gap = (before >= 0) & (unseen_s > _GAP_PERIODS * samples.period_s[which])
        for i, last in zip(which[is_gap].tolist(), before[is_gap].tolist(), strict=True):
            first_copy, period_s = int(samples.rows[i]) * _WAYS, float(samples.period_s[i])
            copies = range(first_copy, first_copy + _WAYS)
            first_t, end_t = samples.known_at[last] + period_s, samples.known_at[i] - period_s / 2
            for frame_t in np.arange(first_t, end_t, period_s).tolist():
                for number, counter in enumerate(self._counters):
                    self._note(number, counter.decide(frame_t, copies), frame_t)

    def _sights(self, samples: Samples, which: NDArray[np.intp]) -> Sights:
        """Return the samples, each as often as there are ways to move it."""
        before = samples.before[which]
        value = np.repeat(samples.value[which], _WAYS, axis=0)
        moves = np.tile(_MOVES, (len(which), 1))
        xy_px = value[:, :2] + moves * np.repeat(samples.reach[which], _WAYS)[:, None]
        was_px = samples.value[before, :2] + 0.0
        was_px[before < 0] = np.nan
        return Sights(
            rows=(samples.rows[which, None] * _WAYS + np.arange(_WAYS)).ravel(),
            t=np.repeat(samples.t[which], _WAYS),
            frame=np.repeat(which, _WAYS),
            xy_px=xy_px,
            hidden=self._hidden(xy_px, value[:, 2:]),
            height_px=value[:, 3],
            before_t=np.repeat(samples.t[before], _WAYS),
            before_xy_px=np.repeat(was_px, _WAYS, axis=0) + moves * np.repeat(samples.reach[before], _WAYS)[:, None],
            width_px=value[:, 2],
            known_at=np.repeat(samples.known_at[which], _WAYS),
        )

    def _hidden(self, xy_px: Floats, size_wh_px: Floats) -> Floats:
        """Return (N, 2) as in `Sights`: the border of the picture cut off an object that is completed beyond it."""
        first = xy_px - size_wh_px * self._anchor
        low, high = cut_edges(np.concatenate([first, first + size_wh_px], axis=1), self._picture_wh)
        hidden: Floats = (high & ~low) * self._anchor - (low & ~high) * (1 - self._anchor)
        return hidden

    def _end(self, row: int, now: float) -> None:
        for number, counter in enumerate(self._counters):
            for copy in range(row * _WAYS, (row + 1) * _WAYS):
                last = counter.end(copy)
                if last is not None:
                    self._note(number, [(copy, last)], now)

    def _note(self, number: int, passes: Iterable[tuple[int, Pass]], now: float) -> None:
        for copy, made in passes:
            row, way = divmod(copy, _WAYS)
            found = self._passes.setdefault((number, row), [[] for _ in _MOVES])
            found[way].append((made, now))


_Counted = tuple[Pass, float, bool]
"""A pass, when it was decided, whether it is uncertain."""


def _judged(found: Sequence[Sequence[tuple[Pass, float]]]) -> tuple[list[_Counted], list[tuple[Pass, float]]]:
    """Return the passes that count and those that are possible, from the passes of each way to move a path."""
    given, *moved = found
    missing = [0] * len(given)
    others: list[tuple[Pass, float]] = []
    for passes in moved:
        free = list(passes)
        for i, (made, _) in enumerate(given):
            same = next(
                (each for each in free if each[0].sign == made.sign and abs(each[0].t - made.t) <= SAME_S), None
            )
            if same is None:
                missing[i] += 1
            else:
                free.remove(same)
        others += free
    counted = [(made, at, missing[i] > 0) for i, (made, at) in enumerate(given)]
    possible: list[tuple[Pass, float]] = []
    for made, at in sorted(others, key=lambda each: each[0].t):
        if not any(known.sign == made.sign and abs(known.t - made.t) <= SAME_S for known, _ in possible):
            possible.append((made, at))
    return counted, possible


def _recounted(line: Line, item: TrackedObject, made: Pass, decided_at: float, uncertain: bool) -> RecountedCrossing:
    return RecountedCrossing(
        id=event_id(item.identity, "line", line.id, line.version, item.track, made.sequence),
        line_id=line.id,
        track=item.track,
        t=made.t,
        decided_at=decided_at,
        direction=made.direction,
        class_name=item.class_name,
        score=item.score,
        stitched=item.stitched,
        uncertain=uncertain,
    )


def _in_order(events: Iterable[RecountedCrossing]) -> tuple[RecountedCrossing, ...]:
    return tuple(sorted(events, key=lambda event: (event.t, event.line_id, event.track)))

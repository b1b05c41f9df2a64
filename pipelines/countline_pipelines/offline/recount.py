"""Counts lines over stored trajectories, by the rules and with the code that count live. Pure.

A path is sampled as often as its object was seen, corners included, and goes through `LineCounter` like sights; those
that came late, since it was not settled whose they were, come late again. Each event says whether it is certain. Every
path is counted five times: as it is, and moved by its error to each corner of the square in which the object's true
place lies. A crossing that is in all five, the same way and within `SAME_S`, is certain; one that is only in some is
`uncertain`. Those that are not in the first but in another are told apart as *possible*: they do not count, but may
have been.

What is certain is what live counting said: the same line, direction and class, its time within `SAME_S`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countline.v1 import events_pb2
from countline_counting import Direction, Identity, Line, Path, event_id, rules
from countline_counting.geometry.exact import Floats, Point
from countline_counting.objects.boxes import cut_edges
from countline_counting.objects.healing import SETTLE_S
from countline_counting.rule.lines import LineCounter, Pass, Sights
from countline_counting.spec import DEFAULT_ANCHOR
from countline_counting.trajectories.paths import LEAST_ERROR_PX
from countline_counting.trajectories.simplification import SIZE_ERROR_HEIGHTS
from countline_pipelines.messages import path_of

SAME_S: Final = 1.0
"""Two crossings of one object over one line, the same way, are one event when they are no farther apart than this."""
OBJECTS_AT_ONCE: Final = 500
"""Objects do not matter to each other; together they only cost less."""
TOGETHER_S: Final = 0.005
"""Samples of several objects that are no farther apart than this are taken together."""
_LONGEST_PERIOD_S: Final = 5.0
_GAP_PERIODS: Final = 1.5
"""An object whose next sample is farther away than this was not seen in the frames between."""

_MOVES: Final = np.array([[0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=np.float64)
"""(V, 2) where each counting of a path is moved to, in shares of its error; the first is the path as it is."""
_WAYS: Final = len(_MOVES)


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """One object with its whole path, parts joined."""

    identity: Identity
    track: int
    class_name: str
    score: float
    stitched: bool
    picture_wh: tuple[int, int]
    parts: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Recounted:
    """A crossing of a stored path."""

    id: str
    """That of the crossing which live counting of the same line would have told, where all of the path is known."""
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
class Answer:
    """What some paths make of some lines, in the order of time."""

    events: tuple[Recounted, ...]
    possible: tuple[Recounted, ...]
    """What may have been, and is not counted."""


class Joiner:
    """Puts the parts of long tracks together. Holds those alone that are not complete."""

    def __init__(self) -> None:
        self._open: dict[tuple[Identity, int], list[TrackedObject]] = {}

    def add(self, message: events_pb2.Trajectory) -> list[TrackedObject]:
        """Take a trajectory, parts of one track in their order; return the objects that are complete.

        Raises:
            InvalidInputError: it is not what it should be.
        """
        new = _object_of(message)
        key = new.identity, new.track
        known = self._open.pop(key, [])
        done = []
        if known and not _joins(known[-1].parts[-1], new.parts[0]):
            done, known = [_joined(known)], []
        known.append(new)
        if new.parts[0].continues:
            self._open[key] = known
        else:
            done.append(_joined(known))
        return done

    def rest(self) -> list[TrackedObject]:
        """Return what is known of the objects whose later parts did not come."""
        rest = [_joined(parts) for parts in self._open.values()]
        self._open = {}
        return rest


def _object_of(message: events_pb2.Trajectory) -> TrackedObject:
    return TrackedObject(
        identity=Identity(message.camera_id, message.epoch, message.run),
        track=message.track,
        class_name=message.class_name,
        score=message.score,
        stitched=message.stitched,
        picture_wh=(message.picture_width, message.picture_height),
        parts=(path_of(message),),
    )


def _joins(before: Path, after: Path) -> bool:
    return after.part == before.part + 1 and abs(after.start - before.end) < TOGETHER_S


def _joined(parts: Sequence[TrackedObject]) -> TrackedObject:
    """Return one object; what was said last of it stands."""
    return replace(parts[-1], parts=tuple(path for part in parts for path in part.parts))


def recount(
    objects: Iterable[TrackedObject], lines: Sequence[Line], anchor: Point = DEFAULT_ANCHOR
) -> Iterator[Answer]:
    """Count lines over objects, some hundred at a time.

    Args:
        objects: what to count; those of one picture's size in any order.
        lines: where; the classes of a line are not looked at, for the numbers of classes are not stored.
        anchor: the point of the box that the paths are of.
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


@dataclass(frozen=True, slots=True)
class _Samples:
    """Moments of several objects, (N,) or (N, k) each, in the order of time."""

    rows: NDArray[np.intp]
    """Which object."""
    t: Floats
    told: Floats
    """When it was known whose the sight is."""
    value: Floats
    """(N, 4) anchor x, y, width, height in pixels."""
    reach: Floats
    """How far the object may be from there along either axis, in pixels."""
    period_s: Floats
    """Time from frame to frame."""
    before: NDArray[np.intp]
    """Number of the sample of the same object before it, -1 for the first."""
    last: NDArray[np.bool_]
    """Whether it is the last one of its object."""


class _Recount:
    """Some objects in pictures of one size, on their way past the lines."""

    def __init__(self, objects: Sequence[TrackedObject], lines: Sequence[Line], anchor: Point) -> None:
        self._objects = objects
        self._anchor = np.array(anchor)
        self._picture_wh = objects[0].picture_wh
        self._counters = [LineCounter(line, self._picture_wh) for line in lines]
        self._passes: dict[tuple[int, int], list[list[tuple[Pass, float]]]] = {}
        """By line and object, for each way of moving the path: passes and when they were decided."""

    def run(self) -> Answer:
        """Count everything."""
        samples = _sampled(self._objects)
        for start, end in _moments(samples):
            self._take(samples, np.arange(start, end))
        for row in range(len(self._objects)):
            self._end(row, self._objects[row].parts[-1].end)
        events: list[Recounted] = []
        possible: list[Recounted] = []
        for (number, row), found in self._passes.items():
            line, item = self._counters[number].line, self._objects[row]
            told, maybe = _judged(found)
            events += [_recounted(line, item, *each) for each in told]
            possible += [_recounted(line, item, *each, uncertain=True) for each in maybe]
        return Answer(_in_order(events), _in_order(possible))

    def _take(self, samples: _Samples, which: NDArray[np.intp]) -> None:
        now = float(samples.told[which[-1]])
        self._decide_unseen(samples, which)
        sights = self._sights(samples, which)
        for number, counter in enumerate(self._counters):
            self._note(number, counter.see(sights), now)
        for row in samples.rows[which[samples.last[which]]].tolist():
            self._end(row, now)

    def _decide_unseen(self, samples: _Samples, which: NDArray[np.intp]) -> None:
        """Decide what became certain in the frames since the last sample of each object, in which it was not seen.

        Only there: whoever was seen in each frame may have come back between two of them, and is looked at first.
        """
        before = samples.before[which]
        is_gap = (before >= 0) & (samples.told[which] - samples.told[before] > _GAP_PERIODS * samples.period_s[which])
        for i, last in zip(which[is_gap].tolist(), before[is_gap].tolist(), strict=True):
            first_slot, period_s = int(samples.rows[i]) * _WAYS, float(samples.period_s[i])
            slots = range(first_slot, first_slot + _WAYS)
            for frame_t in np.arange(samples.told[last] + period_s, samples.told[i] - period_s / 2, period_s).tolist():
                for number, counter in enumerate(self._counters):
                    self._note(number, counter.decide(frame_t, slots), frame_t)

    def _sights(self, samples: _Samples, which: NDArray[np.intp]) -> Sights:
        """Return the samples, each as often as there are ways to move it."""
        before = samples.before[which]
        value = np.repeat(samples.value[which], _WAYS, axis=0)
        moves = np.tile(_MOVES, (len(which), 1))
        xy_px = value[:, :2] + moves * np.repeat(samples.reach[which], _WAYS)[:, None]
        was_px = samples.value[before, :2] + 0.0
        was_px[before < 0] = np.nan
        return Sights(
            slots=(samples.rows[which, None] * _WAYS + np.arange(_WAYS)).ravel(),
            t=np.repeat(samples.t[which], _WAYS),
            frame=np.repeat(which, _WAYS),
            xy_px=xy_px,
            hidden=self._hidden(xy_px, value[:, 2:]),
            height_px=value[:, 3],
            before_t=np.repeat(samples.t[before], _WAYS),
            before_xy_px=np.repeat(was_px, _WAYS, axis=0) + moves * np.repeat(samples.reach[before], _WAYS)[:, None],
            width_px=value[:, 2],
        )

    def _hidden(self, xy_px: Floats, size_wh_px: Floats) -> Floats:
        """Return (N, 2) as in `Sights`: whoever is completed beyond the picture's border was cut off by it."""
        first = xy_px - size_wh_px * self._anchor
        low, high = cut_edges(np.concatenate([first, first + size_wh_px], axis=1), self._picture_wh)
        hidden: Floats = (high & ~low) * self._anchor - (low & ~high) * (1 - self._anchor)
        return hidden

    def _end(self, row: int, now: float) -> None:
        for number, counter in enumerate(self._counters):
            for slot in range(row * _WAYS, (row + 1) * _WAYS):
                last = counter.end(slot)
                if last is not None:
                    self._note(number, [(slot, last)], now)

    def _note(self, number: int, passes: Iterable[tuple[int, Pass]], now: float) -> None:
        for slot, made in passes:
            row, way = divmod(slot, _WAYS)
            found = self._passes.setdefault((number, row), [[] for _ in _MOVES])
            found[way].append((made, now))


def _sampled(objects: Sequence[TrackedObject]) -> _Samples:
    """Sample every object as often as it was seen."""
    each = [_samples_of(item) for item in objects]
    lengths = [len(samples.t) for samples in each]
    t, told, value, reach, period_s = (np.concatenate(column) for column in zip(*each, strict=True))
    rows = np.repeat(np.arange(len(objects)), lengths)
    ends = np.cumsum(lengths)
    before = np.arange(-1, len(t) - 1)
    before[ends - lengths] = -1
    last = np.zeros(len(t), dtype=np.bool_)
    last[ends - 1] = True
    order = np.argsort(told, kind="stable")
    place = np.empty(len(t) + 1, dtype=np.intp)
    place[order], place[-1] = np.arange(len(t)), -1
    return _Samples(
        rows=rows[order],
        t=t[order],
        told=told[order],
        value=value[order],
        reach=reach[order],
        period_s=period_s[order],
        before=place[before[order]],
        last=last[order],
    )


class _ObjectSamples(NamedTuple):
    """Moments of one object, as in `_Samples`."""

    t: Floats
    told: Floats
    value: Floats
    reach: Floats
    period_s: Floats


def _samples_of(item: TrackedObject) -> _ObjectSamples:
    pieces: list[_ObjectSamples] = []
    for path in item.parts:
        t, told, period_s = _times(path)
        value = path.at(t)
        # Lines measure in heights: near a gate, a wrong height is as good as a wrong place.
        apart_px = np.maximum(path.error_heights / np.sqrt(2) * value[:, 3], LEAST_ERROR_PX)
        larger_px = np.maximum(SIZE_ERROR_HEIGHTS * value[:, 3], LEAST_ERROR_PX) * rules.DESTINATION_CLEAR_HEIGHTS
        whole = _ObjectSamples(t, told, value, apart_px + larger_px, np.full(len(t), period_s))
        # A part begins where the one before has ended.
        pieces.append(_ObjectSamples(*(column[1 if pieces else 0 :] for column in whole)))
    t, told, value, reach, period_s = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return _ObjectSamples(t, np.maximum.accumulate(told), value, reach, period_s)


def _times(path: Path) -> tuple[Floats, Floats, float]:
    """Return when to look at a path, when each of these sights was known to be of its object, and the time per frame.

    One looks at its corners, and between them as often as the object was seen. What a fragment saw while it waited
    came with the first frame after that.
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
    told = seen.copy()
    waited_s = np.ceil((SETTLE_S - TOGETHER_S) / period_s) * period_s
    for corner in path.joined:
        told[(seen >= t[corner]) & (seen < t[corner] + waited_s)] = t[corner] + waited_s
    return seen, told, period_s


def _moments(samples: _Samples) -> Iterator[tuple[int, int]]:
    """Cut samples into spans in which no object is twice."""
    start, rows, t = 0, samples.rows.tolist(), samples.told.tolist()
    seen: set[int] = set()
    for i, row in enumerate(rows):
        if row in seen or t[i] - t[start] > TOGETHER_S:
            yield start, i
            start, seen = i, set()
        seen.add(row)
    if rows:
        yield start, len(rows)


Told = tuple[Pass, float, bool]
"""A pass, when it was decided, whether it is uncertain."""


def _judged(found: Sequence[Sequence[tuple[Pass, float]]]) -> tuple[list[Told], list[tuple[Pass, float]]]:
    """Return what counts, and what may have been, of the passes that each way of moving a path gives."""
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
    told = [(made, at, missing[i] > 0) for i, (made, at) in enumerate(given)]
    possible: list[tuple[Pass, float]] = []
    for made, at in sorted(others, key=lambda each: each[0].t):
        if not any(known.sign == made.sign and abs(known.t - made.t) <= SAME_S for known, _ in possible):
            possible.append((made, at))
    return told, possible


def _recounted(line: Line, item: TrackedObject, made: Pass, decided_at: float, uncertain: bool) -> Recounted:
    return Recounted(
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


def _in_order(events: Iterable[Recounted]) -> tuple[Recounted, ...]:
    return tuple(sorted(events, key=lambda event: (event.t, event.line_id, event.track)))

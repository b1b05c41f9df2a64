"""The cause of every crossing that a run missed, and of every one that it counted falsely.

The causes follow from two more counts by the product's own rule. One is over the boxes of each true object alone, with
the object's true id: what it misses, no tracking can find, so its boxes are the cause. The other is the run itself,
explained: its candidates say at which gate a track failed. What is left is between the tracks and the objects.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from countline_counting import rules
from countline_counting.events import Crossing, Direction
from countline_counting.explain import Candidate
from countline_counting.geometry.segments import PolyLine
from countline_counting.objects.masks import anchors
from countline_counting.reasons import Reason
from countline_counting.spec import CountingSpec
from countline_pipelines.evaluation.comparison import Comparison, with_true_ids
from countline_pipelines.evaluation.counts import MATCH_S, CountErrors
from countline_pipelines.evaluation.mot import Boxes
from countline_pipelines.evaluation.run import EvaluatedRun, SequenceInfo, count_each
from countline_pipelines.evaluation.worst import Ledger

AROUND_S: Final = rules.OBJECT_UNSEEN_S
"""Boxes and tracks are examined for this long before and after a crossing."""
LATE_S: Final = 5.0
"""A true crossing and a counted one of the same object are one, at a wrong time, if they are at most this far apart."""


class Cause(StrEnum):
    """Codes; `CAUSES` gives their meanings."""

    NOT_DETECTED = "not_detected"
    NOT_TRACKED = "not_tracked"
    IDENTITY_CHANGED = "identity_changed"
    NOT_LINKED = "not_linked"
    ORIGIN_NEVER_CLEAR = "origin_never_clear"
    BOX_NOISE = "box_noise"
    TIMING = "timing"
    FALSE_BOXES = "false_boxes"
    LOST = "lost"


CAUSES: Final = {
    Cause.NOT_DETECTED: "the detections never saw the object on both sides of the line",
    Cause.NOT_TRACKED: "the object was detected on both sides, but no track used the boxes of one side",
    Cause.IDENTITY_CHANGED: "one track was on two objects: they exchanged identities, or one took over the other's",
    Cause.NOT_LINKED: "the object had two tracks, and they were not joined",
    Cause.ORIGIN_NEVER_CLEAR: "the object came into view too near the line for its side to be known",
    Cause.BOX_NOISE: "the boxes moved over the line, or back, where the object did not",
    Cause.TIMING: f"counted more than {MATCH_S:g} s too early or too late",
    Cause.FALSE_BOXES: "the track was on no object",
    Cause.LOST: "no track came near the line; only true tracks show whether it was not detected or not linked",
}


class Side(NamedTuple):
    """The sights of an object on one side of a line, around a crossing."""

    frames: list[int]
    heights: list[float]
    """Distances from the line, not negative."""

    @property
    def farthest(self) -> float:
        return max(self.heights, default=0.0)


@dataclass(frozen=True, slots=True)
class CountFault:
    """A missed or a false crossing, with its cause."""

    missed: bool
    """True if a true crossing was not counted, False if a counted one is not true."""
    line_id: str
    direction: Direction
    t: float
    cause: Cause
    truth_id: int | None
    track_id: int | None
    words: str
    """What was measured."""


class Causes:
    """Finds the causes of the faults of one run against true tracks.

    Args:
        objects: the true objects.
        boxes: what the run was made from: detections, or the tracks themselves.
        run: the run, explained.
        comparison: the run against the truth.
        book: the tracks on the objects.
        sequence: size and rate.
        spec: the lines.
    """

    def __init__(
        self,
        objects: Boxes,
        boxes: Boxes,
        run: EvaluatedRun,
        comparison: Comparison,
        book: Ledger,
        sequence: SequenceInfo,
        spec: CountingSpec,
    ) -> None:
        self._objects, self._run, self._comparison, self._book = objects, run, comparison, book
        self._sequence, self._spec = sequence, spec
        self._paths = {
            line.id: PolyLine(tuple((x * sequence.size_wh[0], y * sequence.size_wh[1]) for x, y in line.points))
            for line in spec.lines
        }
        self._boxes = with_true_ids(objects, boxes, sequence.frames)
        self._true = count_each(objects, sequence, spec, explain=True)
        self._limit = count_each(self._boxes, sequence, spec, explain=True)

    def faults(self, errors: CountErrors) -> list[CountFault]:
        """Return the faults in order of time."""
        found: list[CountFault] = []
        for line in errors.lines:
            found += [self._missed(crossing, line.extra) for crossing in line.missed]
            found += [self._false(crossing, line.missed) for crossing in line.extra]
        return sorted(found, key=lambda fault: (fault.t, fault.line_id, not fault.missed))

    # --- missed ------------------------------------------------------------------------------------------------------

    def _missed(self, true: Crossing, extra: Iterable[Crossing]) -> CountFault:
        number = true.track
        late = [other for other in extra if _near(true, other, LATE_S) and number in self._objects_of(other)]
        if late:
            other = min(late, key=lambda each: abs(each.t - true.t))
            return _fault(true, Cause.TIMING, number, other.track, f"counted {other.t - true.t:+.1f} s apart")
        limit = self._limit.get(number)
        alone = [each for each in limit.crossings if _near(true, each, LATE_S)] if limit else []
        if any(_near(true, each, MATCH_S) for each in alone):
            return self._of_tracks(true)
        if alone:
            words = f"its boxes cross {alone[0].t - true.t:+.1f} s apart"
            return _fault(true, Cause.TIMING, number, None, words)
        return self._of_boxes(true)

    def _of_boxes(self, true: Crossing) -> CountFault:
        """Explain a crossing that the object's boxes do not make, even under its true id."""
        boxes = self._boxes.where(self._boxes.ids == true.track)
        before, after = self._sides(true, set(boxes.frame.tolist()))
        words = (
            f"detected {len(before.frames)} times before the line, up to {before.farthest:.2f} heights, and "
            f"{len(after.frames)} times beyond it, up to {after.farthest:.2f}"
        )
        unseen_s = (after.frames[0] - before.frames[-1]) / self._sequence.fps if before.frames and after.frames else 0.0
        blind = unseen_s > rules.OBJECT_UNSEEN_S or after.farthest < rules.DESTINATION_CLEAR_HEIGHTS
        cause = Cause.BOX_NOISE
        if not before.frames or not after.frames or blind:
            cause = Cause.NOT_DETECTED
        elif before.farthest < rules.ORIGIN_CLEAR_HEIGHTS or self._candidate(
            self._limit[true.track].candidates, true, {Reason.NEVER_CLEAR_AT_ORIGIN}
        ):
            cause = Cause.ORIGIN_NEVER_CLEAR
        return _fault(true, cause, true.track, None, words)

    def _of_tracks(self, true: Crossing) -> CountFault:
        """Explain a crossing that the object's boxes make under its true id, and the run's tracks do not."""
        on = self._book.on_object[self._row(true.track)]
        tracked = {int(frame) + 1 for frame in np.nonzero(on >= 0)[0]}
        before, after = self._sides(true, tracked)
        if not before.frames or not after.frames:
            words = f"tracked {len(before.frames)} times before the line and {len(after.frames)} times beyond it"
            return _fault(true, Cause.NOT_TRACKED, true.track, None, words)
        old = int(on[_clear(before, rules.ORIGIN_CLEAR_HEIGHTS, last=True) - 1])
        new = int(on[_clear(after, rules.DESTINATION_CLEAR_HEIGHTS, last=False) - 1])
        names = [int(self._comparison.tracked_ids[track]) for track in (old, new)]
        others = self._other_objects(old, true) | self._other_objects(new, true)
        if others:
            words = (
                f"track {names[0]} before and {names[1]} beyond; also on object {', '.join(map(str, sorted(others)))}"
            )
            return _fault(true, Cause.IDENTITY_CHANGED, true.track, names[1], words)
        if old != new:
            words = f"track {names[0]} before the line, track {names[1]} beyond it"
            return _fault(true, Cause.NOT_LINKED, true.track, names[1], words)
        candidates = [each for each in self._run.candidates if each.track == names[0]]
        failed = self._candidate(candidates, true, set(Reason))
        origin = failed is not None and failed.reason is Reason.NEVER_CLEAR_AT_ORIGIN
        words = f"track {names[0]}: {failed.reason if failed else 'its path does not meet the line'}"
        cause = Cause.ORIGIN_NEVER_CLEAR if origin else Cause.BOX_NOISE
        return _fault(true, cause, true.track, names[0], words)

    # --- false -------------------------------------------------------------------------------------------------------

    def _false(self, counted: Crossing, missed: Iterable[Crossing]) -> CountFault:
        track = counted.track
        before, after = self._object_at(counted, -AROUND_S, 0.0), self._object_at(counted, 0.0, AROUND_S)
        number = after if after is not None else before
        if number is None:
            return _fault(counted, Cause.FALSE_BOXES, None, track, f"track {track} is on no object", missed=False)
        late = [t for t in missed if _near(t, counted, LATE_S) and t.track in {before, after}]
        if late:
            true = min(late, key=lambda each: abs(each.t - counted.t))
            words = f"object {true.track} crosses {true.t - counted.t:+.1f} s apart"
            return _fault(counted, Cause.TIMING, true.track, track, words, missed=False)
        if before is not None and after is not None and before != after:
            words = f"track {track} was on object {before} before the line and on object {after} beyond it"
            return _fault(counted, Cause.IDENTITY_CHANGED, after, track, words, missed=False)
        run = self._true[number]
        twice = [each for each in run.crossings if _near(each, counted, LATE_S)]
        if twice:
            words = f"object {number} crosses once, and was counted under another track too"
            return _fault(counted, Cause.NOT_LINKED, number, track, words, missed=False)
        unclear = self._candidate(run.candidates, counted, {Reason.NEVER_CLEAR_AT_ORIGIN})
        cause = Cause.ORIGIN_NEVER_CLEAR if unclear else Cause.BOX_NOISE
        words = f"object {number} {'came into view at' if unclear else 'did not cross'} the line"
        return _fault(counted, cause, number, track, words, missed=False)

    # --- measuring ---------------------------------------------------------------------------------------------------

    def _sides(self, true: Crossing, seen: set[int]) -> tuple[Side, Side]:
        """Return the seen frames around a crossing in which the true object is before and beyond the line."""
        boxes = self._objects.where(self._objects.ids == true.track)
        sign = 1 if true.direction is Direction.IN else -1
        heights = sign * self._paths[true.line_id].signed_distance_px(anchors(boxes.xyxy, self._spec.anchor))
        heights /= boxes.xyxy[:, 3] - boxes.xyxy[:, 1]
        sides = Side([], []), Side([], [])
        for frame, height in zip(boxes.frame.tolist(), heights.tolist(), strict=True):
            off = self._sequence.t(frame) - true.t
            if frame in seen and abs(off) <= AROUND_S and (height > 0) == (off > 0):
                side = sides[height > 0]
                side.frames.append(frame)
                side.heights.append(abs(height))
        return sides

    def _row(self, number: int) -> int:
        return int(np.searchsorted(self._comparison.truth_ids, number))

    def _other_objects(self, track: int, true: Crossing) -> set[int]:
        """Return the other objects that a track is on around a crossing."""
        first, last = self._span(true.t, -AROUND_S, AROUND_S)
        rows = np.nonzero((self._book.on_object[:, first:last] == track).any(axis=1))[0]
        return set(self._comparison.truth_ids[rows].tolist()) - {true.track}

    def _objects_of(self, counted: Crossing) -> set[int | None]:
        return {self._object_at(counted, -AROUND_S, 0.0), self._object_at(counted, 0.0, AROUND_S)}

    def _object_at(self, counted: Crossing, start_s: float, end_s: float) -> int | None:
        """Return the object that a counted crossing's track is on for most of a span."""
        first, last = self._span(counted.t, start_s, end_s)
        track = int(np.searchsorted(self._comparison.tracked_ids, counted.track))
        rows = np.nonzero(self._book.on_object[:, first:last] == track)[0]
        most = Counter(rows.tolist()).most_common(1)
        return int(self._comparison.truth_ids[most[0][0]]) if most else None

    def _span(self, t: float, start_s: float, end_s: float) -> tuple[int, int]:
        """Return indices of the first frame of a span and of the frame after it."""
        first, last = (round((t + off) * self._sequence.fps) for off in (start_s, end_s))
        return max(0, first), max(0, last + 1)

    @staticmethod
    def _candidate(candidates: Iterable[Candidate], at: Crossing, reasons: set[Reason]) -> Candidate | None:
        """Return the nearest candidate that failed for one of these reasons."""
        near = [each for each in candidates if each.reason in reasons and _near(at, each, AROUND_S)]
        return min(near, key=lambda each: abs(each.t - at.t), default=None)


def causes_of_crossings(errors: CountErrors, candidates: Iterable[Candidate]) -> list[CountFault]:
    """Return the faults where only the true crossings are known, and not who makes them.

    The candidates of the run distinguish the time of a crossing, an unclear origin and noise of boxes. They do not
    distinguish the other causes: a missed crossing without a candidate is `Cause.LOST`, and a false one is taken for
    noise.
    """
    known, found = list(candidates), list[CountFault]()
    for line in errors.lines:
        for wrong, others, missed in ((line.missed, line.extra, True), (line.extra, line.missed, False)):
            found += [_without_tracks(crossing, others, known, missed=missed) for crossing in wrong]
    return sorted(found, key=lambda fault: (fault.t, fault.line_id, not fault.missed))


def _without_tracks(
    crossing: Crossing, others: Iterable[Crossing], candidates: Iterable[Candidate], *, missed: bool
) -> CountFault:
    track = None if missed else crossing.track
    late = [other for other in others if _near(crossing, other, LATE_S)]
    if late:
        return _fault(crossing, Cause.TIMING, None, track, f"{late[0].t - crossing.t:+.1f} s apart", missed=missed)
    if not missed:
        return _fault(crossing, Cause.BOX_NOISE, None, track, "no true crossing is near", missed=False)
    near = [each for each in candidates if each.reason is not None and _near(crossing, each, AROUND_S)]
    if not near:
        return _fault(crossing, Cause.LOST, None, None, "no track came near the line")
    one = min(near, key=lambda each: abs(each.t - crossing.t))
    unclear = one.reason is Reason.NEVER_CLEAR_AT_ORIGIN
    cause = Cause.ORIGIN_NEVER_CLEAR if unclear else Cause.BOX_NOISE
    return _fault(crossing, cause, None, one.track or None, f"track {one.track}: {one.reason}")


def _near(one: Crossing, other: Crossing | Candidate, within_s: float) -> bool:
    """Whether both are of one line and direction, and at most so far apart."""
    same = (one.line_id, one.direction) == (other.line_id, other.direction)
    return same and abs(one.t - other.t) <= within_s


def _clear(side: Side, heights: float, *, last: bool) -> int:
    """Return the frame nearest the line in which an object is clear of it, or else the one nearest to being clear."""
    frames = [frame for frame, height in zip(side.frames, side.heights, strict=True) if height >= heights]
    frames = frames or [side.frames[side.heights.index(side.farthest)]]
    return frames[-1] if last else frames[0]


def _fault(
    at: Crossing, cause: Cause, truth_id: int | None, track_id: int | None, words: str, *, missed: bool = True
) -> CountFault:
    return CountFault(missed, at.line_id, at.direction, at.t, cause, truth_id, track_id, words)

"""One version of a model takes a camera over from another, and every crossing is told once.

Both runs count the same frames. T is the moment of the change, in capture time, w is `rules.HAND_OVER_S`:

              T - w        T        T + w          T + w + LATEST_S
    old  ═══════════════════════════════┄┄┄┄┄┄┄┄┄┄┄┄┄┄┤           counts what happened before T + w
    new         ════════════════════════════════════════════      counts what happened from T - w on

What both have seen in between, the one tells that decided it first, and its counterpart in the other run is left out:
a crossing of the same line in the same direction, within `rules.SAME_CROSSING_S`, by the same object (`kinship`), or by
one that the other run may have under an id of its own; of several, the likeliest. The old run goes on until all that
happened before T + w is decided. So it does not matter that two versions date a crossing differently, and a crowd on
the line at T is counted as at any other time.

A stay is told once too: by the old run where that decided its end while it ran, since it knows the longer part of it,
and otherwise by the new one, with the entry that the old one saw; where the new one loses the object without having
said so, by the old one after all, as far as it saw it. Occupancy is the old run's before T and the new one's
from T on, beginning with a sample at T itself. Paths are not cut here: the old run's end at T and the new one's begin
there, which is the business of whoever runs the counters. A line or zone that only one of the two runs knows changes
hands at T, for want of a counterpart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from countline_counting.events import Crossing, Event, OccupancySample, Visit
from countline_counting.frames import TrackedFrame
from countline_counting.objects.kinship import Kinship
from countline_counting.rules import HAND_OVER_S, LATEST_S, OBJECT_UNSEEN_S, SAME_CROSSING_S, STALL_S
from countline_counting.spec import CountingSpec

REACH_S: Final = HAND_OVER_S + SAME_CROSSING_S + LATEST_S
"""What the old run told longer ago than this has no counterpart that may count."""

LOST_S: Final = OBJECT_UNSEEN_S + STALL_S
"""Whoever was unseen for so long has ended in the new run, and his stay is told if that run saw one."""

Place = tuple[str, str, int]
"""Kind, id and version of a line or zone."""

_Counted = Crossing | Visit


def shared_places(old: CountingSpec, new: CountingSpec) -> frozenset[Place]:
    """Return the lines and zones that both count."""
    return _places(old) & _places(new)


def _places(spec: CountingSpec) -> frozenset[Place]:
    lines = (("line", line.id, line.version) for line in spec.lines)
    return frozenset((*lines, *(("zone", zone.id, zone.version) for zone in spec.zones)))


@dataclass(slots=True)
class _Told:
    event: _Counted
    paired: bool = False


@dataclass(slots=True)
class _OpenStay:
    """A stay of which the old run did not see the end."""

    visit: Visit
    kin: frozenset[int]
    """The new run's tracks that are the same object."""
    unseen_s: float = 0.0
    """For how long none of them was seen; a longer gap between frames counts as `STALL_S`."""


class HandOver:
    """Says what counts of two runs' events. Frames of each run come in order; those of the other may come before them.

    Args:
        shared: lines and zones that both runs count.
    """

    def __init__(self, shared: frozenset[Place]) -> None:
        self.shared = shared
        self.at: float | None = None
        """T; None before."""
        self._kinship = Kinship()
        self._told_by_old: list[_Told] = []
        self._told_by_new: list[_Told] = []
        self._early: list[_Counted] = []
        """What the new run said before T and may still count."""
        self._occupancy: dict[str, OccupancySample] = {}
        """What the new run said last of each zone before T."""
        self._visits: list[Visit] = []
        """The new run's, until the old one has told all of its own."""
        self._open: list[_OpenStay] = []
        self._old_ended = False
        self._now = float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether all that the new run says from now on counts as it is."""
        if self.at is None or not self._old_ended or self._open or self._visits:
            return False
        return self._now > self.at + HAND_OVER_S + SAME_CROSSING_S + LATEST_S

    def old(self, frame: TrackedFrame, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take a frame of the old run; return what counts of its events."""
        self._kinship.see_old(frame)
        if self.at is None:
            self._told_by_old = [told for told in self._told_by_old if _happened(told.event) > frame.t - REACH_S]
        return self._of_old(events)

    def new(self, frame: TrackedFrame, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take a frame of the new run; return what counts of its events, and of those that waited: none before T."""
        self._kinship.see_new(frame)
        passed_s, self._now = frame.t - self._now, frame.t
        if self.at is None:
            self._keep(frame.t, events)
            return ()
        early, self._early = self._early, []
        counts = self._of_new([*early, *self._first_samples(events), *events])
        return (*counts, *self._lost(frame, passed_s)) if self._open else counts

    def take_over(self, t: float) -> None:
        """The next frame of the new run, captured at `t`, is the first that is its own."""
        self.at = t

    def end_old(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take what the old run decides at its end; return what counts of it."""
        self._old_ended = True
        return self._of_old(events)

    def end_new(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take what the new run decides at its end; return what counts of it."""
        if self.at is None:
            return ()
        self._old_ended = True  # nothing of it can be waited for any more
        early, self._early = self._early, []
        counts = self._of_new([*early, *events])
        unclaimed, self._open = self._open, []  # whoever it was, the new run saw no end either
        return (*counts, *(stay.visit for stay in unclaimed))

    def _lost(self, frame: TrackedFrame, passed_s: float) -> tuple[Visit, ...]:
        """Take off the open stays of objects that the new run has lost, after what it said of this frame."""
        seen = set(frame.ids.tolist())
        for stay in self._open:
            stay.unseen_s = 0.0 if seen & stay.kin else stay.unseen_s + max(0.0, min(passed_s, STALL_S))
        lost = tuple(stay.visit for stay in self._open if stay.unseen_s > LOST_S)
        self._open = [stay for stay in self._open if stay.unseen_s <= LOST_S]
        return lost

    def _keep(self, t: float, events: Iterable[Event]) -> None:
        """T is not before `t`, so what happened before t - w will not count."""
        for event in events:
            if isinstance(event, OccupancySample):
                self._occupancy[event.zone_id] = event
            elif isinstance(event, Crossing | Visit):
                self._early.append(event)
        self._early = [event for event in self._early if _happened(event) >= t - HAND_OVER_S]

    def _first_samples(self, events: Iterable[Event]) -> list[Event]:
        """How many are in each zone at T, said even where nothing has changed: the old run's word ends there."""
        assert self.at is not None
        said = {event.zone_id for event in events if isinstance(event, OccupancySample)}
        known, self._occupancy = self._occupancy, {}
        return [replace(sample, t=self.at) for zone_id, sample in known.items() if zone_id not in said]

    def _of_old(self, events: Iterable[Event]) -> tuple[Event, ...]:
        return tuple(event for event in events if self._old_counts(event))

    def _old_counts(self, event: Event) -> bool:
        if isinstance(event, OccupancySample):
            return self.at is None
        if isinstance(event, Crossing):
            return _happened(event) < self._old_until(event) and self._is_news(event, of_old=True)
        if isinstance(event, Visit):
            return self._old_visit_counts(event)
        return True

    def _old_visit_counts(self, visit: Visit) -> bool:
        if not self._is_shared(visit):
            return self.at is None or visit.entered_at < self.at
        was_open = self._old_ended and _happened(visit) >= self._old_until(visit)
        if was_open and (kin := self._kinship.kin_of(visit.track)):
            self._open.append(_OpenStay(visit, kin))
            return False
        self._told_by_old.append(_Told(visit))
        return True

    def _of_new(self, events: Iterable[Event]) -> tuple[Event, ...]:
        counts: list[Event] = []
        for event in events:
            if isinstance(event, Visit):
                self._visits.append(event)
            elif not isinstance(event, Crossing) or self._new_crossing_counts(event):
                counts.append(event)
        if self._old_ended:
            visits, self._visits = self._visits, []
            counts += [told for visit in visits if (told := self._new_visit(visit)) is not None]
        return tuple(counts)

    def _new_crossing_counts(self, event: Crossing) -> bool:
        return _happened(event) >= self._new_from(event) and self._is_news(event, of_old=False)

    def _new_visit(self, visit: Visit) -> Visit | None:
        """A stay as it is told, if it is: from where the old run saw it begin."""
        if _happened(visit) < self._new_from(visit) or self._counterpart(visit, self._told_by_old, of_old=False):
            return None
        begun = max(
            (stay for stay in self._open if self._are_one(stay, visit)),
            key=lambda stay: self._kinship.votes(stay.visit.track, visit.track),
            default=None,
        )
        if begun is None:
            return visit
        self._open.remove(begun)
        entered_at, born_inside = begun.visit.entered_at, begun.visit.born_inside
        return replace(visit, entered_at=entered_at, dwell_s=_happened(visit) - entered_at, born_inside=born_inside)

    @staticmethod
    def _are_one(stay: _OpenStay, visit: Visit) -> bool:
        begins_later = visit.entered_at > stay.visit.entered_at + SAME_CROSSING_S and not visit.born_inside
        return _place(stay.visit) == _place(visit) and visit.track in stay.kin and not begins_later

    def _is_shared(self, event: _Counted) -> bool:
        return _place(event) in self.shared

    def _old_until(self, event: _Counted) -> float:
        """What happened from then on is not the old run's."""
        if self.at is None:
            return float("inf")
        return self.at + (HAND_OVER_S if self._is_shared(event) else 0.0)

    def _new_from(self, event: _Counted) -> float:
        """What happened before is not the new run's."""
        assert self.at is not None
        return self.at - (HAND_OVER_S if self._is_shared(event) else 0.0)

    def _is_news(self, event: Crossing, *, of_old: bool) -> bool:
        """Whether a crossing was not told by the other run; from then on it is told by this one."""
        mine, others = self._told_by_old, self._told_by_new
        if not of_old:
            mine, others = others, mine
        if self._counterpart(event, others, of_old=of_old):
            return False
        mine.append(_Told(event))
        return True

    def _counterpart(self, event: _Counted, others: list[_Told], *, of_old: bool) -> bool:
        """Whether the other run told the same; each of its events is the same as one."""

        def likelihood(told: _Told) -> tuple[int, float]:
            tracks = (event.track, told.event.track) if of_old else (told.event.track, event.track)
            return self._kinship.votes(*tracks), -abs(_happened(told.event) - _happened(event))

        def is_possible(told: _Told) -> bool:
            tracks = (event.track, told.event.track) if of_old else (told.event.track, event.track)
            near = abs(_happened(told.event) - _happened(event)) <= SAME_CROSSING_S
            return near and not told.paired and _alike(told.event, event) and not self._kinship.are_strangers(*tracks)

        found = max((told for told in others if is_possible(told)), key=likelihood, default=None)
        if found is not None:
            found.paired = True
        return found is not None


def _happened(event: _Counted) -> float:
    """When a crossing was, or a stay ended."""
    return event.t if isinstance(event, Crossing) else event.entered_at + event.dwell_s


def _place(event: _Counted) -> Place:
    if isinstance(event, Crossing):
        return "line", event.line_id, event.line_version
    return "zone", event.zone_id, event.zone_version


def _alike(one: _Counted, other: _Counted) -> bool:
    if isinstance(one, Crossing) and isinstance(other, Crossing):
        return _place(one) == _place(other) and one.direction is other.direction
    return type(one) is type(other) and _place(one) == _place(other)

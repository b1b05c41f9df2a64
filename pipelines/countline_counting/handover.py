"""The events of two model versions while one takes a camera over from the other: every crossing counts once.

Both runs count the same frames. T is the capture time of the change, w is `rules.HAND_OVER_S`:

              T - w        T        T + w          T + w + LATEST_S
    old  ═══════════════════════════════┄┄┄┄┄┄┄┄┄┄┄┄┄┄┤           counts what happened before T + w
    new         ════════════════════════════════════════════      counts what happened from T - w on

Of a crossing that both runs saw in between, the run that decides first emits its event, and the counterpart in the
other run is left out. A counterpart is a crossing of the same line in the same direction, within
`rules.SAME_CROSSING_S`, by the same object (`kinship`) or by one that the other run may know under another id; of
several, the likeliest. The old run goes on until everything before T + w is decided. So it does not matter that two
versions date a crossing differently, and a crowd on the line at T is counted as at any other time.

A visit is emitted once too. If the old run decided its end while it ran, the old run's visit counts, because it covers
the longer part. Otherwise the new run's visit counts, with the entry that the old run saw. If the new run loses the
object without a visit, the old run's visit counts, as far as that run saw it. Occupancy is the old run's before T and
the new run's from T on, beginning with a sample at T. Paths are not cut here: the caller ends those of the old run and
begins those of the new run at T. A line or zone that only one run knows changes hands at T, because it has no
counterpart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from countline_counting.events import Crossing, Event, OccupancySample, Visit
from countline_counting.frames import TrackedFrame
from countline_counting.objects.kinship import Kinship
from countline_counting.rules import HAND_OVER_S, LATEST_S, NOISY_LATEST_S, OBJECT_UNSEEN_S, SAME_CROSSING_S, STALL_S
from countline_counting.spec import CountingSpec

REACH_S: Final = HAND_OVER_S + SAME_CROSSING_S + NOISY_LATEST_S
"""Events of the old run older than this cannot match an event of the new run."""

LOST_S: Final = OBJECT_UNSEEN_S + STALL_S
"""An object unseen for this long has ended in the new run. Its visit has been emitted if the new run observed one."""

Place = tuple[str, str, int]
"""Kind, id and version of a line or zone."""

_Counted = Crossing | Visit


def shared_places(old: CountingSpec, new: CountingSpec) -> frozenset[Place]:
    """Return the lines and zones that both specs count."""
    return _places(old) & _places(new)


def _places(spec: CountingSpec) -> frozenset[Place]:
    lines = (("line", line.id, line.version) for line in spec.lines)
    return frozenset((*lines, *(("zone", zone.id, zone.version) for zone in spec.zones)))


@dataclass(slots=True, eq=False)
class _Decided:
    event: _Counted
    counterpart: "_Decided | None" = None
    """The same event in the other run."""


class _Counterparts:
    """The events that both runs decided, and which of them are the same.

    Args:
        kinship: says which tracks of the two runs are one object.
    """

    def __init__(self, kinship: Kinship) -> None:
        self._kinship = kinship
        self._of_old: list[_Decided] = []
        self._of_new: list[_Decided] = []

    def record_old(self, visit: Visit) -> None:
        """Record a visit that the old run emitted."""
        self._of_old.append(_Decided(visit))

    def forget_old(self, until: float) -> None:
        """Forget events of the old run that happened until a time."""
        self._of_old = [decided for decided in self._of_old if _happened(decided.event) > until]

    def is_first(self, event: Crossing, *, of_old: bool) -> bool:
        """Return whether the other run has not emitted this crossing, and record it."""
        decided = _Decided(event)
        (self._of_old if of_old else self._of_new).append(decided)
        return not self._is_again(decided, of_old=of_old)

    def is_emitted(self, visit: Visit) -> bool:
        """Return whether the old run emitted a visit of the new run."""
        return self._is_again(_Decided(visit), of_old=False)

    def _is_again(self, decided: _Decided, *, of_old: bool) -> bool:
        """Return whether the other run emitted the same event. Each event of the other run matches only one.

        An event may match the neighbour of its counterpart, because the counterpart is decided later. When that comes,
        it takes its place and counts, and the neighbour is free. Otherwise each event could match the one before it, up
        to the last one of the old run, whose counterpart would be lost.
        """
        others = self._of_new if of_old else self._of_old
        possible = [other for other in others if self._may_match(decided.event, other, of_old)]
        if not possible:
            return False
        found = max(possible, key=lambda other: self._likelihood(decided.event, other.event, of_old))
        freed, found.counterpart, decided.counterpart = found.counterpart, decided, found
        if freed is not None:
            freed.counterpart = None
        return freed is None

    def _may_match(self, event: _Counted, other: _Decided, of_old: bool) -> bool:
        """Return whether an event of the other run may be the same, and has no likelier counterpart."""
        if not _alike(event, other.event) or abs(_happened(event) - _happened(other.event)) > SAME_CROSSING_S:
            return False
        if self._kinship.are_strangers(*_tracks(event, other.event, of_old)):
            return False
        taken = other.counterpart
        return taken is None or self._likelihood(taken.event, other.event, of_old) < self._likelihood(
            event, other.event, of_old
        )

    def _likelihood(self, event: _Counted, other: _Counted, of_old: bool) -> tuple[int, float]:
        return self._kinship.votes(*_tracks(event, other, of_old)), -abs(_happened(event) - _happened(other))


@dataclass(slots=True)
class _OpenStay:
    """A visit whose end the old run did not see."""

    visit: Visit
    kin: frozenset[int]
    """The new run's tracks that are the same object."""
    unseen_s: float = 0.0
    """Time since the last sight of these tracks. A longer gap between frames counts as `STALL_S`."""


class HandOver:
    """Selects the events of two runs that count. Frames of each run come in order; one run may be ahead of the other.

    Args:
        shared: lines and zones that both runs count.
    """

    def __init__(self, shared: frozenset[Place]) -> None:
        self.shared = shared
        self.at: float | None = None
        """T; None before it is known."""
        self._kinship = Kinship()
        self._counterparts = _Counterparts(self._kinship)
        self._early: list[_Counted] = []
        """Events of the new run before T that may still count."""
        self._occupancy: dict[str, OccupancySample] = {}
        """The new run's last sample of each zone before T."""
        self._visits: list[Visit] = []
        """Visits of the new run, held until the old run has ended."""
        self._open: list[_OpenStay] = []
        self._old_ended = False
        self._now = float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether every event of the new run counts from now on."""
        if self.at is None or not self._old_ended or self._open or self._visits:
            return False
        return self._now > self.at + REACH_S

    def old(self, frame: TrackedFrame, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take a frame of the old run; return those of its events that count."""
        self._kinship.see_old(frame)
        if self.at is None:
            self._counterparts.forget_old(frame.t - REACH_S)
        return self._of_old(events)

    def new(self, frame: TrackedFrame, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take a frame of the new run; return the events that count, waiting ones included. There are none before T."""
        self._kinship.see_new(frame)
        passed_s, self._now = frame.t - self._now, frame.t
        if self.at is None:
            self._keep(frame.t, events)
            return ()
        early, self._early = self._early, []
        counts = self._of_new([*early, *self._first_samples(events), *events])
        return (*counts, *self._lost(frame, passed_s)) if self._open else counts

    def take_over(self, t: float) -> None:
        """Set T to `t`, the capture time of the new run's next frame."""
        self.at = t

    def end_old(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take the events that the old run decides at its end; return those that count."""
        self._old_ended = True
        return self._of_old(events)

    def end_new(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take the events that the new run decides at its end; return those that count."""
        if self.at is None:
            return ()
        self._old_ended = True  # no more events of the old run can match
        early, self._early = self._early, []
        counts = self._of_new([*early, *events])
        unclaimed, self._open = self._open, []  # the new run saw no end either
        return (*counts, *(stay.visit for stay in unclaimed))

    def _lost(self, frame: TrackedFrame, passed_s: float) -> tuple[Visit, ...]:
        """Remove and return the open visits of objects that the new run has lost, after its events of this frame."""
        seen = set(frame.ids.tolist())
        for stay in self._open:
            stay.unseen_s = 0.0 if seen & stay.kin else stay.unseen_s + max(0.0, min(passed_s, STALL_S))
        lost = tuple(stay.visit for stay in self._open if stay.unseen_s > LOST_S)
        self._open = [stay for stay in self._open if stay.unseen_s <= LOST_S]
        return lost

    def _keep(self, t: float, events: Iterable[Event]) -> None:
        """Keep the new run's events that may count. T is not before `t`, so events before t - w will not."""
        for event in events:
            if isinstance(event, OccupancySample):
                self._occupancy[event.zone_id] = event
            elif isinstance(event, Crossing | Visit):
                self._early.append(event)
        self._early = [event for event in self._early if _happened(event) >= t - HAND_OVER_S]

    def _first_samples(self, events: Iterable[Event]) -> list[Event]:
        """Return samples at T of the zones without a change, because the old run's samples end there."""
        assert self.at is not None
        changed = {event.zone_id for event in events if isinstance(event, OccupancySample)}
        known, self._occupancy = self._occupancy, {}
        return [replace(sample, t=self.at) for zone_id, sample in known.items() if zone_id not in changed]

    def _of_old(self, events: Iterable[Event]) -> tuple[Event, ...]:
        return tuple(event for event in events if self._old_counts(event))

    def _old_counts(self, event: Event) -> bool:
        if isinstance(event, OccupancySample):
            return self.at is None
        if isinstance(event, Crossing):
            return _happened(event) < self._old_until(event) and self._counterparts.is_first(event, of_old=True)
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
        self._counterparts.record_old(visit)
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
            counts += [counted for visit in visits if (counted := self._new_visit(visit)) is not None]
        return tuple(counts)

    def _new_crossing_counts(self, event: Crossing) -> bool:
        assert self.at is not None
        # The old run had ended when the object of a slow pass became clear of the line.
        too_late_for_old = self._is_shared(event) and event.decided_at > self.at + HAND_OVER_S + LATEST_S
        counts = too_late_for_old or _happened(event) >= self._new_from(event)
        return counts and self._counterparts.is_first(event, of_old=False)

    def _new_visit(self, visit: Visit) -> Visit | None:
        """Return a visit of the new run as it counts, with the entry that the old run saw; None if it does not."""
        if _happened(visit) < self._new_from(visit) or self._counterparts.is_emitted(visit):
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
        """Return the time from which on events of the old run do not count."""
        if self.at is None:
            return float("inf")
        return self.at + (HAND_OVER_S if self._is_shared(event) else 0.0)

    def _new_from(self, event: _Counted) -> float:
        """Return the time before which events of the new run do not count."""
        assert self.at is not None
        return self.at - (HAND_OVER_S if self._is_shared(event) else 0.0)


def _tracks(event: _Counted, other: _Counted, of_old: bool) -> tuple[int, int]:
    """Return the track of the old run, then the one of the new run; `of_old` says which run the first event is of."""
    return (event.track, other.track) if of_old else (other.track, event.track)


def _happened(event: _Counted) -> float:
    """Return the time of a crossing, or of the end of a visit."""
    return event.t if isinstance(event, Crossing) else event.entered_at + event.dwell_s


def _place(event: _Counted) -> Place:
    if isinstance(event, Crossing):
        return "line", event.line_id, event.line_version
    return "zone", event.zone_id, event.zone_version


def _alike(one: _Counted, other: _Counted) -> bool:
    if isinstance(one, Crossing) and isinstance(other, Crossing):
        return _place(one) == _place(other) and one.direction is other.direction
    return type(one) is type(other) and _place(one) == _place(other)

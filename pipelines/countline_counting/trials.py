"""Compares what an incumbent and a challenger model count on the same frames of one camera.

Crossings of one line in one direction are matched one to one. The two earliest remaining crossings are a pair if they
are at most `SAME_CROSSING_S` apart; otherwise the earlier one stands alone. For times on a line with a tolerance this
gives the largest number of pairs, because the earliest crossing has no better partner than the earliest of the other
side. Matching the nearest first would leave pairs apart where jitter is as long as the time between two objects, and
would call both versions wrong.

Only the time that both versions saw and have surely decided is compared:

    frames of both   ├────────┼────────── compared ──────────┼─────────┤ newest frame of the slower one
                    start   + WARM_UP_S                     - LATEST_S - SAME_CROSSING_S

A time in which one version missed frames that the other had, for `STALL_S` or unusually long, is left out, with a
margin in which crossings may be dated differently: a busy machine that had no time for one version says nothing about
the models. If one version is always too slow for some frames, the time is compared, and the number of missed frames is
reported.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import pairwise
from typing import Final

from countline_counting.events import Crossing, Direction, Event
from countline_counting.rules import LATEST_S, SAME_CROSSING_S, STALL_S, WARM_UP_S

REPORT_EVERY_S: Final = 10.0
"""Shortest span that is reported, in capture time."""
MISSED_FRAMES: Final = 3
"""A gap in which one version misses this many frames in a row is left out, if it is also unusually long. Fewer missed
frames hide no crossing from a tracker, and leaving each of them out would leave little of a busy machine."""
UNUSUAL: Final = 2.0
"""A gap is unusually long if it is longer than this times the gap that only a tenth of the others exceeds."""
_SLACK_S: Final = 1e-6

Key = tuple[str, Direction]


class TrialRole(StrEnum):
    """The part of a version in a trial."""

    INCUMBENT = "incumbent"
    CHALLENGER = "challenger"

    @property
    def other(self) -> "TrialRole":
        return TrialRole.CHALLENGER if self is TrialRole.INCUMBENT else TrialRole.INCUMBENT


@dataclass(frozen=True, slots=True)
class TrialTally:
    """Crossings of one line in one direction."""

    line_id: str
    direction: Direction
    both: int
    only_incumbent: int
    only_challenger: int


@dataclass(frozen=True, slots=True)
class TrialSpan:
    """A span of capture time in which both versions ran, and their crossings in it."""

    trial_id: str
    incumbent: str
    """As NAME@VERSION."""
    challenger: str
    start: float
    end: float
    tallies: tuple[TrialTally, ...]
    """By line and direction; only those with crossings."""
    frames: int
    """Number of frames that the counting version saw."""
    frames_missed: int
    """Number of these frames that the other version missed."""


class _Kind(Enum):
    BOTH = "both"
    INCUMBENT = TrialRole.INCUMBENT
    CHALLENGER = TrialRole.CHALLENGER


@dataclass(slots=True)
class _Side:
    began: float | None = None
    """Capture time of the run's first compared frame; None without a run."""
    newest: float = float("-inf")
    ended: bool = False
    times: list[float] = field(default_factory=list)
    crossings: dict[Key, list[float]] = field(default_factory=dict)

    @property
    def decided_until(self) -> float:
        return self.newest if self.ended else self.newest - LATEST_S


class TrialComparison:
    """Compares the runs of one trial on one camera. Each call returns the spans that it completed.

    Args:
        trial_id: id of the trial.
        models: model of each role, as NAME@VERSION.
        counting: role of the version that counts for the camera.
    """

    def __init__(self, trial_id: str, models: dict[TrialRole, str], counting: TrialRole) -> None:
        self._trial_id = trial_id
        self._models = models
        self._counting = counting
        self._sides = {role: _Side() for role in TrialRole}
        self._reported_until: float | None = None
        self._results: list[tuple[float, Key, _Kind]] = []

    def frame(self, role: TrialRole, t: float, events: Iterable[Event]) -> tuple[TrialSpan, ...]:
        """Take a frame that one version has counted."""
        spans: tuple[TrialSpan, ...] = ()
        side = self._sides[role]
        if side.ended:  # another run begins
            spans, side = self._close(), self._sides[role]
        if side.began is None:
            side.began = t
            self._begin()
        side.newest = t
        side.times.append(t)
        self._take(side, events)
        return (*spans, *self._advance())

    def run_ended(self, role: TrialRole, events: Iterable[Event] | None) -> tuple[TrialSpan, ...]:
        """Take the events that a run decides at its end; None if the run was broken off."""
        side = self._sides[role]
        if side.began is None:
            return ()
        if events is None:
            return self._close()
        self._take(side, events)
        side.ended = True
        return self._advance()

    def finish(self) -> tuple[TrialSpan, ...]:
        """Return the last spans, because the trial or both runs end."""
        return self._close()

    def _begin(self) -> None:
        """Start the comparison if both versions run now."""
        began = [side.began for side in self._sides.values() if side.began is not None]
        self._reported_until = max(began) + WARM_UP_S if len(began) == len(self._sides) else None

    def _take(self, side: _Side, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Crossing):
                insort(side.crossings.setdefault((event.line_id, event.direction), []), event.t)
        if self._reported_until is None:
            self._forget(side, side.newest - WARM_UP_S)

    @staticmethod
    def _forget(side: _Side, before: float) -> None:
        """Forget older crossings and frames, except the last older frame: a gap may follow it."""
        old = sum(t < before for t in side.times)
        del side.times[: max(0, old - 1)]
        for times in side.crossings.values():
            del times[: sum(t < before for t in times)]

    def _advance(self) -> tuple[TrialSpan, ...]:
        ended = [side for side in self._sides.values() if side.ended]
        if ended and self._horizon >= min(side.newest for side in ended):
            return self._close()
        until = self._horizon - SAME_CROSSING_S
        if self._reported_until is None or until - self._reported_until < REPORT_EVERY_S:
            return ()
        return self._report(until)

    @property
    def _horizon(self) -> float:
        """Time until which both versions have decided their crossings."""
        return min(side.decided_until for side in self._sides.values())

    def _close(self) -> tuple[TrialSpan, ...]:
        """Report what is decided and begin again. A version that still runs is compared again when both run."""
        is_complete = any(side.ended for side in self._sides.values())
        until = self._horizon - (0.0 if is_complete else SAME_CROSSING_S)
        spans = self._report(until) if self._reported_until is not None and until > self._reported_until else ()
        running = {role: side for role, side in self._sides.items() if side.began is not None and not side.ended}
        self._sides = {role: _Side() for role in TrialRole}
        for role, side in running.items():
            self._sides[role] = _Side(began=side.newest, newest=side.newest, times=[side.newest])
        self._reported_until, self._results = None, []
        return spans

    def _report(self, until: float) -> tuple[TrialSpan, ...]:
        start, self._reported_until = self._reported_until, until
        assert start is not None
        for side in self._sides.values():
            self._forget(side, start - SAME_CROSSING_S)
        for key in {key for side in self._sides.values() for key in side.crossings}:
            self._results += ((t, key, kind) for t, kind in self._matched(key, until))
        spans = tuple(span for piece in self._pieces(start, until) if (span := self._span(*piece)).frames)
        self._results = [result for result in self._results if result[0] >= until]
        return spans

    def _matched(self, key: Key, until: float) -> Iterator[tuple[float, _Kind]]:
        """Remove and yield the crossings up to `until`. A pair has the incumbent's time."""
        first = self._sides[TrialRole.INCUMBENT].crossings.setdefault(key, [])
        second = self._sides[TrialRole.CHALLENGER].crossings.setdefault(key, [])
        while min((*first[:1], *second[:1]), default=float("inf")) <= until:
            if first and second and abs(first[0] - second[0]) <= SAME_CROSSING_S + _SLACK_S:
                second.pop(0)
                yield first.pop(0), _Kind.BOTH
            elif first and (not second or first[0] < second[0]):
                yield first.pop(0), _Kind.INCUMBENT
            else:
                yield second.pop(0), _Kind.CHALLENGER

    def _pieces(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """Yield the parts of a span without the times in which only one version got frames."""
        for gap_start, gap_end in sorted((*self._gaps(TrialRole.INCUMBENT), *self._gaps(TrialRole.CHALLENGER))):
            if gap_start > start:
                yield start, min(gap_start, end)
            start = max(start, gap_end)
            if start >= end:
                return
        yield start, end

    def _gaps(self, role: TrialRole) -> Iterator[tuple[float, float]]:
        others, steps = self._sides[role.other].times, list(pairwise(self._sides[role].times))
        usual_s = sorted(after - before for before, after in steps)[9 * len(steps) // 10] if steps else 0.0
        for before, after in steps:
            missed = bisect_left(others, after - _SLACK_S) - bisect_right(others, before + _SLACK_S)
            unusual = missed >= MISSED_FRAMES and after - before > UNUSUAL * usual_s
            if unusual or (missed > 0 and after - before > STALL_S):
                yield before - SAME_CROSSING_S, after + SAME_CROSSING_S

    def _span(self, start: float, end: float) -> TrialSpan:
        counted = Counter((key, kind) for t, key, kind in self._results if start <= t < end)
        frames = {t for t in self._sides[self._counting].times if start <= t < end}
        return TrialSpan(
            trial_id=self._trial_id,
            incumbent=self._models[TrialRole.INCUMBENT],
            challenger=self._models[TrialRole.CHALLENGER],
            start=start,
            end=end,
            tallies=tuple(
                TrialTally(*key, *(counted[key, kind] for kind in _Kind)) for key in sorted({key for key, _ in counted})
            ),
            frames=len(frames),
            frames_missed=len(frames.difference(self._sides[self._counting.other].times)),
        )

"""What an incumbent and a challenger make of the same frames of one camera.

Their crossings of one line in one direction are matched one to one: always the two earliest that are left, where they
are no more than `SAME_CROSSING_S` apart; else the earlier of them stands alone. For times on a line with a tolerance
that gives the most pairs there can be (an exchange argument: whoever is earliest has no better partner than the other
side's earliest). The nearest first would leave pairs apart where a jitter is as long as the time between two objects,
and would call both versions wrong.

Compared is only what both had the chance to see and have surely decided:

    frames of both   ├────────┼──────────── told ────────────┼─────────┤ newest frame of the slower one
                    start   + WARM_UP_S                     - LATEST_S - SAME_CROSSING_S

Where one of the two went without frames that the other had, for a `STALL_S` or unusually long, that time is left out,
with as much around it as a crossing may be dated differently: that a busy machine had no time for one of them says
nothing about the models. One that is always too slow for some frames is compared as it is, and they are told.
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

TELL_EVERY_S: Final = 10.0
"""Seconds of capture time between two spans that are told."""
MISSED_FRAMES: Final = 3
"""In a row, and a gap of `UNUSUAL` times one that only a tenth of the others exceeds. Fewer hide no crossing from a
tracker; were each left out, little would be left of a busy machine."""
UNUSUAL: Final = 2.0
_SLACK_S: Final = 1e-6

Key = tuple[str, Direction]


class Role(StrEnum):
    """What a version is in a trial."""

    INCUMBENT = "incumbent"
    CHALLENGER = "challenger"

    @property
    def other(self) -> "Role":
        return Role.CHALLENGER if self is Role.INCUMBENT else Role.INCUMBENT


@dataclass(frozen=True, slots=True)
class Tally:
    """Crossings of one line in one direction."""

    line_id: str
    direction: Direction
    both: int
    only_incumbent: int
    only_challenger: int


@dataclass(frozen=True, slots=True)
class TrialSpan:
    """A span of capture time in which both ran, and what they counted in it."""

    trial_id: str
    incumbent: str
    """As NAME@VERSION."""
    challenger: str
    start: float
    end: float
    tallies: tuple[Tally, ...]
    """By line and direction; none where nobody crossed."""
    frames: int
    """That the version which counts has seen."""
    frames_missed: int
    """Those of them that the other one did not get."""


class _Kind(Enum):
    BOTH = "both"
    INCUMBENT = Role.INCUMBENT
    CHALLENGER = Role.CHALLENGER


@dataclass(slots=True)
class _Side:
    began: float | None = None
    """Capture time of the run's first frame that was compared; None where there is no run."""
    newest: float = float("-inf")
    ended: bool = False
    times: list[float] = field(default_factory=list)
    crossings: dict[Key, list[float]] = field(default_factory=dict)

    @property
    def decided_until(self) -> float:
        return self.newest if self.ended else self.newest - LATEST_S


class Comparison:
    """Adds up one trial on one camera; each call returns the spans that it made ready to be told.

    Args:
        trial_id: of the trial.
        models: of incumbent and challenger, as NAME@VERSION.
        counting: which of the two counts for the camera.
    """

    def __init__(self, trial_id: str, models: dict[Role, str], counting: Role) -> None:
        self._trial_id = trial_id
        self._models = models
        self._counting = counting
        self._sides = {role: _Side() for role in Role}
        self._told_until: float | None = None
        self._results: list[tuple[float, Key, _Kind]] = []

    def frame(self, role: Role, t: float, events: Iterable[Event]) -> tuple[TrialSpan, ...]:
        """Take a frame that one of the two has counted."""
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

    def run_ended(self, role: Role, events: Iterable[Event] | None) -> tuple[TrialSpan, ...]:
        """Take what a run decides at its end; None where it was broken off."""
        side = self._sides[role]
        if side.began is None:
            return ()
        if events is None:
            return self._close()
        self._take(side, events)
        side.ended = True
        return self._advance()

    def finish(self) -> tuple[TrialSpan, ...]:
        """The last spans: the trial ends, or the runs do."""
        return self._close()

    def _begin(self) -> None:
        """Both run from now on, or one of them does."""
        began = [side.began for side in self._sides.values() if side.began is not None]
        self._told_until = max(began) + WARM_UP_S if len(began) == len(self._sides) else None

    def _take(self, side: _Side, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Crossing):
                insort(side.crossings.setdefault((event.line_id, event.direction), []), event.t)
        if self._told_until is None:
            self._forget(side, side.newest - WARM_UP_S)

    @staticmethod
    def _forget(side: _Side, before: float) -> None:
        """Forget what is older, but for the last frame: the next one shows whether there was a gap."""
        old = sum(t < before for t in side.times)
        del side.times[: max(0, old - 1)]
        for times in side.crossings.values():
            del times[: sum(t < before for t in times)]

    def _advance(self) -> tuple[TrialSpan, ...]:
        ended = [side for side in self._sides.values() if side.ended]
        if ended and self._horizon >= min(side.newest for side in ended):
            return self._close()
        until = self._horizon - SAME_CROSSING_S
        if self._told_until is None or until - self._told_until < TELL_EVERY_S:
            return ()
        return self._tell(until)

    @property
    def _horizon(self) -> float:
        """Until when both have decided."""
        return min(side.decided_until for side in self._sides.values())

    def _close(self) -> tuple[TrialSpan, ...]:
        """Tell what is decided and begin anew; who still runs is compared again when the other one does too."""
        whole = any(side.ended for side in self._sides.values())
        until = self._horizon - (0.0 if whole else SAME_CROSSING_S)
        spans = self._tell(until) if self._told_until is not None and until > self._told_until else ()
        going = {role: side for role, side in self._sides.items() if side.began is not None and not side.ended}
        self._sides = {role: _Side() for role in Role}
        for role, side in going.items():
            self._sides[role] = _Side(began=side.newest, newest=side.newest, times=[side.newest])
        self._told_until, self._results = None, []
        return spans

    def _tell(self, until: float) -> tuple[TrialSpan, ...]:
        start, self._told_until = self._told_until, until
        assert start is not None
        for side in self._sides.values():
            self._forget(side, start - SAME_CROSSING_S)
        for key in {key for side in self._sides.values() for key in side.crossings}:
            self._results += ((t, key, kind) for t, kind in self._matched(key, until))
        spans = tuple(span for piece in self._pieces(start, until) if (span := self._span(*piece)).frames)
        self._results = [result for result in self._results if result[0] >= until]
        return spans

    def _matched(self, key: Key, until: float) -> Iterator[tuple[float, _Kind]]:
        """Take off the crossings up to `until`; a pair has the incumbent's time."""
        first = self._sides[Role.INCUMBENT].crossings.setdefault(key, [])
        second = self._sides[Role.CHALLENGER].crossings.setdefault(key, [])
        while min((*first[:1], *second[:1]), default=float("inf")) <= until:
            if first and second and abs(first[0] - second[0]) <= SAME_CROSSING_S + _SLACK_S:
                second.pop(0)
                yield first.pop(0), _Kind.BOTH
            elif first and (not second or first[0] < second[0]):
                yield first.pop(0), _Kind.INCUMBENT
            else:
                yield second.pop(0), _Kind.CHALLENGER

    def _pieces(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """The span without the times in which only one of the two got frames."""
        for gap_start, gap_end in sorted((*self._gaps(Role.INCUMBENT), *self._gaps(Role.CHALLENGER))):
            if gap_start > start:
                yield start, min(gap_start, end)
            start = max(start, gap_end)
            if start >= end:
                return
        yield start, end

    def _gaps(self, role: Role) -> Iterator[tuple[float, float]]:
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
            incumbent=self._models[Role.INCUMBENT],
            challenger=self._models[Role.CHALLENGER],
            start=start,
            end=end,
            tallies=tuple(
                Tally(*key, *(counted[key, kind] for kind in _Kind)) for key in sorted({key for key, _ in counted})
            ),
            frames=len(frames),
            frames_missed=len(frames.difference(self._sides[self._counting.other].times)),
        )

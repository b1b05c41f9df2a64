"""Judges whether a challenger counts like the incumbent, from crossings on the same frames.

Both versions process the same frames, so their crossings are paired: counted by both, by the incumbent alone, or by the
challenger alone. The estimate is the challenger's count divided by the incumbent's. Its interval combines the exact
intervals of the two shares in which they differ: Clopper and Pearson (Biometrika 26 (1934), 404-413) for each share,
combined by Zou and Donner (Statistics in Medicine 27 (2008), 1693-1702). It does not need the crossings that both
missed, and it has a width even if the two never differ. The interval of Bonett and Price (Statistics in Medicine 25
(2006), 3039-3047) is narrower. But it errs up to seven times as often as stated if a challenger only misses crossings
and adds none, the case that matters here.

A trial is judged repeatedly, and each look may err. So looks are few, at 30, 60, 120, 240, … crossings, and they share
one error: look k (from 0) has 0.05 / 2^(k+1). All looks together have 0.05, however long the trial lasts. With several
lines, half of a look's error is for the total and half for the lines, in equal parts. So neither the number of looks
nor the number of lines raises the chance of a wrong verdict above 5 %.

Measured with 1000 simulated trials of each kind, margin 0.1 (tests/unit/models/measure/test_verdict.py repeats them):

    challenger                                        found           crossings: median    90 % within
    the same model                                    EQUAL  100 %                   60             60
    as good, each misses 2 % by itself                EQUAL  99.7 %                 120            240
    as good, each misses 5 % by itself                EQUAL  99.2 %                 240            480
    as good, each misses 10 % by itself               EQUAL  98.8 %                 480            960
    misses a fifth of what the incumbent counts       FEWER  100 %                   30             60
    a fifth worse, each misses others                 FEWER  100 %                   60            120
    misses a tenth, just what the margin allows       FEWER  99.5 %                 120            120
    misses two fifths on one line of four             FEWER  100 %                  240            240
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, lgamma, log, log1p, sqrt
from typing import Final

ERROR: Final = 0.05
"""Chance of a wrong verdict, over all looks of a trial."""
FIRST_LOOK: Final = 30
"""Crossings, counted by either version, before the first look; also the least for a single line."""
HALVINGS: Final = 50
NEGLIGIBLE: Final = 1e-17


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """Crossings on the same frames, by the versions that counted them."""

    both: int
    only_incumbent: int
    only_challenger: int

    @property
    def incumbent(self) -> int:
        """Crossings that the incumbent counted."""
        return self.both + self.only_incumbent

    @property
    def challenger(self) -> int:
        """Crossings that the challenger counted."""
        return self.both + self.only_challenger

    @property
    def total(self) -> int:
        """Crossings that at least one version counted."""
        return self.both + self.only_incumbent + self.only_challenger


@dataclass(frozen=True, slots=True)
class Ratio:
    """The challenger's count divided by the incumbent's, with its confidence interval."""

    value: float
    low: float
    high: float


class TrialFinding(StrEnum):
    """How the challenger counts."""

    UNDECIDED = "undecided"
    EQUAL = "equal"
    """Like the incumbent, within the margin."""
    FEWER = "fewer"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class TrialVerdict:
    """The result of a look."""

    finding: TrialFinding
    sentence: str
    """For people."""
    looks: int
    """Looks spent so far; pass it to the next `judge`."""


def looks_due(crossings: int) -> int:
    """Number of looks due at a number of crossings: 0 below 30, 1 from 30, 2 from 60, 3 from 120.

    >>> [looks_due(crossings) for crossings in (0, 29, 30, 59, 60, 119, 120)]
    [0, 0, 1, 1, 2, 2, 3]
    """
    return (crossings // FIRST_LOOK).bit_length()


def look_error(look: int) -> float:
    """The error of a look; looks are numbered from 0."""
    return ERROR / 2.0 ** (look + 1)


def ratio_interval(tally: PairedCounts, error: float) -> Ratio | None:
    """The challenger's count divided by the incumbent's, and its two-sided interval at confidence 1 - `error`.

    None if the incumbent counted nothing.

    `lost` is the share that only the incumbent counted, `gained` the share that only the challenger counted. The ratio
    is (1 - lost) / (1 - gained). The limits of the two shares are combined in logarithms, as Zou and Donner do.
    """
    if tally.incumbent == 0:
        return None
    lost, gained = tally.only_incumbent / tally.total, tally.only_challenger / tally.total
    lost_low, lost_high = clopper_pearson(tally.only_incumbent, tally.total, error)
    gained_low, gained_high = clopper_pearson(tally.only_challenger, tally.total, error)
    if tally.challenger == 0:
        return Ratio(0.0, 0.0, (1 - lost_low) / (1 - gained_high))
    correlation = -sqrt(lost * gained / ((1 - lost) * (1 - gained)))  # of two shares of one multinomial
    value = (1 - lost) / (1 - gained)
    down = _together(log((1 - lost) / (1 - lost_high)), log((1 - gained_low) / (1 - gained)), correlation)
    up = _together(log((1 - lost_low) / (1 - lost)), log((1 - gained) / (1 - gained_high)), correlation)
    return Ratio(value, value * exp(-down), value * exp(up))


def _together(one: float, other: float, correlation: float) -> float:
    """The margin of a difference, from the margins of its two parts."""
    return sqrt(one * one + other * other - 2 * correlation * one * other)


def clopper_pearson(successes: int, trials: int, error: float) -> tuple[float, float]:
    """The exact two-sided interval of a share at confidence 1 - `error`, with at most half of the error at each end."""
    return 1 - _upper_limit(trials - successes, trials, error / 2), _upper_limit(successes, trials, error / 2)


def _upper_limit(successes: int, trials: int, error: float) -> float:
    """The share at which this few successes have the probability `error`; found by bisection."""
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _chance_of_at_most(successes, trials, middle) > error else (low, middle)
    return (low + high) / 2


def _chance_of_at_most(successes: int, trials: int, share: float) -> float:
    """The binomial distribution below its mean; the terms shrink downwards, so the sum ends early."""
    coefficient = lgamma(trials + 1) - lgamma(successes + 1) - lgamma(trials - successes + 1)
    term = exp(coefficient + successes * log(share) + (trials - successes) * log1p(-share))
    total = 0.0
    for k in range(successes, -1, -1):
        total += term
        term *= k / (trials - k + 1) * (1 - share) / share
        if term < total * NEGLIGIBLE:
            break
    return total


def judge(
    total: PairedCounts, lines: Mapping[tuple[str, str], PairedCounts], margin: float, looks: int
) -> TrialVerdict:
    """Judge a trial if a look is due.

    Args:
        total: crossings of all lines.
        lines: crossings by (camera, line).
        margin: how much the challenger may differ, as a share of the incumbent's count.
        looks: looks spent before: `TrialVerdict.looks` of the last call, or `looks_due` of the total at that call. Only
            the first call at or after 30, 60, 120, … crossings looks; calls in between decide nothing, because looking
            at each crossing would in time find any result.
    """
    due = looks_due(total.total)
    if due <= looks:
        return TrialVerdict(TrialFinding.UNDECIDED, _waiting(total, looks), looks)
    error = look_error(due - 1)
    share = error if len(lines) < 2 else error / 2  # a single line is the total and is not tested twice
    ratio = ratio_interval(total, share)
    finding = _finding(ratio, margin)
    sentence = _sentence(total, ratio, finding)
    if (
        len(lines) > 1
        and finding is not TrialFinding.FEWER
        and (worst := _worst_line(lines, margin, error)) is not None
    ):
        finding, sentence = TrialFinding.FEWER, _line_sentence(*worst, lines[worst[0]])
    if finding is TrialFinding.UNDECIDED:
        sentence += f"; the next look is at {_next_look(due)} crossings"
    return TrialVerdict(finding, sentence, due)


def _finding(ratio: Ratio | None, margin: float) -> TrialFinding:
    if ratio is None:
        return TrialFinding.MORE  # a look needs 30 crossings, and the incumbent counted none
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return TrialFinding.EQUAL
    if ratio.high < 1:
        return TrialFinding.FEWER
    return TrialFinding.MORE if ratio.low > 1 else TrialFinding.UNDECIDED


def _worst_line(
    lines: Mapping[tuple[str, str], PairedCounts], margin: float, error: float
) -> tuple[tuple[str, str], Ratio] | None:
    """The line that certainly counts fewer than the margin allows, with the lowest ratio; None if there is none.

    Only one end of each interval is used, so the error of the lines together is half of `error`.
    """
    found = {
        key: ratio
        for key, tally in lines.items()
        if tally.total >= FIRST_LOOK
        and (ratio := ratio_interval(tally, error / len(lines))) is not None
        and ratio.high < 1 - margin
    }
    return min(found.items(), key=lambda entry: entry[1].value) if found else None


def _sentence(tally: PairedCounts, ratio: Ratio | None, finding: TrialFinding) -> str:
    words = {
        TrialFinding.EQUAL: "equal",
        TrialFinding.FEWER: "fewer",
        TrialFinding.MORE: "more",
        TrialFinding.UNDECIDED: "not decided",
    }[finding]
    if ratio is None:
        return f"the live version counted nothing, the challenger {_crossings(tally.challenger)}: {words}"
    return f"the challenger counts {_numbers(ratio)} times the live version: {words}; it {_differences(tally)}"


def _line_sentence(key: tuple[str, str], ratio: Ratio, tally: PairedCounts) -> str:
    camera_id, line_id = key
    return (
        f"on line {line_id} of camera {camera_id} the challenger counts {_numbers(ratio)} "
        f"times the live version: fewer; it {_differences(tally)}"
    )


def _waiting(total: PairedCounts, looks: int) -> str:
    next_look = _next_look(looks)
    if looks == 0:
        return f"{_crossings(total.total)} so far; the first look is at {next_look}"
    counted = f"{_crossings(total.total)} so far: not decided; the challenger {_differences(total)}"
    return f"{counted}; the next look is at {next_look}"


def _next_look(looks: int) -> int:
    return FIRST_LOOK << looks


def _numbers(ratio: Ratio) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _differences(tally: PairedCounts) -> str:
    return f"missed {tally.only_incumbent} of {_crossings(tally.incumbent)} and added {tally.only_challenger}"


def _crossings(count: int) -> str:
    return f"{count} crossing" if count == 1 else f"{count} crossings"

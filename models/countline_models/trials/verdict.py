"""Whether a challenger counts as the incumbent does, from crossings that both saw on the same frames.

Both versions look at the same frames, so their crossings are pairs: counted by both, by the incumbent alone, or by the
challenger alone. What is estimated is the challenger's count divided by the incumbent's, with an interval
made of the exact intervals of the two shares in which they differ: Clopper and Pearson (Biometrika 26 (1934), 404-413)
for each, put together as by Zou and Donner (Statistics in Medicine 27 (2008), 1693-1702). It needs no count of what
neither saw and has a width where the two never differed. The interval of Bonett and Price (Statistics in Medicine 25
(2006), 3039-3047) is narrower, and errs up to seven times as often as it says where a challenger only misses and never
adds, which is the case that matters here.

A trial is looked at again and again, and each look may err. So the looks are few, at 30, 60, 120, 240, … crossings, and
they share one error: look k (from 0) has 0.05 / 2^(k+1), which makes 0.05 of all looks together, however long the trial
lasts. Where there are several lines, half of a look's error is for the total and half for the lines, an equal part
each, so that neither the number of looks nor the number of lines makes a wrong verdict likelier than 5 %.

Measured with 1000 simulated trials of each kind, margin 0.1 (tests/unit/models/test_verdict.py simulates them again):

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
"""Of all looks of a trial together: how often a verdict may be wrong."""
FIRST_LOOK: Final = 30
"""Crossings, counted by either version, before anything is decided; so many must a line have, too."""
HALVINGS: Final = 50
NEGLIGIBLE: Final = 1e-17


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """Crossings on the same frames, by who counted them."""

    both: int
    only_incumbent: int
    only_challenger: int

    @property
    def incumbent(self) -> int:
        """What the incumbent counted."""
        return self.both + self.only_incumbent

    @property
    def challenger(self) -> int:
        """What the challenger counted."""
        return self.both + self.only_challenger

    @property
    def total(self) -> int:
        """What either of them counted."""
        return self.both + self.only_incumbent + self.only_challenger


@dataclass(frozen=True, slots=True)
class Ratio:
    """The challenger's count divided by the incumbent's, with its confidence interval."""

    value: float
    low: float
    high: float


class TrialFinding(StrEnum):
    """What a trial says of its challenger."""

    UNDECIDED = "undecided"
    EQUAL = "equal"
    """It counts as the incumbent does, within the margin."""
    FEWER = "fewer"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class TrialVerdict:
    """What is known of a challenger."""

    finding: TrialFinding
    sentence: str
    """For people."""
    looks: int
    """Looks that are spent now; to be given to `judge` the next time."""


def looks_due(crossings: int) -> int:
    """How many looks have fallen due at so many crossings: 0 below 30, 1 from 30, 2 from 60, 3 from 120.

    >>> [looks_due(crossings) for crossings in (0, 29, 30, 59, 60, 119, 120)]
    [0, 0, 1, 1, 2, 2, 3]
    """
    return (crossings // FIRST_LOOK).bit_length()


def look_error(look: int) -> float:
    """The error that look `look`, from 0, may make."""
    return ERROR / 2.0 ** (look + 1)


def ratio_interval(tally: PairedCounts, error: float) -> Ratio | None:
    """The challenger's count divided by the incumbent's, and its two-sided interval at confidence 1 - `error`.

    None where the incumbent counted nothing: there is no ratio to nothing.

    The challenger counted all but the share that only the incumbent did, and the other way round, so the ratio is
    (1 - lost) / (1 - gained); the limits of the two shares are put together in logarithms as Zou and Donner do.
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
    """How far a difference may lie off where its two parts may lie so far off."""
    return sqrt(one * one + other * other - 2 * correlation * one * other)


def clopper_pearson(successes: int, trials: int, error: float) -> tuple[float, float]:
    """The exact two-sided interval of a share at confidence 1 - `error`; each end errs in at most half of it."""
    return 1 - _upper_limit(trials - successes, trials, error / 2), _upper_limit(successes, trials, error / 2)


def _upper_limit(successes: int, trials: int, error: float) -> float:
    """The share for which so few successes have the chance `error`; found by halving."""
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _chance_of_at_most(successes, trials, middle) > error else (low, middle)
    return (low + high) / 2


def _chance_of_at_most(successes: int, trials: int, share: float) -> float:
    """The binomial distribution below its mean, where its terms get smaller downwards and can soon be left out."""
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
    """Look at a trial, if a look is due.

    Args:
        total: crossings of all lines.
        lines: the same by (camera, line).
        margin: by how much the challenger may differ, as a share of what the incumbent counts.
        looks: how many looks were spent before: `TrialVerdict.looks` of the last call, or `looks_due` of the total that
            was judged last. The first call at or after 30, 60, 120, … crossings looks; those between decide nothing,
            since looking at each crossing would find in time whatever it looks for.
    """
    due = looks_due(total.total)
    if due <= looks:
        return TrialVerdict(TrialFinding.UNDECIDED, _waiting(total, looks), looks)
    error = look_error(due - 1)
    share = error if len(lines) < 2 else error / 2  # one line is the total: it is not tested twice
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
        return TrialFinding.MORE  # as many as a look takes, and the incumbent has none of them
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return TrialFinding.EQUAL
    if ratio.high < 1:
        return TrialFinding.FEWER
    return TrialFinding.MORE if ratio.low > 1 else TrialFinding.UNDECIDED


def _worst_line(
    lines: Mapping[tuple[str, str], PairedCounts], margin: float, error: float
) -> tuple[tuple[str, str], Ratio] | None:
    """The line that surely counts fewer than the margin allows, the one with the fewest where there are several.

    Only one end of each interval is used, so that `error` for a line's two ends is half of it for the lines together.
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
    return f"the challenger counts {_numbers(ratio)} of what the live version counts: {words}; {_differences(tally)}"


def _line_sentence(key: tuple[str, str], ratio: Ratio, tally: PairedCounts) -> str:
    camera_id, line_id = key
    return (
        f"on line {line_id} of camera {camera_id} the challenger counts {_numbers(ratio)} "
        f"of what the live version counts: fewer; {_differences(tally)}"
    )


def _waiting(total: PairedCounts, looks: int) -> str:
    next_look = _next_look(looks)
    if looks == 0:
        return f"{_crossings(total.total)} seen; the first look is at {next_look}"
    return f"{_crossings(total.total)} seen, {_differences(total)}; not decided, the next look is at {next_look}"


def _next_look(looks: int) -> int:
    return FIRST_LOOK << looks


def _numbers(ratio: Ratio) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _differences(tally: PairedCounts) -> str:
    are = "is" if tally.only_challenger == 1 else "are"
    were = "was" if tally.only_incumbent == 1 else "were"
    return (
        f"{tally.only_incumbent} of its {_crossings(tally.incumbent)} {were} missed, {tally.only_challenger} {are} new"
    )


def _crossings(count: int) -> str:
    return f"{count} crossing" if count == 1 else f"{count} crossings"

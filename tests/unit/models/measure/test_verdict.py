"""How a challenger is judged: the interval keeps what it promises, and trials of known truth find it.

Intervals are checked against every outcome that so many crossings can have, with its exact chance; only whole trials
are simulated, with a fixed seed.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import rounds

from countline_models.trials.verdict import (
    ERROR,
    FIRST_LOOK,
    PairedCounts,
    Ratio,
    TrialFinding,
    TrialVerdict,
    clopper_pearson,
    judge,
    look_error,
    looks_due,
    ratio_interval,
)

MARGIN = 0.1
LINE = ("gate", "door")
Shares = tuple[float, float, float]
tallies = st.builds(PairedCounts, *(st.integers(0, 400) for _ in range(3)))


def both_see(incumbent: float, challenger: float) -> Shares:
    """Shares of (both, incumbent alone, challenger alone) where each finds its share of objects by itself."""
    cells = (incumbent * challenger, incumbent * (1 - challenger), (1 - incumbent) * challenger)
    return tuple(cell / sum(cells) for cell in cells)  # type: ignore[return-value]


# Share counted by (both, the incumbent alone, the challenger alone).
TRUTHS = [
    (0.9, 0.05, 0.05),
    (0.98, 0.01, 0.01),
    (0.8, 0.2, 0.0),  # only misses
    (0.9, 0.1, 0.0),
    (0.96, 0.04, 0.0),
    (0.9, 0.0, 0.1),  # only adds
    (0.9, 0.095, 0.005),
    (0.5, 0.4, 0.1),
    (0.4, 0.3, 0.3),
    (0.2, 0.7, 0.1),
]


@cache
def every_outcome(crossings: int, error: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each tally (N, 3) of so many crossings, with the ends of its interval (N,)."""
    cells = [
        (both, lost, crossings - both - lost) for both in range(crossings + 1) for lost in range(crossings - both + 1)
    ]
    ratios = [ratio_interval(PairedCounts(*cell), error) or Ratio(np.inf, 0.0, np.inf) for cell in cells]
    return np.array(cells), np.array([ratio.low for ratio in ratios]), np.array([ratio.high for ratio in ratios])


@pytest.mark.parametrize(
    ("crossings", "error"), [(30, 0.05), (30, look_error(0)), (30, look_error(0) / 4), (60, 0.0125)]
)
@pytest.mark.parametrize("truth", TRUTHS)
def test_each_end_of_the_interval_errs_no_more_often_than_half_of_the_error(
    truth: Shares, crossings: int, error: float
) -> None:
    cells, low, high = every_outcome(crossings, error)
    from scipy.stats import multinomial  # takes a second: each process of a parallel run imports every test

    ratio = (truth[0] + truth[2]) / (truth[0] + truth[1])
    chances = multinomial.pmf(cells, crossings, truth)
    above, below = chances[low > ratio * (1 + 1e-9)].sum(), chances[high < ratio * (1 - 1e-9)].sum()
    assert above <= error / 2
    assert below <= error / 2


@pytest.mark.parametrize("error", [0.05, 0.003])
@pytest.mark.parametrize(("successes", "trials"), [(0, 30), (1, 30), (15, 30), (29, 30), (30, 30), (700, 5000)])
def test_the_interval_of_a_share_is_that_of_the_beta_distribution(successes: int, trials: int, error: float) -> None:
    from scipy.stats import beta

    low, high = clopper_pearson(successes, trials, error)
    assert low == pytest.approx(beta.ppf(error / 2, successes, trials - successes + 1) if successes else 0, abs=1e-9)
    rest = trials - successes
    assert high == pytest.approx(beta.ppf(1 - error / 2, successes + 1, rest) if rest else 1, abs=1e-9)


@given(tallies, st.sampled_from([0.05, 0.01]))
def test_the_ratio_lies_within_an_interval_that_has_a_width(tally: PairedCounts, error: float) -> None:
    ratio = ratio_interval(tally, error)
    if tally.incumbent == 0:
        assert ratio is None
        return
    assert ratio is not None
    assert ratio.value == pytest.approx(tally.challenger / tally.incumbent)
    assert 0 <= ratio.low <= ratio.value < ratio.high < float("inf")
    assert ratio.low < ratio.value or tally.challenger == 0


@given(tallies.filter(lambda tally: tally.incumbent > 0 and tally.challenger > 0))
def test_the_ratio_the_other_way_round_is_the_inverse(tally: PairedCounts) -> None:
    ratio = ratio_interval(tally, 0.05)
    other = ratio_interval(PairedCounts(tally.both, tally.only_challenger, tally.only_incumbent), 0.05)
    assert ratio is not None
    assert other is not None
    assert (1 / other.high, 1 / other.low) == pytest.approx((ratio.low, ratio.high), rel=1e-6)


def test_the_looks_of_a_trial_share_one_error() -> None:
    assert sum(look_error(look) for look in range(60)) == pytest.approx(ERROR)
    assert [looks_due(crossings) for crossings in (0, 29, 30, 59, 60, 119, 120, 240)] == [0, 0, 1, 1, 2, 2, 3, 4]


def one_line(tally: PairedCounts, looks: int = 0, margin: float = MARGIN) -> TrialVerdict:
    return judge(tally, {LINE: tally}, margin, looks)


@pytest.mark.parametrize(
    ("tally", "looks", "finding", "sentence"),
    [
        (PairedCounts(0, 0, 0), 0, "undecided", "0 crossings so far; the first look is at 30"),
        (PairedCounts(1, 0, 0), 0, "undecided", "1 crossing so far; the first look is at 30"),
        (PairedCounts(0, 29, 0), 0, "undecided", "29 crossings so far; the first look is at 30"),
        (
            PairedCounts(0, 59, 0),
            1,
            "undecided",
            (
                "59 crossings so far: not decided; the challenger missed 59 of 59 crossings and added 0; "
                "the next look is at 60"
            ),
        ),
        (
            PairedCounts(29, 1, 1),
            0,
            "undecided",
            (
                "the challenger counts 1.00 (0.83 to 1.20) times the live version: not decided; "
                "it missed 1 of 30 crossings and added 1; the next look is at 60 crossings"
            ),
        ),
        (
            PairedCounts(94, 24, 3),
            2,
            "fewer",
            (
                "the challenger counts 0.82 (0.70 to 0.94) times the live version: fewer; "
                "it missed 24 of 118 crossings and added 3"
            ),
        ),
        (
            PairedCounts(60, 0, 0),
            1,
            "equal",
            (
                "the challenger counts 1.00 (0.92 to 1.09) times the live version: equal; "
                "it missed 0 of 60 crossings and added 0"
            ),
        ),
        (
            PairedCounts(60, 0, 30),
            1,
            "more",
            (
                "the challenger counts 1.50 (1.26 to 1.88) times the live version: more; "
                "it missed 0 of 60 crossings and added 30"
            ),
        ),
        (PairedCounts(0, 0, 30), 0, "more", "the live version counted nothing, the challenger 30 crossings: more"),
        (
            PairedCounts(0, 30, 0),
            0,
            "fewer",
            (
                "the challenger counts 0.00 (0.00 to 0.16) times the live version: fewer; "
                "it missed 30 of 30 crossings and added 0"
            ),
        ),
    ],
)
def test_a_verdict_says_what_was_found_in_a_sentence(
    tally: PairedCounts, looks: int, finding: str, sentence: str
) -> None:
    verdict = one_line(tally, looks)
    assert (verdict.finding.value, verdict.sentence) == (finding, sentence)


@given(tallies, st.integers(0, 12))
def test_nothing_is_decided_between_looks_and_each_look_is_spent_once(tally: PairedCounts, looks: int) -> None:
    verdict = one_line(tally, looks)
    assert verdict.looks == max(looks, looks_due(tally.total))
    if looks_due(tally.total) <= looks:
        assert verdict.finding is TrialFinding.UNDECIDED
    assert one_line(tally, verdict.looks).finding is TrialFinding.UNDECIDED


def test_a_look_that_comes_late_is_taken_when_it_can_be() -> None:
    assert one_line(PairedCounts(0, 47, 0)).finding is TrialFinding.FEWER


def test_a_line_that_counts_fewer_is_found_and_named_though_the_total_is_fine() -> None:
    lines = {
        ("gate", "door"): PairedCounts(400, 0, 0),
        ("yard", "ramp"): PairedCounts(20, 40, 0),
        ("yard", "exit"): PairedCounts(40, 0, 0),
    }
    verdict = judge(PairedCounts(460, 40, 20), lines, MARGIN, 4)
    assert verdict.finding is TrialFinding.FEWER
    assert verdict.sentence == (
        "on line ramp of camera yard the challenger counts 0.33 (0.15 to 0.57) times the live version: fewer; "
        "it missed 40 of 60 crossings and added 0"
    )


def test_a_line_with_few_crossings_decides_nothing() -> None:
    lines = {("gate", "door"): PairedCounts(971, 0, 0), ("yard", "ramp"): PairedCounts(0, FIRST_LOOK - 1, 0)}
    assert judge(PairedCounts(971, 29, 0), lines, MARGIN, 5).finding is TrialFinding.EQUAL


def trial(truths: Sequence[Shares], random: np.random.Generator) -> tuple[TrialFinding, int]:
    """Run a trial to its end, each line with its own truth; returns the finding and how many crossings it took."""
    most = FIRST_LOOK * 2**7
    drawn = [random.choice(3, most // len(truths) + 1, p=truth).tolist() for truth in truths]
    tallies, seen, looks = np.zeros((len(truths), 3), int), 0, 0
    while seen < most:
        turn, line = divmod(seen, len(truths))
        seen += 1
        tallies[line, drawn[line][turn]] += 1
        if looks_due(seen) > looks:
            lines = {("c", str(line)): PairedCounts(*row) for line, row in enumerate(tallies.tolist())}
            verdict = judge(PairedCounts(*tallies.sum(axis=0).tolist()), lines, MARGIN, looks)
            looks = verdict.looks
            if verdict.finding is not TrialFinding.UNDECIDED:
                return verdict.finding, seen
    return TrialFinding.UNDECIDED, seen


AS_GOOD = both_see(0.95, 0.95)


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("truths", "finding", "median"),
    [
        ([(1.0, 0.0, 0.0)], TrialFinding.EQUAL, 60),
        ([both_see(0.98, 0.98)], TrialFinding.EQUAL, 120),
        ([AS_GOOD], TrialFinding.EQUAL, 240),
        ([both_see(0.90, 0.90)], TrialFinding.EQUAL, 480),
        ([AS_GOOD] * 3, TrialFinding.EQUAL, 240),
        ([(0.8, 0.2, 0.0)], TrialFinding.FEWER, 30),
        ([both_see(0.95, 0.95 * 0.8)], TrialFinding.FEWER, 60),
        ([(0.9, 0.1, 0.0)], TrialFinding.FEWER, 120),
        ([AS_GOOD] * 3 + [(0.6, 0.4, 0.0)], TrialFinding.FEWER, 240),
    ],
)
def test_trials_of_known_truth_find_it(truths: list[Shares], finding: TrialFinding, median: int) -> None:
    """In 97 % of the trials; half of them take no more crossings than the table in the module says."""
    random = np.random.default_rng(20260101)
    outcomes = [trial(truths, random) for _ in range(rounds(70, 200))]
    found = Counter(outcome for outcome, _ in outcomes)
    assert found[finding] >= 0.97 * len(outcomes), found
    assert median / 2 <= np.median([crossings for _, crossings in outcomes]) <= median


@pytest.mark.parametrize("truth", [(0.9, 0.1, 0.0), (0.85, 0.125, 0.025)])
def test_a_challenger_at_the_margin_is_seldom_taken_for_equal(truth: Shares) -> None:
    """At the margin itself the chance is greatest; half of the error is what both ends share."""
    random = np.random.default_rng(7)
    found = Counter(trial([truth], random)[0] for _ in range(200))
    assert found[TrialFinding.EQUAL] <= ERROR * 200, found

"""Which hand-overs are believed, and what they fence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_analytics.ingest.hand_overs import NEVER_US, Fences, ReportedHandOver, Sighting, judge, moved

S = 1_000_000
DAY = 86_400 * S
NOW = 1_796_000_000 * S


def live(epoch: int, t_us: int, **fields) -> ReportedHandOver:
    """A hand-over that arrives a second after it was made."""
    return ReportedHandOver(epoch, t_us, t_us + S, t_us + S, **fields)


def times(*hand_overs: ReportedHandOver) -> list[int]:
    return [each.t_us for each in judge(hand_overs)]


FIRST = live(1, NOW - 10 * DAY)
SEEN = Sighting(NOW - S, NOW)


@pytest.mark.parametrize(
    "reported_us",
    [0, NOW - DAY, NOW - 20 * DAY, NOW - 3600 * S, NOW + 3600 * S, -62_135_596_800 * S],
    ids=["1970", "a day back", "before the first epoch", "an hour back", "an hour ahead", "the first year"],
)
@pytest.mark.parametrize("assigned_us", [None, NOW - 2 * S], ids=["not assigned", "assigned"])
def test_a_hand_over_of_a_wrong_clock_is_replaced_by_what_the_server_knows(reported_us, assigned_us) -> None:
    _, second = judge([FIRST, ReportedHandOver(2, reported_us, NOW, NOW, assigned_us, SEEN)])
    assert second.reason
    assert second.t_us == (NOW if assigned_us is None else assigned_us)


def test_a_hand_over_that_agrees_with_the_server_is_taken_as_it_is() -> None:
    assert times(FIRST, live(2, NOW, before=SEEN)) == [FIRST.reported_us, NOW]


def test_a_hand_over_from_a_spool_that_was_cut_off_for_hours_is_believed_if_the_assignment_says_so() -> None:
    cut_off = ReportedHandOver(2, NOW - 7200 * S, NOW, NOW, assigned_us=NOW - 7201 * S, before=SEEN)
    assert times(FIRST, cut_off) == [FIRST.reported_us, NOW - 7200 * S]


def test_a_whole_history_that_is_sent_late_keeps_its_hand_overs() -> None:
    late = [
        ReportedHandOver(n, NOW - 200 * DAY + n * S, NOW, NOW, None, Sighting(NOW - 200 * DAY, NOW)) for n in (1, 2, 3)
    ]
    assert [each.reason for each in judge(late)] == ["", "", ""]


def test_history_that_is_sent_late_shows_a_clock_in_1970() -> None:
    old = NOW - 200 * DAY
    wrong = ReportedHandOver(2, 0, NOW, NOW, None, Sighting(old, NOW), old - DAY)
    assert judge([wrong])[0].t_us == NOW
    right = ReportedHandOver(2, old - DAY // 2, NOW, NOW, None, Sighting(old, NOW), old - DAY)
    assert judge([right])[0].reason == ""


def test_a_later_hand_over_proves_an_earlier_one_wrong() -> None:
    """The records of epoch 2 came first, when nothing was known to compare them with."""
    alone = ReportedHandOver(2, 0, NOW, NOW)
    assert times(alone) == [0]
    assert times(FIRST, alone, live(3, NOW + DAY)) == [FIRST.reported_us, NOW, NOW + DAY]


def test_when_the_clock_of_the_server_itself_was_set_back_the_newest_count_is_the_best_known_time() -> None:
    """A machine without a battery clock: worker, NATS and control-plane all begin in 1970."""
    (_, second) = judge([FIRST, ReportedHandOver(2, 60 * S, 61 * S, 61 * S, 59 * S, SEEN)])
    assert second.t_us == SEEN.t_us


def test_a_day_back_on_one_machine_is_seen_by_the_receipts() -> None:
    (_, second) = judge([FIRST, ReportedHandOver(2, NOW - DAY, NOW - DAY + S, NOW - DAY + S, NOW - DAY - S, SEEN)])
    assert second.t_us == SEEN.t_us


def test_wrong_hand_overs_do_not_make_right_ones_wrong() -> None:
    assert times(FIRST, ReportedHandOver(2, 0, NOW, NOW, None, SEEN), live(3, NOW - DAY)) == [
        FIRST.reported_us,
        NOW,
        NOW - DAY,
    ]


def test_ingest_that_was_away_for_an_hour_is_no_clock_that_was_set_back() -> None:
    """The counts before it were written by then, an hour after JetStream received the hand-over."""
    waited = ReportedHandOver(2, NOW - 3600 * S, NOW - 3599 * S, NOW, None, Sighting(NOW - 3605 * S, NOW))
    assert times(FIRST, waited) == [FIRST.reported_us, NOW - 3600 * S]


def test_files_take_no_part() -> None:
    assert judge([ReportedHandOver(0, 0, NOW, NOW)]) == []


HAND_OVERS = st.dictionaries(st.integers(1, 6), st.integers(0, 40), max_size=5)


@given(HAND_OVERS, HAND_OVERS, st.integers(1, 7), st.integers(-1, 41))
def test_what_moves_is_exactly_what_is_fenced_differently(before, after, epoch, t_us) -> None:
    old, new = (Fences(("cam", e, t) for e, t in each.items()) for each in (before, after))
    was, is_ = t_us > old.limit_us("cam", epoch), t_us > new.limit_us("cam", epoch)
    moves = [m for m in moved("cam", old, new) if m.first_epoch <= epoch <= m.last_epoch]
    assert len(moves) <= 1
    if was != is_:
        assert moves[0].since_us < t_us
    for move in moves:
        assert is_ == (t_us > move.limit_us)
    if not moves:
        assert was == is_


def test_without_a_later_epoch_nothing_is_fenced() -> None:
    assert Fences([("cam", 3, 5)]).limit_us("cam", 3) == NEVER_US

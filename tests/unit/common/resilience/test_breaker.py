"""States of the circuit breaker, with a clock of the test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.resilience.breaker import BreakerState, CircuitBreaker, CircuitOpenError


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def seen() -> list[BreakerState]:
    return []


@pytest.fixture
def breaker(clock: Clock, seen: list[BreakerState]) -> CircuitBreaker:
    return CircuitBreaker("auth", 5, 60.0, changed=seen.append, clock=clock)


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.enter().failed()


def test_five_failures_in_a_row_open_it_and_an_answer_between_them_does_not(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    breaker.enter().succeeded()
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(CircuitOpenError, match="auth did not answer 5 times in a row") as caught:
        breaker.enter()
    assert caught.value.retry_after_s == 60.0
    assert "60 s" in caught.value.hint


def test_after_a_minute_one_trial_is_made_and_closes_it(
    breaker: CircuitBreaker, clock: Clock, seen: list[BreakerState]
) -> None:
    fail(breaker, 5)
    clock.now_s += 59.9
    with pytest.raises(CircuitOpenError):
        breaker.enter()
    clock.now_s += 0.1
    trial = breaker.enter()
    with pytest.raises(CircuitOpenError):
        breaker.enter()  # while the trial runs
    trial.succeeded()
    breaker.enter().succeeded()
    assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_a_trial_that_fails_opens_it_for_another_minute(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now_s += 60
    fail(breaker)
    clock.now_s += 59
    with pytest.raises(CircuitOpenError):
        breaker.check()
    clock.now_s += 1
    breaker.enter().succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_a_cancelled_trial_decides_nothing_and_frees_its_place(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now_s += 60
    breaker.enter().leave()
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.enter().succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_a_call_from_before_it_opened_decides_nothing(breaker: CircuitBreaker, clock: Clock) -> None:
    early, late = breaker.enter(), breaker.enter()
    fail(breaker, 5)
    early.succeeded()
    assert breaker.state is BreakerState.OPEN
    clock.now_s += 60
    trial = breaker.enter()
    late.failed()
    assert breaker.state is BreakerState.HALF_OPEN
    trial.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_an_outcome_counts_once(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        attempt = breaker.enter()
        attempt.failed()
        attempt.failed()
        attempt.leave()
    assert breaker.state is BreakerState.CLOSED


def test_without_failures_to_count_it_never_opens(clock: Clock) -> None:
    breaker = CircuitBreaker("auth", 0, 60.0, clock=clock)
    fail(breaker, 100)
    assert breaker.state is BreakerState.CLOSED


def test_a_new_connection_ends_the_pause_only_if_the_old_one_was_lost(clock: Clock) -> None:
    connected = [False]
    breaker = CircuitBreaker("auth", 1, 60.0, is_connected=lambda: connected[0], clock=clock)
    fail(breaker)
    with pytest.raises(CircuitOpenError):
        breaker.enter()
    connected[0] = True
    fail(breaker)  # the trial: a service that is connected and hangs
    clock.now_s += 59
    with pytest.raises(CircuitOpenError):
        breaker.enter()
    clock.now_s += 1
    breaker.enter().succeeded()


@given(st.lists(st.tuples(st.sampled_from(["enter", "succeed", "fail", "leave"]), st.integers(0, 40)), max_size=200))
def test_it_never_blocks_for_ever_and_never_has_two_trials(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    breaker = CircuitBreaker("auth", 3, 60.0, clock=clock)
    running, refused = [], None
    for what, seconds in steps:
        clock.now_s += seconds
        if what == "enter":
            was = breaker.state
            try:
                running.append(breaker.enter())
            except CircuitOpenError as error:
                assert was is not BreakerState.CLOSED
                refused = error
            else:
                if was is BreakerState.HALF_OPEN:
                    with pytest.raises(CircuitOpenError):
                        breaker.enter()
        elif running:
            attempt = running.pop(0)
            {"succeed": attempt.succeeded, "fail": attempt.failed, "leave": attempt.leave}[what]()
    assert refused is None or 0 < (refused.retry_after_s or 0) <= 60.0
    for attempt in running:
        attempt.leave()
    clock.now_s += 60
    breaker.enter().succeeded()
    assert breaker.state is BreakerState.CLOSED

"""Pauses between attempts."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.errors import NotFoundError, UnavailableError
from countline_common.resilience.retry import Backoff, Cooldowns, retrying


def test_pauses_grow_are_bounded_and_begin_anew() -> None:
    backoff = Backoff(first_s=0.1, longest_s=2.0)
    pauses = [backoff.next_s() for _ in range(20)]
    assert 0.05 <= pauses[0] <= 0.1
    assert max(pauses) <= 2.0
    assert len(set(pauses[10:])) > 5, "jitter"
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_pauses_without_jitter_double_up_to_a_bound() -> None:
    backoff = Backoff(0.5, 30.0, jitter=0.0)
    assert [backoff.next_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.lists(st.booleans(), max_size=2000))
def test_no_pause_is_ever_outside_its_bounds(successes: list[bool]) -> None:
    backoff = Backoff(0.5, 30.0)
    for success in successes:
        if success:
            backoff.reset()
        assert 0.25 <= backoff.next_s() <= 30.0


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns[str]:
    return Cooldowns(10.0, 600.0, jitter=0.0, clock=clock)


def length_s(cooldowns: Cooldowns[str], clock: Clock) -> float:
    """Fail, and wait until there may be another attempt; to the second."""
    cooldowns.record_failure("net", (1, 2))
    began_s = clock.now_s
    while not cooldowns.may_try("net", (1, 2)):
        clock.now_s += 1.0
    return clock.now_s - began_s


def test_each_cooldown_is_twice_the_last_up_to_the_longest(cooldowns: Cooldowns[str], clock: Clock) -> None:
    assert cooldowns.may_try("net", (1, 2))
    assert [length_s(cooldowns, clock) for _ in range(8)] == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]


def test_a_success_begins_the_series_anew(cooldowns: Cooldowns[str], clock: Clock) -> None:
    length_s(cooldowns, clock)
    cooldowns.record_success("net")
    assert cooldowns.may_try("net", (1, 2))
    assert length_s(cooldowns, clock) == 10.0


def test_only_what_was_tried_cools_down(cooldowns: Cooldowns[str], clock: Clock) -> None:
    length_s(cooldowns, clock)
    cooldowns.record_failure("net", (1, 2))
    assert not cooldowns.may_try("net", (1, 2))
    assert cooldowns.may_try("other", (1, 2))
    assert cooldowns.may_try("net", (1,)), "other versions shall be served now"
    cooldowns.record_failure("net", (1,))
    clock.now_s += 10.0
    assert cooldowns.may_try("net", (1,)), "its first pause, not its second"


def test_what_is_not_tried_for_long_is_forgotten(cooldowns: Cooldowns[str], clock: Clock) -> None:
    cooldowns.record_failure("net")
    clock.now_s += 611.0
    cooldowns.record_failure("other")
    assert "net" not in cooldowns
    assert "other" in cooldowns


class Service:
    """Raises `error` at each of its first `failures` calls."""

    def __init__(self, error: Exception, failures: int = 1_000) -> None:
        self.error = error
        self.failures = failures
        self.calls = 0

    async def call(self) -> None:
        async for attempt in retrying(UnavailableError, timeout_s=0.3, longest_s=0.05):
            with attempt:
                self.calls += 1
                if self.calls <= self.failures:
                    raise self.error


async def test_a_plain_call_is_made_again_until_it_succeeds() -> None:
    service = Service(UnavailableError("away"), failures=2)
    await service.call()
    assert service.calls == 3


async def test_another_error_ends_the_attempts_at_once() -> None:
    service = Service(NotFoundError("gone"))
    with pytest.raises(NotFoundError):
        await service.call()
    assert service.calls == 1


async def test_the_last_error_is_raised_when_time_is_up() -> None:
    service = Service(UnavailableError("away"))
    async with asyncio.timeout(5.0):
        with pytest.raises(UnavailableError, match="away"):
            await service.call()
    assert service.calls > 1

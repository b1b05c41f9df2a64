"""Limits of the gateway: time and retries of a route, counters in memory, origins of other sites."""

import asyncio

import pytest

from countline_analytics.api.protection.cors import origins
from countline_analytics.api.protection.rate_store import MOST_COUNTERS, BoundedMemory, RateStore
from countline_analytics.api.time_limits import TimeLimit, time_limit, within
from countline_common.errors import DeadlineExceededError, InvalidInputError, UnavailableError
from countline_common.http.client_address import counted_as

REQUIRED = {
    ("auth/login", "POST"): (5, 0),
    ("auth/me", "GET"): (5, 3),
    ("users/{user_id}", "GET"): (5, 3),
    ("cameras", "GET"): (10, 2),
    ("cameras/{camera_id}", "PATCH"): (10, 0),
    ("analytics/counts", "GET"): (15, 1),
    ("ai-models", "GET"): (15, 1),
    ("ai-models/{model_id}/promote", "POST"): (250, 0),
}
"""Seconds and retries, as the requirement gives them; only reads are tried again."""


@pytest.mark.parametrize(("route", "limits"), REQUIRED.items())
def test_a_route_has_the_required_limits(route: tuple[str, str], limits: tuple[float, int]):
    path, method = route
    assert time_limit(f"/api/v1/{path}", method) == TimeLimit(*limits)


class Attempts:
    """Fails some times, then succeeds."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left = failures
        self.error = error
        self.made = 0

    async def __call__(self, left_s: float) -> str:
        assert left_s > 0
        self.made += 1
        if self.made <= self.left:
            raise self.error
        return "answer"


async def test_a_service_that_is_away_is_tried_again_as_often_as_the_table_says():
    away = UnavailableError("away")
    attempts = Attempts(2, away)
    assert await within(TimeLimit(5, 2), attempts) == "answer"
    attempts = Attempts(3, away)
    with pytest.raises(UnavailableError, match="away"):
        await within(TimeLimit(5, 2), attempts)
    assert attempts.made == 3


async def test_other_errors_are_not_tried_again():
    attempts = Attempts(1, InvalidInputError("wrong"))
    with pytest.raises(InvalidInputError, match="wrong"):
        await within(TimeLimit(5, 3), attempts)
    assert attempts.made == 1


async def test_all_attempts_together_end_in_time():
    async def never(_: float) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceededError, match=r"0\.05 s"):
        await within(TimeLimit(0.05, 3), never)
    with pytest.raises(UnavailableError):  # the pause before the next attempt would outlast the limit
        await within(TimeLimit(0.02, 3), Attempts(9, UnavailableError("away")))


async def test_the_memory_of_counters_is_bounded_and_new_callers_share_one_when_it_is_full():
    store = RateStore()
    memory = store._memory
    memory.storage.update({str(i): 1 for i in range(MOST_COUNTERS)})
    assert memory.is_full
    permitted = [(await store.hit(3, f"address:{i}"))[0] for i in range(5)]
    assert permitted == [True, True, True, False, False]
    assert len(memory.storage) <= MOST_COUNTERS + 2


async def test_expired_counters_are_swept_once_in_a_while(monkeypatch: pytest.MonkeyPatch):
    """The library sweeps at every request, which costs time in proportion to the number of callers."""
    sweeps = []

    async def sweep(self: BoundedMemory) -> None:
        sweeps.append(self)

    monkeypatch.setattr(BoundedMemory, "_MemoryStorage__expire_events", sweep, raising=False)
    store = RateStore()
    for i in range(50):
        await store.hit(10, str(i))
    assert len(sweeps) == 1


def test_addresses_of_one_ipv6_customer_count_as_one():
    assert counted_as("10.1.2.3") == "10.1.2.3"
    assert counted_as("2001:db8:0:1::1") == counted_as("2001:db8:0:2::ffff") == "2001:db8::/56"
    assert counted_as("2001:db8:0:100::1") != counted_as("2001:db8:0:1::1")


def test_exact_origins_are_accepted():
    assert origins("") == frozenset()
    assert origins("https://a.example, http://localhost:5173,http://[::1]:8081") == {
        "https://a.example", "http://localhost:5173", "http://[::1]:8081",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["*", "null", "https://*.example", "a.example", "https://a.example/", "https://A.example", "https://a.example:443",
     "https://user@a.example", "https://a.example:99999", "ftp://a.example", "https://a.example?x", "https://"],
)  # fmt: skip
def test_anything_else_is_no_origin(text: str):
    with pytest.raises(InvalidInputError, match="is not an origin"):
        origins(text)

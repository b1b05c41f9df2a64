"""Requests are counted in a real Redis that several gateways share; without it each one counts by itself."""

from tests.fixtures.analytics.redis import RedisServer
from tests.fixtures.analytics.stack import until

from countline_analytics.api.protection.rate_store import RateStore

PER_MINUTE = 5


async def permitted(store: RateStore, caller: str, times: int) -> int:
    """How many of some requests are within the rate."""
    return sum([(await store.hit(PER_MINUTE, caller))[0] for _ in range(times)])


async def test_two_gateways_share_one_rate(redis_server: RedisServer) -> None:
    first, second = RateStore(redis_server.url), RateStore(redis_server.url)
    assert await permitted(first, "user:a", 3) == 3
    assert await permitted(second, "user:a", 5) == 2
    assert await permitted(first, "user:b", 1) == 1
    assert first.problem == second.problem == ""
    await first.close()
    await second.close()


async def test_while_redis_is_away_each_gateway_counts_by_itself_and_says_so(redis_server: RedisServer) -> None:
    store = RateStore(redis_server.url)
    assert await permitted(store, "user:a", PER_MINUTE + 2) == PER_MINUTE
    await redis_server.kill()
    assert await permitted(store, "user:a", PER_MINUTE + 2) == PER_MINUTE, "neither everything nor nothing passes"
    assert "Redis does not answer" in store.problem
    await redis_server.start()

    async def is_back() -> bool:
        await store.hit(1000, "user:other")
        return store.problem == ""

    await until(is_back)
    assert await permitted(store, "user:a", PER_MINUTE + 2) == PER_MINUTE, "the new Redis knows nothing of before"
    await store.close()


async def test_a_redis_that_never_answered_stops_no_request() -> None:
    store = RateStore("redis://127.0.0.1:1/0")
    assert await permitted(store, "user:a", PER_MINUTE + 1) == PER_MINUTE
    assert store.problem
    await store.close()

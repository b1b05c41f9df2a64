"""Places of calls, and what is refused."""

import asyncio

import pytest

from countline_common.errors import ResourceExhaustedError
from countline_common.resilience.bulkhead import Bulkhead


async def hold(bulkhead: Bulkhead, end: asyncio.Event, order: list[int], number: int) -> None:
    async with bulkhead.place(60.0):
        order.append(number)
        await end.wait()


async def turns(count: int = 5) -> None:
    """Let other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_calls_beyond_the_places_wait_in_order_and_one_more_is_refused() -> None:
    bulkhead, order = Bulkhead("s3", 1, 2), []
    ends = [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(hold(bulkhead, end, order, i)) for i, end in enumerate(ends)]
    await turns()
    assert (bulkhead.running, bulkhead.waiting) == (1, 2)
    with pytest.raises(ResourceExhaustedError, match="too many calls to s3 at once: 1 calls run and 2 wait") as caught:
        async with bulkhead.place(60.0):
            pytest.fail("there is no place")
    assert caught.value.retry_after_s == 1.0
    for end in ends:
        end.set()
        await turns()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


async def test_a_place_that_does_not_become_free_in_time_is_refused() -> None:
    bulkhead = Bulkhead("s3", 1, 2)
    async with bulkhead.place(60.0):
        with pytest.raises(ResourceExhaustedError, match=r"none ended within 0\.01 s"):
            async with bulkhead.place(0.01):
                pytest.fail("there is no place")
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


async def test_a_cancelled_call_gives_its_place_back_whether_it_ran_or_waited() -> None:
    bulkhead, order = Bulkhead("s3", 1, 2), []
    tasks = [asyncio.create_task(hold(bulkhead, asyncio.Event(), order, i)) for i in range(2)]
    await turns()
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)
    async with bulkhead.place(0.01):
        assert bulkhead.running == 1

"""Waiting for something that may not happen."""

import asyncio

import pytest

from countline_common.waiting import happens


async def test_what_is_there_is_not_waited_for_and_what_never_comes_only_so_long() -> None:
    event = asyncio.Event()
    assert not await happens(event, 0.01)
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await happens(event, 30)
    assert await happens(event, None)


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_that_comes_with_the_event_is_heard(turns: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(happens(event, 30))
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if waiting.cancel():  # it had not ended
        with pytest.raises(asyncio.CancelledError):
            await waiting

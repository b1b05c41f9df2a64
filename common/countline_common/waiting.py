"""Waiting for an event with a time limit."""

import asyncio
from contextlib import suppress


async def happens(event: asyncio.Event, within_s: float | None) -> bool:
    """Wait until an event is set, `within_s` seconds at most (None: without a limit); returns whether it is set.

    Do not use `asyncio.wait_for`, here or elsewhere: before Python 3.12 it swallows a cancellation that arrives
    together with the result, and the cancelled task goes on.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()

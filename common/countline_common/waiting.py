"""Waiting that ends."""

import asyncio
from contextlib import suppress


async def happens(event: asyncio.Event, within_s: float | None) -> bool:
    """Wait until an event is set, and for `within_s` at most (None: as long as it takes); returns whether it is set.

    `asyncio.wait_for` is not used here, nor elsewhere: before Python 3.12 it passes over a cancellation that comes
    together with the result, and whoever was cancelled goes on.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()

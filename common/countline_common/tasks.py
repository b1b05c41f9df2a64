"""Work that has to be done to its end once it has begun, whoever stops waiting for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await work to its end, however often whoever awaits it is cancelled meanwhile; the cancellation is raised then.

    `asyncio.shield` alone lets go of the work at the first cancellation: it goes on, and nobody awaits it, sees how it
    ended, or keeps for it the lock that it needs. The work has deadlines of its own.

    Raises:
        asyncio.CancelledError: whoever awaits was cancelled; the work has ended, and what it raised is its cause.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()

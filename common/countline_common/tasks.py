"""Work that must finish once it has begun, even if its caller is cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await work to its end, even if the caller is cancelled meanwhile; the cancellation is raised afterwards.

    `asyncio.shield` alone abandons the work at the first cancellation: the work goes on, but its result is lost and a
    lock that it needs may be released. The work must have deadlines of its own.

    Raises:
        asyncio.CancelledError: the caller was cancelled. The work has ended; its exception, if any, is the cause.
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

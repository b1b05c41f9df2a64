"""The end of tasks: work that must finish once it has begun, and tasks that their owner cancels."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from countline_common.logs import get_logger

_log = get_logger(__name__)
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


async def cancel(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and return when all have ended.

    An error that a task raises instead of ending is logged. A task that had ended before has been seen by its owner.
    """
    running = {task for task in tasks if not task.done()}
    for task in running:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for task, result in zip(tasks, results, strict=True):
        if task in running and isinstance(result, Exception):
            _log.error("task.failed", task=task.get_name(), exc_info=result)

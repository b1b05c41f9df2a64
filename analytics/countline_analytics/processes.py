"""Shared by the processes of analytics: waits for other parts, and stops on a signal."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from countline_common.errors import UnavailableError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_common.waiting import happens

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0

_log = get_logger(__name__)
_T = TypeVar("_T")


class StoppedError(Exception):
    """A stop signal arrived while the process waited; `stop_signals` treats this as a normal end."""


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        with contextlib.suppress(StoppedError):
            yield stopping
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def until_available(what: str, attempt: Callable[[], Coroutine[Any, Any, _T]], stopping: asyncio.Event) -> _T:
    """Try until a part answers, with growing pauses, because parts start in any order.

    Raises:
        StoppedError: a stop signal arrived first.
    """
    backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    while True:
        try:
            return await _unless_stopped(attempt(), stopping)
        except UnavailableError as error:
            _log.warning("waiting", part=what, error=error.message)
        await happens(stopping, backoff.next_s())


async def _unless_stopped(work: Coroutine[Any, Any, _T], stopping: asyncio.Event) -> _T:
    """Return the result of `work`; cancel it if the process is stopped first."""
    task, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise StoppedError
        return task.result()
    finally:
        await cancel(task, stop)


async def check_database(engine: AsyncEngine) -> None:
    """Health check: raise if the database does not answer."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))

"""What the processes of analytics have in common: they wait for the parts they need, and end when they are told to."""

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
from countline_common.waiting import happens

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0

_log = get_logger(__name__)
_T = TypeVar("_T")


class StoppedError(Exception):
    """The process was told to stop while it waited for something; `stop_signals` takes it for a good end."""


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
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
    """Try until a part answers, with growing pauses; parts are started in any order.

    Raises:
        StoppedError: the process was told to stop before that.
    """
    backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    while True:
        try:
            return await _unless_stopped(attempt(), stopping)
        except UnavailableError as error:
            _log.warning("waiting", part=what, error=error.message)
        await happens(stopping, backoff.next_s())


async def _unless_stopped(work: Coroutine[Any, Any, _T], stopping: asyncio.Event) -> _T:
    """The result of some work; it is cancelled where the process is told to stop meanwhile."""
    task, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise StoppedError
        return task.result()
    finally:
        for each in (task, stop):
            each.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)


async def check_database(engine: AsyncEngine) -> None:
    """Health check: raises where the database does not answer."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))

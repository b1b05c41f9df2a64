"""What the processes of analytics have in common: they wait for the parts they need, and end when they are told to."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from countline_common.errors import UnavailableError
from countline_common.logs import get_logger

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0

_log = get_logger(__name__)
_T = TypeVar("_T")


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield stopping
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def until_available(what: str, attempt: Callable[[], Awaitable[_T]], stopping: asyncio.Event) -> _T:
    """Try until a part answers, with growing pauses; parts are started in any order.

    Raises:
        UnavailableError: the process was told to stop before that.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await attempt()
        except UnavailableError as error:
            if stopping.is_set():
                raise
            _log.warning("waiting", part=what, error=error.message)
        try:
            await asyncio.wait_for(stopping.wait(), pause_s)
        except TimeoutError:
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def check_database(engine: AsyncEngine) -> None:
    """Health check: raises where the database does not answer."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))

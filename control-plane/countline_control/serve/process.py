"""Runs services until SIGTERM or SIGINT."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from countline_common.logs import get_logger
from countline_control.serve.plane import ControlPlane
from countline_control.settings import ControlSettings

_log = get_logger(__name__)


async def serve(settings: ControlSettings, wanted: Collection[str]) -> None:
    """Run services until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _running(settings, wanted, stop) as plane:
        if plane is None:
            return
        _log.info("serve.ready", services=sorted(wanted))
        stopped = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(plane.failed())
        done, pending = await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if failed in done:
            failed.result()
    _log.info("serve.stopped")


@asynccontextmanager
async def _running(
    settings: ControlSettings, wanted: Collection[str], stop: asyncio.Event
) -> AsyncIterator[ControlPlane | None]:
    """Start the services; yield None if the process was stopped while they still waited for a database."""
    plane = ControlPlane(settings, wanted)
    starting = asyncio.create_task(plane.__aenter__())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        yield None
        return
    starting.result()
    try:
        yield plane
    finally:
        await plane.__aexit__()

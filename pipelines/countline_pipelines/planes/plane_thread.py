"""An event loop in a thread of its own, with a tick once a second.

The thread keeps a plane's work from holding up the loop that talks to the control-plane and to NATS.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from countline_common.logs import get_logger
from countline_common.waiting import happens

TICK_S: Final = 1.0
_log = get_logger(__name__)


class PlaneThread:
    """The thread of a plane.

    Args:
        tick: called on the loop once a second with the monotonic time.
        shut_down: called on the loop at the end.
    """

    def __init__(self, tick: Callable[[float], Awaitable[None]], shut_down: Callable[[], Awaitable[None]]) -> None:
        self._tick = tick
        self._shut_down = shut_down
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="plane", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, work: Callable[[], None]) -> None:
        """Do work on the loop, in the order of the calls; may be called from any thread."""
        with suppress(RuntimeError):  # the loop is closed: the plane has ended
            self._loop.call_soon_threadsafe(work)

    def close(self, timeout_s: float) -> bool:
        """Shut down. Return False if that takes longer than `timeout_s`."""
        self.post(self._stopping.set)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._tick(time.monotonic())
            except Exception:  # noqa: BLE001  (the plane's last resort: every camera would end with its thread)
                _log.exception("plane.tick_failed")
            await happens(self._stopping, TICK_S)
        await self._shut_down()

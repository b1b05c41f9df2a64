"""The thread of GLib's main loop: always running, and the only one that changes pipelines.

nvurisrcbin's watchdog is a timer of the default main context; without a loop that runs there, no camera is ever
connected again. Sources are added and removed in this thread alone: from a streaming thread it dead-locks.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from countline_common.errors import DeadlineExceededError

WORK_S: Final = 20.0
"""A change of a pipeline that takes longer hangs in a plugin."""
_Result = TypeVar("_Result")


class MainLoop:
    """Owns the thread.

    Args:
        glib: the module `gi.repository.GLib`.
    """

    def __init__(self, glib: Any) -> None:
        self._glib = glib
        self._loop = glib.MainLoop()
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="glib", daemon=True)

    def start(self) -> None:
        """Start the thread; returns when the loop runs."""
        self._thread.start()
        self._running.wait()

    def _run(self) -> None:
        self._glib.idle_add(self._announce)
        self._loop.run()

    def _announce(self) -> bool:
        self._running.set()
        return bool(self._glib.SOURCE_REMOVE)

    def submit(self, work: Callable[[], _Result]) -> "concurrent.futures.Future[_Result]":
        """Have something done in the thread, in turn."""
        future: concurrent.futures.Future[_Result] = concurrent.futures.Future()

        def do() -> bool:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001  (who waits for the future gets it)
                    future.set_exception(error)
            return bool(self._glib.SOURCE_REMOVE)

        self._glib.idle_add(do, priority=self._glib.PRIORITY_DEFAULT)
        return future

    async def run(self, work: Callable[[], _Result], timeout_s: float = WORK_S) -> _Result:
        """Do something in the thread and wait for it.

        Raises:
            DeadlineExceededError: a plugin hangs.
        """
        future = asyncio.wrap_future(self.submit(work))
        try:
            # Not `wait_for`: before Python 3.12 it passes over a cancellation that comes with the result, and a
            # camera that was taken out at that moment would go on for ever.
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"GStreamer does not answer within {timeout_s:g} s; a plugin hangs", hint="restart the worker"
            ) from error

    def stop(self, timeout_s: float) -> bool:
        """End the thread; false when it hangs."""
        self._glib.idle_add(self._loop.quit)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

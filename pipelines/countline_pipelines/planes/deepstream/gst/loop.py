"""The thread of GLib's main loop. It always runs, and all changes of pipelines happen in it.

The watchdog of nvurisrcbin is a timer of the default main context: without a loop there, no camera reconnects. Adding
or removing a source from a streaming thread would dead-lock.
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
        """Queue work for the thread; it runs in the order of submission."""
        future: concurrent.futures.Future[_Result] = concurrent.futures.Future()

        def do() -> bool:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001  (the future hands it to its owner)
                    future.set_exception(error)
            return bool(self._glib.SOURCE_REMOVE)

        self._glib.idle_add(do, priority=self._glib.PRIORITY_DEFAULT)
        return future

    async def run(self, work: Callable[[], _Result], timeout_s: float = WORK_S) -> _Result:
        """Run work in the thread and wait for its result.

        Raises:
            DeadlineExceededError: a plugin hangs.
        """
        future = asyncio.wrap_future(self.submit(work))
        try:
            # `wait_for` swallows a cancellation that arrives together with the result, before Python 3.12: a camera
            # that is removed at that moment would run for ever.
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"GStreamer does not answer within {timeout_s:g} s; a plugin hangs", hint="restart the worker"
            ) from error

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False if it hangs."""
        self._glib.idle_add(self._loop.quit)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

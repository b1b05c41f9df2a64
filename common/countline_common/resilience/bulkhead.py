"""Bulkhead: how many calls to one dependency run and wait at most, so that a slow one cannot take all of a process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from countline_common.errors import ResourceExhaustedError

AGAIN_S: Final = 1.0


class Bulkhead:
    """Places for calls to one dependency, given in the order of arrival.

    Args:
        name: of the dependency, for errors.
        calls: calls that run at the same time.
        waiting: calls that wait for a place; one more is refused at once.
    """

    def __init__(self, name: str, calls: int, waiting: int) -> None:
        self._name = name
        self._calls = calls
        self._most_waiting = waiting
        self._places = asyncio.Semaphore(calls)
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self, within_s: float) -> AsyncIterator[None]:
        """Hold a place during the block.

        Args:
            within_s: how long to wait for it.

        Raises:
            ResourceExhaustedError: too many calls wait, or no place became free in time.
        """
        if not self._places.locked():
            await self._places.acquire()  # returns at once
        else:
            await self._wait(within_s)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()

    async def _wait(self, within_s: float) -> None:
        if self.waiting >= self._most_waiting:
            raise self._full(f"{self._calls} calls run and {self.waiting} wait")
        self.waiting += 1
        try:
            async with asyncio.timeout(within_s):
                await self._places.acquire()
        except TimeoutError:
            raise self._full(f"{self._calls} calls run, and none ended within {within_s:.3g} s") from None
        finally:
            self.waiting -= 1

    def _full(self, why: str) -> ResourceExhaustedError:
        return ResourceExhaustedError(
            f"too many calls to {self._name} at once: {why}",
            hint="try again in some seconds, or make fewer requests at the same time",
            retry_after_s=AGAIN_S,
        )

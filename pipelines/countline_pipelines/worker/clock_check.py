"""Compares this machine's clock with that of NATS, and reports a difference."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import nats.errors

from countline_common.logs import get_logger
from countline_pipelines import metrics
from countline_pipelines.sources.wall_clock import WallClock, steady_s

CHECK_EVERY_S: Final = 10.0
SLOWEST_S: Final = 0.5
"""An answer that takes longer says too little about the moment of its time."""
_log = get_logger(__name__)


class ClockCheck:
    """Keeps a wall clock in step with NATS.

    Args:
        clock: the clock to keep.
        ask: returns an answer of JetStream with its time; waits for a connection.
    """

    def __init__(self, clock: WallClock, ask: Callable[[], Awaitable[bytes]]) -> None:
        self._clock = clock
        self._ask = ask
        self._was_off = False
        self.checked = asyncio.Event()
        """Set after the first comparison."""

    async def run(self) -> None:
        """Compare every few seconds, until cancelled."""
        while True:
            try:
                await self.check()
            except (nats.errors.Error, OSError, TimeoutError, ValueError, LookupError) as error:
                _log.debug("clock.unknown", error=str(error) or type(error).__name__)
            await asyncio.sleep(CHECK_EVERY_S)

    async def check(self) -> None:
        """Compare once.

        Raises:
            ValueError, LookupError: the answer has no time.
        """
        asked_at = steady_s()
        answer = await self._ask()
        answered_at = steady_s()
        server_t = server_time(answer)
        if answered_at - asked_at > SLOWEST_S and self.checked.is_set():
            return
        self._clock.observe(server_t, (asked_at + answered_at) / 2)
        metrics.CLOCK_OFFSET.set(self._clock.offset_s)
        self._report()
        self.checked.set()

    def _report(self) -> None:
        if self._clock.is_off == self._was_off:
            return
        self._was_off = self._clock.is_off
        if self._was_off:
            hint = "synchronise this machine's clock (NTP); until then capture times are those of NATS"
            _log.warning("clock.off", offset_s=round(self._clock.offset_s, 3), local_time=time.ctime(), hint=hint)
        else:
            _log.info("clock.right", offset_s=round(self._clock.offset_s, 3))


def server_time(answer: bytes) -> float:
    """Return the time of the server in an answer of JetStream, Unix seconds.

    Raises:
        ValueError, LookupError: it has none.
    """
    return datetime.fromisoformat(json.loads(answer)["ts"]).timestamp()

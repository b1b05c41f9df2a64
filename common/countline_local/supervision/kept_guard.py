"""The guard of a supervisor: a guard process that is started again if it dies."""

import asyncio
from collections.abc import Callable
from typing import Final

from countline_common.resilience.retry import Backoff
from countline_local.supervision.guard_client import GuardClient
from countline_local.supervision.part import PartEvent
from countline_local.supervision.state_files import says_full

FIRST_RESTART_S: Final = 0.5
LONGEST_RESTART_S: Final = 30.0


class KeptGuard:
    """Keeps a guard process alive.

    Args:
        make: makes a guard that is not open yet; called again if one is killed.
        on_event: called with deaths of the guard.
    """

    def __init__(self, make: Callable[[], GuardClient], on_event: Callable[[PartEvent], None]) -> None:
        self._make = make
        self._on_event = on_event
        self.client = make()
        """The present guard; after a death, another one."""
        self.ready = asyncio.Event()
        """Set while the guard takes orders."""

    async def keep(self) -> None:
        """Start the guard, and start a new one after each death; never returns."""
        backoff = Backoff(FIRST_RESTART_S, LONGEST_RESTART_S, jitter=0.0)
        while True:
            try:
                await self.client.open()
            except OSError as error:
                wait_s = backoff.next_s()
                reason = f"the guard process cannot be started: {says_full(error)}; it is tried again in {wait_s:.1f} s"
                self._on_event(PartEvent("guard", reason))
                await asyncio.sleep(wait_s)
                continue
            backoff.reset()
            self.ready.set()
            await self.client.died()
            self.ready.clear()
            self._on_event(PartEvent("guard", "the guard process died, and the parts with it; restarting it"))
            await self.client.close()
            self.client = self._make()

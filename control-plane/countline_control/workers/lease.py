"""The right to schedule: exactly one copy of the service of workers holds it.

The lease is one row of the database. Its number grows each time another copy takes it, and its beats grow while the
holder works. A copy that sees neither grow for `FREE_AFTER_S`, on its own monotonic clock, takes the lease. Wall clocks
play no part.

The number is a fence: each transaction of the schedule renews the lease under the number of its copy, and PostgreSQL
refuses it if another copy has taken the lease since. So a copy that was paused writes nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.database import is_away
from countline_common.errors import UnavailableError
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_control.database import Database
from countline_control.workers import lease_store
from countline_control.workers.lease_store import StoredLease

BEAT_S: Final = 1.0
LOOK_S: Final = 0.5
"""How often a copy without the lease looks at it."""
HELD_FOR_S: Final = 4.0
"""A holder whose last beat is older does nothing until it knows that the lease is still its own."""
FREE_AFTER_S: Final = 5.0
"""Longer than `HELD_FOR_S`: a holder stops before another copy begins."""
QUERY_TIMEOUT_S: Final = 3.0

HELD: Final = Gauge("countline_schedule_held", "1 while this process holds the right to schedule")

_log = get_logger(__name__)


class LeaseLostError(UnavailableError):
    """Another copy has taken the lease: what was to be written is refused."""


@dataclass(slots=True)
class LeaseWatch:
    """Decides when a lease that another copy holds is free. Pure."""

    _seen: tuple[int, int] | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)

    def is_free(self, lease: StoredLease, now: float) -> bool:
        """Whether the lease, as it is stored at `now` (monotonic seconds), can be taken."""
        if (lease.number, lease.beats) != self._seen:
            self._seen, self._since = (lease.number, lease.beats), now
        return lease.is_released or now - self._since >= FREE_AFTER_S

    def forget(self) -> None:
        """Begin to watch anew: the database did not answer, so the holder could not beat either."""
        self._seen = None


class SchedulingLease:
    """Takes the lease when it is free, and keeps it.

    Args:
        database: holds the schema `workers`.
        address: returns the address at which other copies reach the service of workers of this one.
        clock: monotonic seconds.
    """

    def __init__(
        self, database: Database, address: Callable[[], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._address = address
        self._clock = clock
        self._until = float("-inf")
        self._watch = LeaseWatch()
        self._has_looked = False
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self.number = 0
        """Under which this copy holds the lease; 0 if it does not."""
        self.seen: StoredLease | None = None
        """The lease as it was stored last; None before the first look."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when this copy gets or loses the lease."""

    @property
    def is_certain(self) -> bool:
        """Whether no other copy can hold the lease now."""
        return bool(self.number) and self._clock() < self._until

    @property
    def holder(self) -> StoredLease | None:
        """The lease of another copy that holds it; None if none does."""
        seen = self.seen
        return seen if not self.number and seen is not None and seen.number and not seen.is_released else None

    def described(self) -> str:
        """Return who schedules, for people."""
        if self.number:
            return f"this copy schedules (number {self.number})"
        holder = self.holder
        return f"{holder.address} schedules (number {holder.number})" if holder else "no copy schedules"

    async def moved(self, number: int) -> None:
        """Wait until the lease has another number."""
        while self.seen is None or self.seen.number == number:
            await self._changed.wait()

    async def run(self) -> None:
        """Take and keep the lease until `stop` is called; then release it."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(QUERY_TIMEOUT_S):
                    await (self._beat() if self.number else self._look())
            except Exception as error:  # noqa: BLE001  (no error may end the one task that keeps the lease)
                if not isinstance(error, LeaseLostError | TimeoutError) and not is_away(error):
                    _log.error("schedule.lease_fault", exc_info=error)
            await happens(self._stopping, BEAT_S if self.number else LOOK_S)
        if self.number:
            with contextlib.suppress(Exception):  # the database is away: the lease ends by itself
                async with asyncio.timeout(QUERY_TIMEOUT_S), self._database.begin() as connection:
                    await lease_store.release(connection, self.number)

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    @asynccontextmanager
    async def begin(self, number: int) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is committed only if this copy holds the lease under a number.

        Raises:
            LeaseLostError: another copy has taken the lease.
        """
        began = self._clock()
        async with self._database.begin() as connection:
            if not await lease_store.beat(connection, number):
                self._lose(number)
                raise LeaseLostError("another copy of the control-plane schedules now", hint="connect again")
            yield connection
        self._renewed(number, began)

    async def _beat(self) -> None:
        async with self.begin(self.number):
            pass

    async def _look(self) -> None:
        try:
            seen = await self._database.read(lease_store.read)
        except BaseException:
            self._watch.forget()
            raise
        # At the first look, a lease under our own address is that of a process that has ended: we have its port.
        is_ours = not self._has_looked and seen.address == self._address()
        self._has_looked = True
        self._see(seen)
        if not is_ours and not self._watch.is_free(seen, self._clock()):
            return
        began = self._clock()
        async with self._database.begin() as connection:
            taken = await lease_store.take(connection, seen, self._address())
        if taken is not None:
            self.number = taken.number
            self._renewed(taken.number, began)
            self._see(taken)
            HELD.set(1)
            _log.info("schedule.lease_taken", number=taken.number, address=taken.address, before=seen.address)
            self.on_change()

    def _renewed(self, number: int, began: float) -> None:
        if number == self.number:
            self._until = max(self._until, began + HELD_FOR_S)

    def _lose(self, number: int) -> None:
        if number != self.number:
            return
        self.number, self._until, self.seen = 0, float("-inf"), None
        HELD.set(0)
        _log.warning("schedule.lease_lost", number=number)
        self.on_change()

    def _see(self, seen: StoredLease) -> None:
        if self.seen is None or self.seen.number != seen.number:
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
        self.seen = seen

"""Stores the workers of the registry, so that the next process, or another copy, knows them."""

import time
from typing import Final

from countline_common.data.database import is_away
from countline_common.logs import get_logger
from countline_control.workers import store
from countline_control.workers.fleet import Fleet
from countline_control.workers.lease import LeaseLostError, SchedulingLease

FORGET_PERIOD_S: Final = 3600.0

_log = get_logger(__name__)


class WorkerRows:
    """Keeps the rows of workers in step with the fleet.

    Args:
        lease: its number is carried by each write.
        fleet: knows the workers.
    """

    def __init__(self, lease: SchedulingLease, fleet: Fleet) -> None:
        self._lease = lease
        self._fleet = fleet
        self._forgot_at = time.monotonic()
        self._unsaved: set[str] = set()

    def changed(self, worker_id: str) -> None:
        """Note that a worker has to be stored."""
        self._unsaved.add(worker_id)

    def reset(self) -> None:
        """Forget what has to be stored: the rows are read anew."""
        self._unsaved.clear()

    async def save(self, number: int) -> None:
        """Store what has changed under a number of the lease; delete workers that are long gone.

        Raises:
            LeaseLostError: another copy has taken the lease.
        """
        unsaved, self._unsaved = self._unsaved, set()
        gone = set()
        if time.monotonic() - self._forgot_at > FORGET_PERIOD_S:
            gone, self._forgot_at = self._fleet.forget_long_gone(), time.monotonic()
        for worker_id in sorted(unsaved - gone):
            await self._save_one(number, worker_id)
        if gone:
            async with self._lease.begin(number) as connection:
                await store.forget_workers(connection, gone)

    async def _save_one(self, number: int, worker_id: str) -> None:
        """Save one worker. A row that the database refuses is logged, and stops no other worker."""
        record = self._fleet.registry.get(worker_id)
        if record is None:
            return  # it was known under an earlier number only
        try:
            async with self._lease.begin(number) as connection:
                await store.save_worker(connection, record.stored())
        except Exception as error:
            if is_away(error) or isinstance(error, LeaseLostError):
                self._unsaved.add(worker_id)
                raise
            _log.error("worker.not_saved", worker_id=worker_id, exc_info=error)

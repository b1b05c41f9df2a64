"""Stores what the schedule decides, under the number of its lease, and then tells the fleet."""

import time
from dataclasses import replace
from typing import Final

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.audit.calls import SYSTEM
from countline_common.data.outbox import Outbox
from countline_common.logs import get_logger
from countline_common.times import to_datetime
from countline_control.workers import store
from countline_control.workers.domain import Holder
from countline_control.workers.fleet import Fleet
from countline_control.workers.lease import SchedulingLease
from countline_control.workers.messages import worker_message
from countline_control.workers.placement import store as placement_store
from countline_control.workers.placement.plan import AssignmentPlan

ASSIGNED: Final = Counter("countline_assignments_total", "Cameras given to workers")
DRAIN_LOST: Final = Counter("countline_drain_coverage_lost_seconds_total", "Coverage lost while drains moved cameras")
AGGREGATE: Final = "worker"
"""Word of the events of workers."""

_log = get_logger(__name__)


class PlacementWriter:
    """Carries out plans.

    Args:
        lease: its number is carried by each write.
        fleet: takes over what is stored.
        outbox: events of workers leave through it.
    """

    def __init__(self, lease: SchedulingLease, fleet: Fleet, outbox: Outbox) -> None:
        self._lease = lease
        self._fleet = fleet
        self._outbox = outbox
        self._cordons_are_sure = False

    def doubt_cordons(self) -> None:
        """Note that a write of cordons may or may not have reached the database: read them again."""
        self._cordons_are_sure = False

    async def load_cordons(self, connection: AsyncConnection) -> None:
        """Read the cordons and the moves of drains."""
        cordons, moves = await placement_store.all_cordons(connection), await placement_store.all_moves(connection)
        self._fleet.cordons.seed(cordons, moves)
        self._cordons_are_sure = True

    async def ensure_cordons(self, number: int) -> None:
        """Read the cordons again if a write of them has failed.

        Raises:
            LeaseLostError: another copy has taken the lease.
        """
        if not self._cordons_are_sure:
            async with self._lease.begin(number) as connection:
                await self.load_cordons(connection)

    async def write_finished(self, number: int) -> None:
        """Store which files have ended, and forget those that are to be played again."""
        done, outdated = self._fleet.newly_finished(), self._fleet.outdated_finished()
        if not done and not outdated:
            return
        now = to_datetime(time.time())
        async with self._lease.begin(number) as connection:
            await store.forget_finished(connection, outdated)
            for camera_id, finished in done.items():
                await store.save_finished(connection, camera_id, finished, now)
        self._fleet.note_finished(done, outdated)
        for camera_id in done:
            _log.info("camera.finished", camera_id=camera_id)

    async def follow(self, number: int, plan: AssignmentPlan) -> None:
        """Store a plan, and what it moves for drains."""
        if plan.is_empty:
            return
        now = to_datetime(time.time())
        # A worker's process may be replaced while the database works: store the process that the plan is about.
        wanted = self._fleet.placement.wanted_holders(plan, self._fleet.held)
        given: dict[str, Holder] = {}
        async with self._lease.begin(number) as connection:
            await store.release(connection, plan.released)
            for camera_id, holder in sorted(wanted.items()):
                once = self._fleet.plays_once(camera_id)
                given[camera_id] = await store.give(connection, camera_id, holder, once=once, now=now)
            moves = self._fleet.cordons.moves_of(given, self._fleet.held)
            await placement_store.save_moves(connection, moves)
        self._fleet.cordons.moved(moves)
        self._fleet.apply(given, plan.released)
        ASSIGNED.inc(len(given))
        for camera_id, holder in given.items():
            _log.info(
                "camera.assigned",
                camera_id=camera_id,
                worker_id=holder.worker_id,
                epoch=holder.epoch,
                cause=holder.cause.value,
            )
        for camera_id in sorted(plan.released):
            _log.info("camera.released", camera_id=camera_id)

    async def note_drains(self, number: int) -> None:
        """Store which moved cameras are counted again, and which drains have ended."""
        book = self._fleet.cordons
        counted, drained = book.unsaved(), book.newly_drained(self._fleet.held)
        if not counted and not drained:
            return
        async with self._lease.begin(number) as connection:
            await placement_store.complete_moves(connection, counted)
            for cordon in drained:
                await placement_store.save_cordon(connection, cordon)
                if (view := self._fleet.worker(cordon.worker_id)) is not None:
                    message = worker_message(replace(view, cordon=cordon))
                    await self._outbox.add(connection, AGGREGATE, "drained", SYSTEM, message)
        book.saved(counted)
        for cordon in drained:
            book.put(cordon, keep_moves=True)
            _log.info("worker.drained", worker_id=cordon.worker_id)
        for move in counted:
            DRAIN_LOST.inc(move.lost_s)
            _log.info("camera.moved", camera_id=move.camera_id, worker_id=move.worker_id, lost_s=round(move.lost_s, 3))

"""Cordons, drains and uncordons workers as people ask for it."""

import time
from dataclasses import replace

from countline.v1 import workers_pb2
from countline_common.data.outbox import Outbox
from countline_common.errors import NotFoundError
from countline_common.grpc.calls import current_principal
from countline_common.logs import get_logger
from countline_control.workers.domain import Cordon, WorkerView
from countline_control.workers.fleet import Fleet
from countline_control.workers.messages import worker_message
from countline_control.workers.placement import store
from countline_control.workers.placement.cordons import check_reason
from countline_control.workers.placement.writing import AGGREGATE
from countline_control.workers.schedule import Schedule

_log = get_logger(__name__)


class PlacementOrders:
    """Carries out what people ask. Each change is one transaction, with its event and its audit row.

    Args:
        schedule: waits while a change is made.
        fleet: takes over what is stored.
        outbox: of the schema `workers`.
    """

    def __init__(self, schedule: Schedule, fleet: Fleet, outbox: Outbox) -> None:
        self._schedule = schedule
        self._fleet = fleet
        self._outbox = outbox

    async def cordon(self, worker_id: str, reason: str, *, drains: bool, at_once: bool = False) -> WorkerView:
        """Keep new cameras away from a worker; with `drains`, move its cameras to others too.

        Asked again with the same reason, it changes nothing: a drain that has ended does not begin anew.

        Raises:
            NotFoundError: there is no such worker.
            InvalidInputError: the reason is too long.
            UnavailableError: this copy of the control-plane does not schedule.
        """
        reason = reason.strip()
        check_reason(reason)
        wanted = Cordon(worker_id, drains, reason, current_principal().real_name, time.time(), at_once)
        async with self._schedule.deciding():
            before = self._known(worker_id)
            if before.cordon is not None and _asks_the_same(before.cordon, wanted):
                return before
            after = replace(before, cordon=wanted)
            async with self._schedule.change_cordons() as connection:
                await store.save_cordon(connection, wanted)
                await store.delete_moves(connection, worker_id)
                await self._outbox.add(
                    connection, AGGREGATE, "draining" if drains else "cordoned", wanted.by, worker_message(after)
                )
                await self._outbox.record(
                    connection, f"workers/{worker_id}", before=_audited(before), after=_audited(after)
                )
            self._fleet.cordons.put(wanted, keep_moves=False)
        _log.info("worker.cordoned", worker_id=worker_id, actor=wanted.by, drains=drains, at_once=at_once)
        return after

    async def uncordon(self, worker_id: str) -> WorkerView:
        """Let a worker get new cameras again.

        Raises:
            NotFoundError: there is no such worker.
            UnavailableError: this copy of the control-plane does not schedule.
        """
        async with self._schedule.deciding():
            before = self._known(worker_id)
            if before.cordon is None:
                return before
            after, actor = replace(before, cordon=None), current_principal().real_name
            async with self._schedule.change_cordons() as connection:
                await store.delete_cordon(connection, worker_id)
                await store.delete_moves(connection, worker_id)
                await self._outbox.add(connection, AGGREGATE, "uncordoned", actor, worker_message(after))
                await self._outbox.record(
                    connection, f"workers/{worker_id}", before=_audited(before), after=_audited(after)
                )
            self._fleet.cordons.remove(worker_id)
        _log.info("worker.uncordoned", worker_id=worker_id, actor=actor)
        return after

    def _known(self, worker_id: str) -> WorkerView:
        found = self._fleet.worker(worker_id)
        if found is None:
            raise no_worker(worker_id)
        return found


def no_worker(worker_id: str) -> NotFoundError:
    """Build the error for a worker that is unknown."""
    return NotFoundError(f"there is no worker {worker_id!r}", hint="list the workers: countline workers list")


def _asks_the_same(present: Cordon, wanted: Cordon) -> bool:
    asked = (wanted.drains, wanted.reason, wanted.at_once)
    return (present.drains, present.reason, present.at_once) == asked


def _audited(view: WorkerView) -> workers_pb2.Worker:
    """Return the part of a worker that a person changes."""
    return workers_pb2.Worker(worker_id=view.worker_id, cordon=worker_message(view).cordon if view.cordon else None)

"""The gRPC service of workers: one stream for each worker, and the observations of cameras.

A worker that closes its side of the stream leaves: its cameras may move at once. A worker whose connection breaks keeps
them until its lease expires.
"""
# ruff: noqa: N802  (names and arguments of the methods are gRPC's)

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from countline.v1 import workers_pb2, workers_pb2_grpc
from countline.v1.workers_pb2 import ConnectRequest, ConnectResponse
from countline_common.audit.calls import AuditTrail
from countline_common.errors import CountlineError, InvalidInputError, PermissionDeniedError, UnavailableError
from countline_common.grpc.calls import Context, current_principal
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_control.workers import messages
from countline_control.workers.domain import CameraReport, WorkerReport
from countline_control.workers.fleet import Fleet
from countline_control.workers.forwarding import CLOSE_SETTLES_S, Forwarding, no_holder
from countline_control.workers.lease import LOOK_S, SchedulingLease
from countline_control.workers.placement.methods import PlacementMethods
from countline_control.workers.placement.orders import PlacementOrders
from countline_control.workers.registry import replaced
from countline_control.workers.schedule import Schedule
from countline_control.workers.streams import WorkerStream

NAME: Final = "countline.v1.WorkerService"
INTRODUCTION_TIMEOUT_S: Final = 10.0
LOADING_PATIENCE_S: Final = 5.0

_log = get_logger(__name__)


class WorkerService(PlacementMethods):
    """Answers `countline.v1.WorkerService`.

    Args:
        fleet: workers and cameras.
        schedule: directs workers while this copy holds the lease.
        lease: the right to schedule.
        forwarding: passes calls on while another copy holds it.
        orders: changes cordons.
        trail: completes the audit rows of calls.
    """

    def __init__(
        self,
        fleet: Fleet,
        schedule: Schedule,
        lease: SchedulingLease,
        forwarding: Forwarding,
        orders: PlacementOrders,
        trail: AuditTrail,
    ) -> None:
        super().__init__(fleet, orders, lease, forwarding)
        self._schedule = schedule
        self._trail = trail

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(
            NAME,
            lambda server: workers_pb2_grpc.add_WorkerServiceServicer_to_server(self, server),
            self._check,
            trail=self._trail,
        )

    def end_streams(self) -> None:
        """End every worker's stream; workers connect again as soon as a server answers."""
        self._schedule.streams.end_all(UnavailableError("the control-plane is stopping", hint="connect again"))

    async def Connect(
        self, request_iterator: AsyncIterator[ConnectRequest], context: Context
    ) -> AsyncIterator[ConnectResponse]:
        requests = aiter(request_iterator)
        if await self._is_elsewhere(context):
            async with contextlib.aclosing(self._forwarding.connect(requests, context)) as responses:
                async for response in responses:
                    yield response
            return
        stream = await self._open(requests)
        reader = asyncio.create_task(self._read(stream, requests), name=f"reports of {stream.worker_id}")
        try:
            while (assignments := await stream.next()) is not None:
                yield messages.directions(assignments, self._fleet.registry.lease_s)
            await asyncio.sleep(CLOSE_SETTLES_S)
            self._fleet.registry.end_lease(stream.worker_id, stream.instance)
            _log.info("worker.left", worker_id=stream.worker_id, instance=stream.instance)
        finally:
            self._schedule.closed(stream)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            _log.info("worker.disconnected", worker_id=stream.worker_id, instance=stream.instance)

    async def ListWorkers(
        self, request: workers_pb2.ListWorkersRequest, context: Context
    ) -> workers_pb2.ListWorkersResponse:
        wanted = page(request.page_size, request.page_token)
        if await self._is_elsewhere(context):
            return await self._forwarding.call(context, lambda stub, how: stub.ListWorkers(request, **how))
        found = [worker for worker in self._fleet.workers() if worker.worker_id > wanted.after]
        token = next_token(found[wanted.size - 1].worker_id) if len(found) > wanted.size else ""
        shown = [messages.worker_message(worker) for worker in found[: wanted.size]]
        scheduler = messages.scheduler_message(self._lease.seen)
        return workers_pb2.ListWorkersResponse(workers=shown, next_page_token=token, scheduler=scheduler)

    async def ListCameraObservations(
        self, request: workers_pb2.ListCameraObservationsRequest, context: Context
    ) -> workers_pb2.ListCameraObservationsResponse:
        if await self._is_elsewhere(context):
            return await self._forwarding.call(context, lambda stub, how: stub.ListCameraObservations(request, **how))
        camera_ids = list(request.camera_ids) or self._fleet.camera_ids()
        observations = await self._schedule.observations(camera_ids)
        reports = [
            CameraReport(camera_id, self._fleet.epoch_of(camera_id), status)
            for camera_id, status in sorted(observations.items())
        ]
        shown = [messages.camera_report_message(report) for report in reports]
        return workers_pb2.ListCameraObservationsResponse(cameras=shown)

    async def _check(self) -> None:
        if not self._schedule.loaded.is_set() and self._lease.holder is None:
            raise _loading()

    async def _is_elsewhere(self, context: Context) -> bool:
        """Whether another copy answers a call; wait for some seconds until one of them can.

        Raises:
            UnavailableError: none can.
        """
        until = time.monotonic() + LOADING_PATIENCE_S
        while not self._schedule.loaded.is_set():
            if self._forwarding.applies(context):
                return True
            if self._forwarding.was_forwarded(context) or time.monotonic() > until:
                raise _loading()
            await happens(self._schedule.loaded, LOOK_S)
        return False

    async def _open(self, requests: AsyncIterator[ConnectRequest]) -> WorkerStream:
        """Wait for a worker's first report and register the worker."""
        try:
            async with asyncio.timeout(INTRODUCTION_TIMEOUT_S):
                first = messages.report_of(await anext(requests))
        except (TimeoutError, StopAsyncIteration) as error:
            raise InvalidInputError("the worker sent no report", hint="send a report at once") from error
        _check_name(first.worker_id)
        if not self._schedule.loaded.is_set():
            raise no_holder()  # another copy took the lease meanwhile
        record = self._fleet.registry.introduce(first)
        self._end_older_stream(first)
        self._fleet.report(first)
        stream = WorkerStream(record.worker_id, record.instance)
        self._schedule.opened(stream)
        _log.info(
            "worker.connected",
            worker_id=record.worker_id,
            instance=record.instance,
            backend=record.backend,
            capacity=record.capacity,
            version=record.version,
        )
        return stream

    def _end_older_stream(self, first: WorkerReport) -> None:
        older = self._schedule.streams.of(first.worker_id)
        if older is None:
            return
        if older.instance == first.instance:
            older.end(UnavailableError("this worker has connected again", hint="use the newer stream"))
        else:
            older.end(replaced(first.worker_id))

    async def _read(self, stream: WorkerStream, requests: AsyncIterator[ConnectRequest]) -> None:
        try:
            async for request in requests:
                self._take(stream, messages.report_of(request))
        except CountlineError as error:
            stream.end(error)
        else:
            stream.end()

    def _take(self, stream: WorkerStream, report: WorkerReport) -> None:
        if (report.worker_id, report.instance) != (stream.worker_id, stream.instance):
            raise InvalidInputError(
                f"the stream of {stream.worker_id!r} carries a report of {report.worker_id[:80]!r}",
                hint="open one stream for each process",
            )
        if self._fleet.report(report):
            self._schedule.wake()


def _loading() -> UnavailableError:
    return UnavailableError("assignments are still being loaded", hint="try again in some seconds")


def _check_name(worker_id: str) -> None:
    """Check that a worker reports under the name that its key was made for: it is sent passwords of cameras.

    Raises:
        PermissionDeniedError: the key is that of another worker.
    """
    principal = current_principal()
    # A signed token names the worker as its subject; a key belongs to the service account with the worker's name.
    name = principal.name if principal.key_id else principal.subject
    if worker_id != name:
        raise PermissionDeniedError(
            f"the key of {name!r} does not fit the worker {worker_id[:80]!r}",
            hint="give each worker a key of its own: countline service-accounts add NAME --role worker --with-key",
        )

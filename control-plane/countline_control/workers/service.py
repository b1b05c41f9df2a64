"""The gRPC service of workers: one stream for each, and what they say for whoever asks.

A worker that closes its side of the stream says goodbye: its cameras may move at once. One that is cut off keeps them
until its lease runs out.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from countline.v1 import workers_pb2, workers_pb2_grpc
from countline.v1.workers_pb2 import CameraReport, ConnectRequest, ConnectResponse
from countline_common.errors import CountlineError, InvalidInputError, UnavailableError
from countline_common.grpc.calls import Context
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_control.workers.fleet import Fleet, replaced
from countline_control.workers.schedule import Schedule, Session

NAME: Final = "countline.v1.WorkerService"
INTRODUCTION_TIMEOUT_S: Final = 10.0
LOADING_PATIENCE_S: Final = 5.0
CLOSE_SETTLES_S: Final = 0.1
"""A connection that breaks may look for a moment like a side that was closed on purpose."""

_log = get_logger(__name__)


class WorkerService(workers_pb2_grpc.WorkerServiceServicer):
    """Answers `countline.v1.WorkerService`."""

    def __init__(self, fleet: Fleet, schedule: Schedule) -> None:
        self._fleet = fleet
        self._schedule = schedule

    def as_service(self) -> Service:
        """How a server serves it."""
        return Service(
            NAME,
            lambda server: workers_pb2_grpc.add_WorkerServiceServicer_to_server(self, server),
            self._check,
        )

    def end_streams(self) -> None:
        """End every worker's stream; they connect again as soon as somebody answers."""
        self._schedule.end_all(UnavailableError("the control-plane is stopping", hint="connect again"))

    async def Connect(
        self, request_iterator: AsyncIterator[ConnectRequest], context: Context
    ) -> AsyncIterator[ConnectResponse]:
        await self._wait_until_loaded()
        requests = aiter(request_iterator)
        session = await self._open(requests)
        reader = asyncio.create_task(self._read(session, requests), name=f"reports of {session.worker_id}")
        try:
            while (response := await session.next()) is not None:
                yield response
            await asyncio.sleep(CLOSE_SETTLES_S)
            self._fleet.end_lease(session.worker_id, session.instance)
            _log.info("worker.left", worker_id=session.worker_id, instance=session.instance)
        finally:
            self._schedule.closed(session)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            _log.info("worker.disconnected", worker_id=session.worker_id, instance=session.instance)

    async def ListWorkers(
        self, request: workers_pb2.ListWorkersRequest, context: Context
    ) -> workers_pb2.ListWorkersResponse:
        await self._check()
        wanted = page(request.page_size, request.page_token)
        found = [worker for worker in self._fleet.workers() if worker.worker_id > wanted.after]
        token = next_token(found[wanted.size - 1].worker_id) if len(found) > wanted.size else ""
        return workers_pb2.ListWorkersResponse(workers=found[: wanted.size], next_page_token=token)

    async def ListCameraStatuses(
        self, request: workers_pb2.ListCameraStatusesRequest, context: Context
    ) -> workers_pb2.ListCameraStatusesResponse:
        await self._check()
        camera_ids = list(request.camera_ids) or self._fleet.camera_ids()
        statuses = await self._schedule.statuses(camera_ids)
        return workers_pb2.ListCameraStatusesResponse(
            cameras=[
                CameraReport(camera_id=camera_id, epoch=self._fleet.epoch_of(camera_id), status=status)
                for camera_id, status in sorted(statuses.items())
            ]
        )

    async def _check(self) -> None:
        if not self._schedule.loaded.is_set():
            raise UnavailableError("who holds which camera is still being read", hint="try again in some seconds")

    async def _wait_until_loaded(self) -> None:
        await happens(self._schedule.loaded, LOADING_PATIENCE_S)
        await self._check()

    async def _open(self, requests: AsyncIterator[ConnectRequest]) -> Session:
        try:
            async with asyncio.timeout(INTRODUCTION_TIMEOUT_S):
                first = await anext(requests)
        except (TimeoutError, StopAsyncIteration) as error:
            raise InvalidInputError("the worker did not say who it is", hint="send a report at once") from error
        record = self._fleet.introduce(first)
        self._end_older_stream(first)
        self._fleet.report(first)
        session = Session(record.worker_id, record.instance, self._fleet.lease_s)
        self._schedule.opened(session)
        _log.info(
            "worker.connected",
            worker_id=record.worker_id,
            instance=record.instance,
            backend=record.backend,
            capacity=record.capacity,
            version=record.version,
        )
        return session

    def _end_older_stream(self, first: ConnectRequest) -> None:
        older = self._schedule.session_of(first.worker_id)
        if older is None:
            return
        if older.instance == first.instance:
            older.end(UnavailableError("this worker has connected again", hint="use the newer stream"))
        else:
            older.end(replaced(first.worker_id))

    async def _read(self, session: Session, requests: AsyncIterator[ConnectRequest]) -> None:
        try:
            async for request in requests:
                self._take(session, request)
        except CountlineError as error:
            session.end(error)
        else:
            session.end()

    def _take(self, session: Session, request: ConnectRequest) -> None:
        if (request.worker_id, request.instance) != (session.worker_id, session.instance):
            raise InvalidInputError(
                f"a stream of {session.worker_id!r} speaks for {request.worker_id[:80]!r}",
                hint="open one stream for each process",
            )
        if self._fleet.report(request):
            self._schedule.wake()

"""The worker process: `Worker.__init__` builds all parts, `run` starts them in order, `_shut_down` stops them in order.

Stopping (SIGTERM, SIGINT) takes at most five seconds: sources stop, frames in flight are counted, live cameras decide
their open events, and the last records are committed to the spool. Records that JetStream acknowledges at once are
deleted; the others are sent after the next start. A finite file that is interrupted decides nothing: the next start
counts it again, from its first frame, with the same ids.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import Coroutine, Sequence
from importlib.metadata import version
from typing import Any, Final

from countline.v1 import workers_pb2
from countline_common.administration.current import CurrentSettings
from countline_common.administration.levels import follow_level, level_base
from countline_common.data import bus
from countline_common.data.part_feeds import PartFeeds, RunningPart
from countline_common.errors import CountlineError, ResourceExhaustedError
from countline_common.http.health import HealthServer
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_common.waiting import happens
from countline_pipelines import metrics
from countline_pipelines.planes.interface import CameraPlan, CameraState, fault_of
from countline_pipelines.publishing.publisher import Publisher
from countline_pipelines.publishing.spool import Spool
from countline_pipelines.publishing.writer import SpoolWriter
from countline_pipelines.sources.wall_clock import WALL
from countline_pipelines.triton.slots import remove_stale_slots
from countline_pipelines.worker.agent import Agent
from countline_pipelines.worker.assignments import Ownership, counting_key
from countline_pipelines.worker.bus_link import BusLink
from countline_pipelines.worker.clock_check import ClockCheck
from countline_pipelines.worker.desired import DesiredCameras
from countline_pipelines.worker.pictures import PictureEncoder
from countline_pipelines.worker.planes import make_plane
from countline_pipelines.worker.reports import StateTimes, camera_report, signature
from countline_pipelines.worker.settings import WorkerSettings
from countline_pipelines.worker.sink import WorkerSink
from countline_pipelines.worker.stored_files import StoredFiles

WATCH_S: Final = 5.0
LOOK_EVERY_S: Final = 0.2
"""A change of a camera's state is reported within this time."""
STATUS_EVERY_S: Final = 1.0
CLOCK_PATIENCE_S: Final = 2.0
REFUSED_EVERY_S: Final = 10.0
"""The worker looks this often whether refused cameras can be counted now."""
FLUSH_S: Final = 1.0
"""Length of one wait for the disk: short, because a stopping worker cannot interrupt it."""
PLANE_STOP_S: Final = 2.5
SPOOL_STOP_S: Final = 1.0
DRAIN_S: Final = 0.5
LEAVE_S: Final = 0.4
_log = get_logger(__name__)


async def run_worker(settings: WorkerSettings) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    stale = remove_stale_slots()
    if stale:
        _log.info("slots.removed", segments=stale)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Worker(settings).run(stop)


class Worker:
    """One worker; created and run on an event loop."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings.checked()
        self._loop = asyncio.get_running_loop()
        self._instance = secrets.token_hex(8)
        self._version = version("countline")
        self._spool = Spool(settings.spool_folder, max_bytes=settings.spool_max_bytes)
        self._link = BusLink(settings.nats_url, f"worker {settings.worker_name}", self._watch, settings.tls)
        self._publisher = Publisher(self._spool, self._link.jetstream, self._link.ensure_streams)
        self._writer = SpoolWriter(self._spool, self._publisher.notify, self._pressed)
        self._pictures = PictureEncoder(lambda camera, data: self._link.send_lossy(bus.preview_subject(camera), data))
        self._owners: dict[str, Ownership] = {}
        sink = WorkerSink(
            settings.worker_name,
            self._writer,
            self._owners,
            lambda camera, data: self._link.send_lossy(bus.live_subject(camera), data),
            self._pictures,
        )
        self._plane = make_plane(settings, sink, self._camera_ended)
        self._stored = StoredFiles(self._spool)
        self._desired = DesiredCameras(
            self._plane, settings.spool_folder, settings.default_model, self._owners, self._stored
        )
        self._clock_check = ClockCheck(WALL, self._link.stream_info)
        self._agent = Agent(settings.workers_address, settings.token, self._report, self._apply, settings.tls)
        self._errands: set[asyncio.Task[None]] = set()
        self._state_times = StateTimes()
        self._checks = {"bus": self._link.check, "control-plane": self._agent.check, "spool": self._check_spool}
        current = CurrentSettings(level_base("worker"))
        follow_level("worker", current)
        part = RunningPart("worker", settings.worker_name, self._checks)
        self._feeds = PartFeeds(part, "worker", lambda: self._link.current_jetstream, current)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set or a part of the worker fails."""
        self._plane.start()
        self._writer.start()  # it may pause the plane at once
        async with HealthServer(self._settings.health_address, self._checks) as health:
            _log.info("worker.started", worker=self._settings.worker_name, health_port=health.port)
            tasks = [
                self._loop.create_task(work, name=name)
                for name, work in {
                    "link": self._link.run(),
                    "feeds of the part": self._feeds.run(),
                    "publisher": self._publisher.run(),
                    "agent": self._agent.run(),
                    "clock": self._clock_check.run(),
                    "statuses": self._send_statuses(),
                    "refused": self._retry_refused(),
                    "stored": self._stored.run(),
                }.items()
            ]
            stopped = self._loop.create_task(stop.wait(), name="stop")
            done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await self._shut_down(tasks)
            for task in done - {stopped}:
                task.result()  # a part that ended by itself has failed: raise its error

    def _watch(self, camera_id: str) -> None:
        self._plane.watch(camera_id, time.monotonic() + WATCH_S)

    def _pressed(self, error: CountlineError | None) -> None:
        """Pause the plane if the spool has no room, else resume it; called from the writer's thread."""
        if error is None:
            self._plane.resume()
        else:
            full = isinstance(error, ResourceExhaustedError)
            self._plane.pause(fault_of(error, "spool_full" if full else "spool_broken"))

    def _camera_ended(self, plan: CameraPlan, state: CameraState) -> None:
        """Mark a finite file that was counted to its end; called from the plane's thread."""
        if state is CameraState.FINISHED:
            self._loop.call_soon_threadsafe(self._spawn, self._mark_finished(plan))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _mark_finished(self, plan: CameraPlan) -> None:
        """Mark a file once its last record is on disk, however long that takes, and wait until NATS stores it."""
        while not await asyncio.to_thread(self._writer.flushed, FLUSH_S):
            continue
        self._stored.expect(counting_key(plan))
        backoff = Backoff()
        while True:
            try:
                await asyncio.to_thread(self._desired.mark_finished, plan)
            except OSError as error:
                _log.warning("camera.not_marked", camera=plan.camera_id, error=str(error))
                await asyncio.sleep(backoff.next_s())
            else:
                return

    async def _apply(self, assignments: Sequence[workers_pb2.Assignment]) -> None:
        """Hold the assigned cameras. The first ones wait a moment for the comparison of clocks, which dates them."""
        await happens(self._clock_check.checked, CLOCK_PATIENCE_S)
        self._clock_check.checked.set()
        await self._desired.apply(assignments)

    def _report(self) -> workers_pb2.ConnectRequest:
        name, now = self._settings.worker_name, WALL.now()
        held = self._desired.conditions()
        since = self._state_times.update({camera_id: c.state for camera_id, (_, c) in held.items()}, now)
        return workers_pb2.ConnectRequest(
            worker_id=name,
            instance=self._instance,
            backend=self._settings.backend.value,
            capacity=self._settings.capacity,
            cameras=[
                camera_report(camera_id, epoch, name, c, now, since[camera_id])
                for camera_id, (epoch, c) in held.items()
            ],
            version=self._version,
            spool_bytes=self._spool.waiting_bytes,
            clock_offset_s=WALL.offset_s,
        )

    async def _check_spool(self) -> None:
        if self._writer.under_pressure:
            raise ResourceExhaustedError("the spool is full; cameras are paused")

    async def _send_statuses(self) -> None:
        """Publish every camera's status once a second; report to the control-plane at once when a state changes."""
        known: object = None
        sent_at = 0.0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            held = self._desired.conditions()
            now_known = signature({camera_id: condition for camera_id, (_, condition) in held.items()})
            if now_known != known:
                known, sent_at = now_known, 0.0
                self._agent.notify()
            if time.monotonic() - sent_at >= STATUS_EVERY_S:
                sent_at = time.monotonic()
                for report in self._report().cameras:
                    self._link.send_lossy(bus.status_subject(report.camera_id), report.SerializeToString())
                metrics.SPOOL_BYTES.set(self._spool.used_bytes)
                metrics.SPOOL_RECORDS.set(self._spool.waiting)

    async def _retry_refused(self) -> None:
        while True:
            await asyncio.sleep(REFUSED_EVERY_S)
            await self._desired.retry_refused()

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        _log.info("worker.stopping")
        await asyncio.to_thread(self._plane.close, PLANE_STOP_S)
        await asyncio.to_thread(self._writer.close, SPOOL_STOP_S)
        await self._agent.leave(LEAVE_S)
        drained = await self._publisher.drained(DRAIN_S if self._link.is_connected else 0.0)
        await cancel(*tasks, *self._errands)
        await self._link.close()
        self._pictures.close(DRAIN_S)
        waiting = self._spool.waiting
        self._spool.close()
        _log.info("worker.stopped", everything_acknowledged=drained, records_in_spool=waiting)

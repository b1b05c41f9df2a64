"""Keeps one pipeline alive: for one version of a model, for cameras or for files.

    DOWN --Triton ready, files written, it plays--> PLAYING --failed--> torn down --pause--> DOWN ...

Each camera has a task that keeps its source open, however often the pipeline under it is made anew:

    wait for PLAYING -> new pad, source opened --ended--> a finite file: finished; a stream: again, after a pause
                                               --failed--> again: soon where it may pass, else after a long pause
                                               --the pipeline failed--> wait for the next one

A pad's index is never used twice within a pipeline's life: whatever an element keeps by it (totals, targets) belongs to
one opening of one camera. When the indices run out, the pipeline is made anew.

All on the plane's event loop; GStreamer is changed in the main loop's thread, one change at a time.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tasks import to_its_end
from countline_common.triton import ModelInfo
from countline_common.waiting import happens
from countline_pipelines import metrics
from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable
from countline_pipelines.planes.deepstream.config.files import PipelineFiles, write_files
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.planes.deepstream.gst.library import PipelineError, Runtime
from countline_pipelines.planes.deepstream.gst.loop import MainLoop
from countline_pipelines.planes.deepstream.gst.pipeline import Pipeline, SourceTrouble
from countline_pipelines.planes.deepstream.gst.sources import Gate
from countline_pipelines.planes.interface import CameraState, Fault, OnEnd, fault_of
from countline_pipelines.sources import SourceError, SourceFailure
from countline_pipelines.sources.errors import CURABLE_BY_WAITING

MOST_INDICES: Final = 4096
"""Openings of sources in one pipeline's life. The muxer states no bound; what elements keep by index is never freed."""
BATCHES_WAITING: Final = 8
"""That came out and are not counted yet: then files wait, and of cameras the batch is dropped, and told as such."""
DRAIN_S: Final = 0.5
"""How long frames that are inside are waited for when a camera is taken out."""
BUS_S: Final = 1.0
LOOK_S: Final = 0.02
STALL_S: Final = 30.0
"""A pipeline into which frames go, and out of which nothing comes for so long, has failed without a word: the plugin
waits for Triton without a deadline."""
RETRY_FAILED_S: Final = 30.0
WELL_AFTER_S: Final = 5.0
"""A pipeline that played for so long was a good one: the next follows soon."""
_log = get_logger(__name__)


class Over(StrEnum):
    """Why a source is over."""

    ENDED = "ended"
    FAILED = "failed"
    PIPELINE = "pipeline"


@dataclass(slots=True)
class _Open:
    """One opening of a camera's source."""

    camera: DeepStreamCamera
    pipeline: Pipeline
    index: int
    """Of that pipeline; in the next one it means another opening."""
    gate: Gate
    over: "asyncio.Future[Over]"
    trouble: SourceTrouble | None = None
    drained: asyncio.Event | None = None
    """Set when the last frame that was inside has come out, where somebody waits for that."""


class PipelineKeeper:
    """See the module.

    Args:
        runtime, main_loop: of GStreamer.
        options: of the plane.
        model: what cameras asked for, as Triton answered it.
        triton: its address.
        folder: for the pipeline's files.
        ready: has Triton load the model; raises where it does not answer.
        on_end: see `OnEnd`.
        live: for cameras, not files.
    """

    def __init__(
        self,
        runtime: Runtime,
        main_loop: MainLoop,
        options: PipelineOptions,
        model: ModelInfo,
        triton: str,
        folder: Path,
        ready: Callable[[str], Awaitable[ModelInfo]],
        on_end: OnEnd,
        *,
        live: bool,
        most_indices: int = MOST_INDICES,
    ) -> None:
        self._runtime, self._main, self._options = runtime, main_loop, options
        self.info, self.live = model, live
        self._triton, self._folder = triton, folder
        self._ready, self._on_end = ready, on_end
        self._most_indices = most_indices
        self._loop = asyncio.get_running_loop()
        self._pipeline: Pipeline | None = None
        self._bridge: _Bridge | None = None
        self._files = PipelineFiles(folder)
        self._next_index = 0
        self._open: dict[int, _Open] = {}
        self._cameras: dict[str, asyncio.Task[None]] = {}
        self._playing = asyncio.Event()
        self._failed = asyncio.Event()
        self._changing = asyncio.Lock()
        self.trouble: Fault | None = None
        """Why it does not play."""
        self._came_out_at = 0.0
        self._batch_frames = metrics.BATCH_FRAMES.labels(model.name)
        self._task = self._loop.create_task(self._keep(), name=f"pipeline-{model.ref}")

    # The pipeline ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                await self._play_until_it_fails()
            except CountlineError as error:
                self.trouble = fault_of(error)
                _log.warning("pipeline.not_started", model=str(self.info.ref), error=error.message, hint=error.hint)
            except Exception as error:  # noqa: BLE001  (the task's last resort: a pipeline must not die without a word)
                _log.exception("pipeline.crashed")
                self.trouble = fault_of(error)
            if time.monotonic() - began > WELL_AFTER_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _play_until_it_fails(self) -> None:
        try:
            await self._start()
            await self._failed.wait()
        finally:
            await self._tear_down()

    async def _start(self) -> None:
        self.info = await self._ready(str(self.info.ref))
        self._files = await asyncio.to_thread(write_files, self._folder, self.info, self._triton, self._options)
        self._failed.clear()
        bridge = self._bridge = _Bridge(self, self._loop, waits=not self.live)
        async with self._changing:
            await self._main.run(lambda: self._play(bridge))
            self._next_index = 0
        self.trouble = None
        self._came_out_at = time.monotonic()
        self._playing.set()
        _log.info("pipeline.playing", model=str(self.info.ref), live=self.live, folder=str(self._folder))

    def _play(self, bridge: "_Bridge") -> None:
        """In the main loop's thread, where the pipeline is made and ended: whoever waits for it may be cancelled."""
        pipeline = Pipeline(self._runtime, self._options, self._files, self.info, bridge, live=self.live)
        pipeline.play()
        self._pipeline = pipeline

    def _end(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()

    async def _tear_down(self) -> None:
        self._playing.clear()
        async with self._changing:
            if self._bridge is not None:
                self._bridge.end()
                self._bridge = None
            for each in self._open.values():
                each.gate.stop()
                _conclude(each, Over.PIPELINE)
            await self._main.run(self._end)

    def pipeline_failed(self, detail: str) -> None:
        """The pipeline stopped by itself."""
        _log.warning("pipeline.failed", model=str(self.info.ref), detail=detail)
        self.trouble = Fault("pipeline", detail, "it is made anew by itself; see Triton's log")
        self._playing.clear()
        self._failed.set()

    def look_for_stall(self, now: float) -> None:
        """Once a second: end a pipeline that takes frames and gives none."""
        if not self._playing.is_set() or now - self._came_out_at < STALL_S:
            return
        if any(each.gate.passage.last_entered_at > self._came_out_at for each in self._open.values()):
            self.pipeline_failed(f"no batch came out for {now - self._came_out_at:.0f} s; does Triton hang?")

    async def close(self) -> None:
        """Take every camera out, and end the pipeline."""
        for camera_id in list(self._cameras):
            await self.remove(camera_id)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # Cameras ---------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether it plays for no camera; files that are finished need it no more."""
        return len(self) == 0

    def __len__(self) -> int:
        return sum(not task.done() for task in self._cameras.values())

    def add(self, camera: DeepStreamCamera) -> None:
        """Keep a camera's source open from now on."""
        name = f"camera-{camera.camera_id}"
        self._cameras[camera.camera_id] = self._loop.create_task(self._hold(camera), name=name)

    async def remove(self, camera_id: str) -> None:
        """Close a camera's source; what is inside is counted, and what is open decided, except of a finite file."""
        task = self._cameras.pop(camera_id, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _hold(self, camera: DeepStreamCamera) -> None:
        backoff = Backoff()
        try:
            while camera.state is not CameraState.FINISHED:
                try:
                    await asyncio.sleep(await self._play_source(camera, backoff))
                except CountlineError as error:  # a plugin hangs
                    _log.warning("camera.not_opened", camera=camera.camera_id, error=error.message)
                    camera.lost(CameraState.FAILED, fault_of(error))
                    await to_its_end(self._close_all(camera, drain=False))
                    await asyncio.sleep(RETRY_FAILED_S)
                except Exception as error:  # noqa: BLE001  (the task's last resort: a camera must not end without a word)
                    _log.exception("camera.keeper_failed", camera=camera.camera_id)
                    camera.lost(CameraState.FAILED, fault_of(error))
                    await asyncio.sleep(RETRY_FAILED_S)
        finally:
            await self._leave(camera)

    async def _play_source(self, camera: DeepStreamCamera, backoff: Backoff) -> float:
        """Open a camera's source and wait until it is over; returns how long to wait before the next attempt."""
        await self._playing.wait()
        opened = await self._open_source(camera)
        if opened is None:
            return backoff.next_s()
        why = await asyncio.shield(opened.over)
        # Broken off, it would leave the source in the pipeline: `_leave` finds nothing to close any more.
        await to_its_end(self._close_source(opened, drain=False))
        if why is Over.ENDED and camera.is_finite:
            camera.finished()
            self._on_end(camera.plan, camera.state)
            return 0.0
        camera.closed(decide=not camera.is_finite)
        return self._note_over(camera, opened, why, backoff)

    async def _leave(self, camera: DeepStreamCamera) -> None:
        """The task ends: the camera was taken out, or is finished."""
        try:
            await self._close_all(camera, drain=True)
        finally:
            if camera.state is not CameraState.FINISHED:
                camera.closed(decide=not camera.is_finite)

    async def _close_all(self, camera: DeepStreamCamera, *, drain: bool) -> None:
        try:
            for opened in [each for each in self._open.values() if each.camera is camera]:
                await self._close_source(opened, drain=drain)
        except CountlineError as error:  # a plugin hangs; what was counted is told all the same
            _log.warning("camera.not_closed", camera=camera.camera_id, error=error.message)

    def _note_over(self, camera: DeepStreamCamera, opened: _Open, why: Over, backoff: Backoff) -> float:
        """Say why there are no pictures; returns how long to wait before the next attempt."""
        if why is Over.PIPELINE:
            camera.lost(CameraState.RECONNECTING, self.trouble or _REBUILT)
            return 0.0
        trouble = opened.trouble or SourceTrouble(SourceFailure.UNREACHABLE, "the stream ended")
        passing = trouble.failure in CURABLE_BY_WAITING and not camera.is_finite
        error = SourceError(trouble.failure, camera.plan.source.label, trouble.detail)
        camera.lost(CameraState.RECONNECTING if passing else CameraState.FAILED, fault_of(error))
        _log.warning("source.failed", camera=camera.camera_id, failure=trouble.failure.value, error=error.message)
        if opened.gate.passage.entered:
            backoff.reset()
        return backoff.next_s() if passing else RETRY_FAILED_S

    async def _open_source(self, camera: DeepStreamCamera) -> _Open | None:
        """Open a camera's source on a new pad; None where the pipeline went away meanwhile or refuses it."""
        async with self._changing:
            pipeline = self._pipeline
            if pipeline is None or not self._playing.is_set():
                return None
            if self._next_index >= self._most_indices:
                self.pipeline_failed("every index of a pad was used once; the pipeline begins anew")
                return None
            index, self._next_index = self._next_index, self._next_index + 1
            gate = Gate(camera.plan.source)
            opened = _Open(camera, pipeline, index, gate, self._loop.create_future())
            self._open[index] = opened
            camera.opened(gate)
            try:
                await self._main.run(lambda: pipeline.add_source(index, camera.plan.source, gate))
            except PipelineError as error:
                # What exactly is wrong is on its way over the bus, and comes first.
                trouble = SourceTrouble(SourceFailure.UNREACHABLE, error.message)
                self._loop.call_later(BUS_S, _conclude, opened, Over.FAILED, trouble)
        return opened

    async def _close_source(self, opened: _Open, *, drain: bool) -> None:
        """Take a source out of its pipeline, if that still is the one that plays; forget it in any case."""
        try:
            if self._pipeline is opened.pipeline:
                await self._main.run(lambda: opened.pipeline.stop_source(opened.index))
                if drain and self._playing.is_set():
                    await self._drain(opened)
            async with self._changing:
                if self._pipeline is opened.pipeline:
                    await self._main.run(lambda: opened.pipeline.remove_source(opened.index))
            await self._end_preview(opened.gate)
        finally:
            if self._open.get(opened.index) is opened:
                del self._open[opened.index]

    async def _drain(self, opened: _Open) -> None:
        if opened.gate.passage.inside:
            opened.drained = asyncio.Event()
            await happens(opened.drained, DRAIN_S)  # else the muxer holds them back: they are given up

    # What the pipeline says ------------------------------------------------------------------------------------------

    def frames(self, tables: list[FrameTable]) -> None:
        """A batch came out."""
        self._came_out_at = time.monotonic()
        self._batch_frames.observe(len(tables))
        for table in tables:
            opened = self._open.get(table.index)
            if opened is None:
                continue
            opened.camera.take(table)
            if opened.drained is not None and not opened.gate.passage.inside:
                opened.drained.set()

    def source_over(self, index: int, why: Over, trouble: SourceTrouble | None) -> None:
        """A source ended or failed."""
        opened = self._open.get(index)
        if opened is not None:
            _conclude(opened, why, trouble)

    def source_waits(self, index: int, detail: str) -> None:
        """A source is being connected again by itself."""
        opened = self._open.get(index)
        if opened is not None:
            error = SourceError(SourceFailure.TIMED_OUT, opened.camera.plan.source.label, detail)
            opened.camera.lost(CameraState.RECONNECTING, fault_of(error))

    # Previews --------------------------------------------------------------------------------------------------------

    async def look_after_previews(self) -> None:
        """Begin and end previews as they are watched."""
        now = time.monotonic()
        for opened in list(self._open.values()):
            watched, gate = opened.camera.is_watched(now), opened.gate
            if watched and gate.preview is None and self._pipeline is not None:
                await self._begin_preview(opened, self._pipeline)
            elif not watched and gate.preview is not None:
                await self._end_preview(gate)

    async def _begin_preview(self, opened: _Open, pipeline: Pipeline) -> None:
        name = opened.camera.camera_id
        opened.gate.preview = await self._main.run(lambda: pipeline.begin_preview(opened.index, name))
        if self._open.get(opened.index) is not opened:  # it was closed meanwhile
            await self._end_preview(opened.gate)

    async def _end_preview(self, gate: Gate) -> None:
        preview, gate.preview = gate.preview, None
        if preview is not None:
            await self._main.run(preview.close)


_REBUILT: Final = Fault("pipeline", "the pipeline is being made anew", "nothing; it plays again in a moment")


def _conclude(opened: _Open, why: Over, trouble: SourceTrouble | None = None) -> None:
    """The first reason counts."""
    if not opened.over.done():
        opened.trouble = trouble
        opened.over.set_result(why)


class _Bridge:
    """From GStreamer's threads to the plane's event loop; see `pipeline.Listener`.

    Of one pipeline: what it says after it was given up is not heard, for its indices mean other cameras by then.
    """

    def __init__(self, keeper: PipelineKeeper, loop: asyncio.AbstractEventLoop, *, waits: bool) -> None:
        self._keeper = keeper
        self._loop = loop
        self._waits = waits
        self._room = threading.Semaphore(BATCHES_WAITING)
        self._over = threading.Event()

    def end(self) -> None:
        """Hear nothing more, and hold up nobody."""
        self._over.set()

    def batch(self, tables: list[FrameTable]) -> None:
        # A batch that is left out is told with each camera's next frame: its passage misses those before it.
        if self._has_room():
            self._post(self._frames, tables)

    def _has_room(self) -> bool:
        if not self._waits:
            return self._room.acquire(blocking=False)
        while not self._over.is_set():
            if self._room.acquire(timeout=LOOK_S):
                return True
        return False

    def _frames(self, tables: list[FrameTable]) -> None:
        self._room.release()
        self._keeper.frames(tables)

    def source_ended(self, index: int) -> None:
        self._post(self._keeper.source_over, index, Over.ENDED, None)

    def source_failed(self, index: int, trouble: SourceTrouble) -> None:
        self._post(self._keeper.source_over, index, Over.FAILED, trouble)

    def source_waits(self, index: int, detail: str) -> None:
        self._post(self._keeper.source_waits, index, detail)

    def pipeline_failed(self, detail: str) -> None:
        self._post(self._keeper.pipeline_failed, detail)

    def _post(self, what: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._hear, what, args)
        except RuntimeError:  # the loop is closed: the plane has ended
            self._over.set()

    def _hear(self, what: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self._over.is_set():
            what(*args)

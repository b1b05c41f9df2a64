"""The DeepStream plane: cameras and pipelines, on an event loop in a thread of its own.

A camera belongs to the pipeline of its model's version; one whose model changes moves to another, with a new run.
Cameras and files never share a pipeline: a file that waits for us would hold the cameras up.

nvurisrcbin connects one source of the whole process again every three seconds. A switch that goes down with a hundred
cameras behind it costs a process five minutes, so a process takes `most_live` cameras and no more, and says from
`warn_live` on what an outage will cost; more cameras need more workers on the same GPU.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from countline_common.errors import CountlineError, ResourceExhaustedError
from countline_common.logs import get_logger
from countline_common.triton import ModelInfo, ModelRef
from countline_pipelines.backoff import Backoff
from countline_pipelines.deepstream import metrics
from countline_pipelines.deepstream.camera import DeepStreamCamera
from countline_pipelines.deepstream.facts import RESET_THROTTLE_S
from countline_pipelines.deepstream.gst import Runtime
from countline_pipelines.deepstream.keeper import MOST_INDICES, PipelineKeeper
from countline_pipelines.deepstream.loop import MainLoop
from countline_pipelines.deepstream.properties import PipelineOptions
from countline_pipelines.plane import CameraCondition, CameraPlan, CameraState, Fault, PlaneSink, fault_of
from countline_pipelines.triton import InferenceClient

TICK_S: Final = 1.0
RETRY_MODEL_S: Final = 10.0
RETRY_CRASHED_S: Final = 10.0
WARN_LIVE: Final = 20
MOST_LIVE: Final = 100
_log = get_logger(__name__)

Connect = Callable[[], Awaitable[InferenceClient]]


@dataclass(frozen=True, slots=True)
class DeepStreamOptions:
    """How a plane runs."""

    pipeline: PipelineOptions
    triton: str
    """host:port of its gRPC service, as nvinferserver reaches it."""
    folder: Path
    """For the files of pipelines."""
    warn_live: int = WARN_LIVE
    most_live: int = MOST_LIVE
    """RTSP cameras of one process."""
    most_indices: int = MOST_INDICES


@dataclass(slots=True)
class _Held:
    """A camera that the plane holds: what is wanted of it, and what there is."""

    wanted: CameraPlan | None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    plan: CameraPlan | None = None
    camera: DeepStreamCamera | None = None
    pipeline: PipelineKeeper | None = None
    fault: Fault | None = None
    """Why there is no camera though one is wanted, or why the last change could not be made."""
    task: asyncio.Task[None] | None = None
    watched_until: float = 0.0
    is_live: bool = False
    """It was let in as one of the RTSP cameras."""


class DeepStreamPlane:
    """See `countline_pipelines.plane.Plane`.

    Args:
        runtime: GStreamer and pyds; see `checks.require_runtime`.
        connect: makes the client that has Triton load models; called on the plane's loop.
        sink: whom to tell.
        options: how to run.
        on_end: called from the plane's thread when a camera's source is over.
    """

    def __init__(
        self,
        runtime: Runtime,
        connect: Connect,
        sink: PlaneSink,
        options: DeepStreamOptions,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._runtime = runtime
        self._connect = connect
        self._sink = sink
        self._options = options
        self._on_end = on_end
        self._main = MainLoop(runtime.glib)
        self._loop = asyncio.new_event_loop()
        self._client: InferenceClient | None = None
        self._held: dict[str, _Held] = {}
        self._pipelines: dict[tuple[ModelRef, bool], PipelineKeeper] = {}
        self._opening = asyncio.Lock()
        self._closing = False
        self._paused: Fault | None = None
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="plane", daemon=True)

    def start(self) -> None:
        """Start the plane's threads."""
        self._main.start()
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        while not self._stopping.is_set():
            now = self._loop.time()
            for held in list(self._held.values()):
                self._look_after(held, now)
            for pipeline in list(self._pipelines.values()):
                pipeline.look_for_stall(now)
                await self._look_after_previews(pipeline)
            if not self._opening.locked():
                await self._end_idle()
            metrics.observe_gpu(self._options.pipeline.gpu)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_S)
        await self._shut_down()

    async def _look_after_previews(self, pipeline: PipelineKeeper) -> None:
        try:
            await pipeline.look_after_previews()
        except CountlineError as error:
            _log.warning("preview.not_started", error=error.message)

    def _look_after(self, held: _Held, now: float) -> None:
        if held.camera is None:
            return
        held.camera.tick(now)
        if held.camera.crashed and held.plan is not None:
            # Made anew, but not at once: it may happen again.
            held.plan = None
            self._loop.call_later(RETRY_CRASHED_S, held.changed.set)

    # Plane -----------------------------------------------------------------------------------------------------------

    def add_camera(self, plan: CameraPlan) -> None:
        """See `Plane.add_camera`."""
        self.update_camera(plan)

    def update_camera(self, plan: CameraPlan) -> None:
        """See `Plane.update_camera`."""
        self._post(lambda: self._want(plan.camera_id, plan))

    def remove_camera(self, camera_id: str) -> None:
        """See `Plane.remove_camera`."""
        self._post(lambda: self._want(camera_id, None))

    def conditions(self) -> dict[str, CameraCondition]:
        """See `Plane.conditions`."""
        return {camera_id: _condition(held) for camera_id, held in list(self._held.items()) if held.wanted is not None}

    def watch(self, camera_id: str, until: float) -> None:
        """See `Plane.watch`."""
        self._post(lambda: self._watch(camera_id, until))

    def _watch(self, camera_id: str, until: float) -> None:
        held = self._held.get(camera_id)
        if held is not None:
            held.watched_until = until
            if held.camera is not None:
                held.camera.watch(until)

    def pause(self, fault: Fault) -> None:
        """See `Plane.pause`."""
        self._post(lambda: self._set_paused(fault))

    def resume(self) -> None:
        """See `Plane.resume`."""
        self._post(lambda: self._set_paused(None))

    def _set_paused(self, fault: Fault | None) -> None:
        self._paused = fault
        for held in self._held.values():
            if held.camera is not None:
                _apply_pause(held.camera, fault)

    def close(self, timeout_s: float) -> None:
        """See `Plane.close`."""
        self._post(self._stopping.set)
        self._thread.join(timeout_s)
        if not self._main.stop(timeout_s):
            _log.error("glib.hangs")

    def _post(self, work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the plane has ended
            self._loop.call_soon_threadsafe(work)

    # On the event loop -----------------------------------------------------------------------------------------------

    def _want(self, camera_id: str, plan: CameraPlan | None) -> None:
        if self._closing:
            return
        held = self._held.get(camera_id)
        if held is None:
            if plan is None:
                return
            held = self._held[camera_id] = _Held(plan)
            held.task = self._loop.create_task(self._keep(camera_id, held), name=f"held-{camera_id}")
        held.wanted = plan
        held.changed.set()

    async def _keep(self, camera_id: str, held: _Held) -> None:
        """Bring what there is to what is wanted, again and again, until nothing is wanted."""
        backoff = Backoff(longest_s=RETRY_MODEL_S)
        while True:
            held.changed.clear()
            if held.wanted is None:
                await self._take_out(held)
                if held.wanted is None:  # else it is wanted again meanwhile
                    del self._held[camera_id]
                    await self._end_idle()
                    return
            retry_s = await self._attempt(camera_id, held, held.wanted, backoff)
            with suppress(TimeoutError):
                await asyncio.wait_for(held.changed.wait(), retry_s)

    async def _attempt(self, camera_id: str, held: _Held, plan: CameraPlan, backoff: Backoff) -> float | None:
        """Bring a camera to its plan; returns after how long to try again, None where that is not needed."""
        try:
            await self._bring_to(held, plan)
        except CountlineError as error:
            held.fault = fault_of(error)
            _log.warning("camera.not_started", camera=camera_id, error=error.message, cure=error.cure)
            return backoff.next_s()
        except Exception as error:  # noqa: BLE001  (the task's last resort: a camera must not be left without one)
            _log.exception("camera.keeper_failed", camera=camera_id)
            held.fault = fault_of(error)
            return RETRY_CRASHED_S
        finally:
            await self._end_idle()
        backoff.reset()
        return None

    async def _bring_to(self, held: _Held, plan: CameraPlan) -> None:
        if held.camera is not None and held.plan is not None and _goes_on(held.plan, plan):
            held.camera.reconfigure(plan.counting)
            held.plan, held.fault = plan, None
            if held.pipeline is not None:
                await held.pipeline.tell_analytics()
            return
        await self._take_out(held)
        self._check_room(held, plan)
        pipeline = await self._pipeline_for(plan)
        camera = DeepStreamCamera(plan, pipeline.info, self._sink)
        camera.watch(held.watched_until)
        _apply_pause(camera, self._paused)
        held.plan, held.camera, held.pipeline, held.fault = plan, camera, pipeline, None
        pipeline.add(camera)

    def _check_room(self, held: _Held, plan: CameraPlan) -> None:
        if not plan.source.is_rtsp:
            return
        others = sum(each.is_live for each in self._held.values())
        if others >= self._options.most_live:
            raise ResourceExhaustedError(
                f"this process holds {others} RTSP cameras; an outage of all would take "
                f"{others * RESET_THROTTLE_S / 60:.0f} minutes to mend",
                cure="start another worker on this GPU",
            )
        held.is_live = True
        if others + 1 >= self._options.warn_live:
            _log.warning("cameras.many", cameras=others + 1, outage_mended_after_s=(others + 1) * RESET_THROTTLE_S)

    async def _take_out(self, held: _Held) -> None:
        camera, pipeline = held.camera, held.pipeline
        held.camera = held.pipeline = held.plan = None
        held.is_live = False
        if camera is not None and pipeline is not None:
            await pipeline.remove(camera.camera_id)

    async def _end_idle(self) -> None:
        """End pipelines without a camera; not before a camera that changed is in its place, which may be the same."""
        async with self._opening:
            for key, pipeline in list(self._pipelines.items()):
                if pipeline.is_idle:
                    del self._pipelines[key]
                    await pipeline.close()

    async def _pipeline_for(self, plan: CameraPlan) -> PipelineKeeper:
        async with self._opening:
            info = await self._ready(plan.model)
            key = info.ref, not plan.source.playback.is_finite
            pipeline = self._pipelines.get(key)
            if pipeline is None:
                pipeline = self._pipelines[key] = self._new_pipeline(info, live=key[1])
        if len(pipeline) >= self._options.pipeline.capacity:
            raise ResourceExhaustedError(
                f"the pipeline of {info.ref} holds {len(pipeline)} cameras, which is its batch",
                cure="raise COUNTLINE_CAPACITY, or start another worker",
            )
        return pipeline

    def _new_pipeline(self, info: ModelInfo, *, live: bool) -> PipelineKeeper:
        options = self._options
        folder = options.folder / f"{info.name}-{info.version}-{'live' if live else 'files'}"
        return PipelineKeeper(
            self._runtime,
            self._main,
            options.pipeline,
            info,
            options.triton,
            folder,
            self._ready,
            self._on_end,
            live=live,
            most_indices=options.most_indices,
        )

    async def _ready(self, model: str) -> ModelInfo:
        if self._client is None:
            self._client = await self._connect()
        return await self._client.load(model)

    async def _shut_down(self) -> None:
        self._closing = True
        for held in self._held.values():
            held.wanted = None
            held.changed.set()
        tasks = [held.task for held in self._held.values() if held.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        for pipeline in self._pipelines.values():
            await pipeline.close()
        if self._client is not None:
            await self._client.close()


def _goes_on(running: CameraPlan, wanted: CameraPlan) -> bool:
    """Whether a camera goes on with what it has open; lines and zones of a live one change while it runs.

    A finite file is counted anew from its first frame for a new line, so that it counts the whole of it. For another
    model it is not: under another name, everything would be counted again. It is counted to its end with the old one.
    """
    same = (running.source, running.epoch) == (wanted.source, wanted.epoch)
    if running.source.playback.is_finite:
        return same and running.counting == wanted.counting
    return same and running.model == wanted.model


def _apply_pause(camera: DeepStreamCamera, fault: Fault | None) -> None:
    if fault is None:
        camera.resume()
    else:
        camera.pause(fault)


def _condition(held: _Held) -> CameraCondition:
    if held.camera is None:
        lost = held.fault is None or held.fault.code in {"unavailable", "deadline_exceeded"}
        return CameraCondition(state=CameraState.STARTING if lost else CameraState.FAILED, fault=held.fault)
    condition = held.camera.condition()
    pipeline_fault = held.pipeline.trouble if held.pipeline is not None else None
    if pipeline_fault is not None and condition.state is not CameraState.FINISHED:
        # What is wrong with the pipeline is what is wrong with each of its cameras.
        state = CameraState.RECONNECTING if condition.frames_processed else CameraState.STARTING
        return replace(condition, state=state, fault=pipeline_fault)
    return condition if held.fault is None else replace(condition, fault=held.fault)

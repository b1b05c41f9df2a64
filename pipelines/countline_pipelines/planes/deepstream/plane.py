"""The DeepStream plane: cameras, and pipelines in which they play; see `keeping` for what it shares.

A camera belongs to the pipeline of its model's version; one whose model changes moves to another, with a new run.
Cameras and files never share a pipeline: a file that waits for us would hold the cameras up.

nvurisrcbin connects one source of the whole process again every three seconds. A switch that goes down with a hundred
cameras behind it costs a process five minutes, so a process takes `most_live` cameras and no more, and says from
`warn_live` on what an outage will cost; more cameras need more workers on the same GPU.
"""

import asyncio
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from countline_common.errors import CountlineError, ResourceExhaustedError
from countline_common.logs import get_logger
from countline_common.triton import ModelInfo, ModelRef
from countline_pipelines.planes.deepstream import metrics
from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.config.facts import RESET_THROTTLE_S
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.planes.deepstream.gst.library import Runtime
from countline_pipelines.planes.deepstream.gst.loop import MainLoop
from countline_pipelines.planes.deepstream.keeper import MOST_INDICES, PipelineKeeper
from countline_pipelines.planes.held import HeldCamera
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState, OnEnd, PlaneSink
from countline_pipelines.planes.keeping import Connect, KeepingPlane

WARN_LIVE: Final = 20
MOST_LIVE: Final = 100
_log = get_logger(__name__)


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


class DeepStreamPlane(KeepingPlane[DeepStreamCamera]):
    """See `countline_pipelines.planes.interface.Plane`.

    Args:
        runtime: GStreamer and pyds; see `checks.require_runtime`.
        connect: makes the client that has Triton load models; called on the plane's loop.
        sink: whom to tell.
        options: how to run.
        on_end: see `OnEnd`.
    """

    def __init__(
        self,
        runtime: Runtime,
        connect: Connect,
        sink: PlaneSink,
        options: DeepStreamOptions,
        on_end: OnEnd = lambda *_: None,
    ) -> None:
        super().__init__(connect, on_end)
        self._runtime = runtime
        self._sink = sink
        self._options = options
        self._main = MainLoop(runtime.glib)
        self._pipelines: dict[tuple[ModelRef, bool], PipelineKeeper] = {}
        self._pipeline_of: dict[str, PipelineKeeper] = {}
        """By camera."""
        self._let_in: set[str] = set()
        """RTSP cameras that there is room for."""
        self._opening = asyncio.Lock()
        self._looking: threading.Thread | None = None

    def start(self) -> None:
        """Start the plane's threads."""
        self._main.start()
        super().start()

    def close(self, timeout_s: float) -> None:
        """See `Plane`."""
        super().close(timeout_s)
        if not self._main.stop(timeout_s):
            _log.error("glib.hangs")

    async def _tick(self, now: float) -> None:
        for pipeline in list(self._pipelines.values()):
            pipeline.look_for_stall(now)
            await self._look_after_previews(pipeline)
        if not self._opening.locked():
            await self._end_idle()
        self._look_at_gpu()

    def _look_at_gpu(self) -> None:
        """One look at a time, in a thread that nobody waits for: the driver of a GPU that fails may never answer."""
        if self._looking is None or not self._looking.is_alive():
            gpu = self._options.pipeline.gpu
            self._looking = threading.Thread(target=metrics.observe_gpu, args=(gpu,), name="gpu-metrics", daemon=True)
            self._looking.start()

    async def _look_after_previews(self, pipeline: PipelineKeeper) -> None:
        try:
            await pipeline.look_after_previews()
        except CountlineError as error:
            _log.warning("preview.not_started", error=error.message)

    async def _close_rest(self) -> None:
        for pipeline in self._pipelines.values():
            await pipeline.close()

    # Cameras ---------------------------------------------------------------------------------------------------------

    def _goes_on(self, present: CameraPlan, wanted: CameraPlan) -> bool:
        """Whether a camera goes on with what it has open; lines and zones of a live one change while it runs.

        A finite file is counted anew from its first frame for a new line, so that it counts the whole of it. For
        another model it is not: under another name, everything would be counted again. It is counted to its end with
        the old one.
        """
        same = (present.source, present.epoch) == (wanted.source, wanted.epoch)
        if present.source.playback.is_finite:
            return same and present.counting == wanted.counting
        return same and present.model == wanted.model

    async def _bring(self, held: HeldCamera[DeepStreamCamera], wanted: CameraPlan | None) -> None:
        try:
            await super()._bring(held, wanted)
        finally:
            if held.camera is None:
                self._let_in.discard(held.camera_id)
            await self._end_idle()

    async def _make(self, held: HeldCamera[DeepStreamCamera], plan: CameraPlan) -> DeepStreamCamera:
        self._check_room(plan)
        pipeline = await self._pipeline_for(plan)
        camera = DeepStreamCamera(plan, pipeline.info, self._sink)
        self._pipeline_of[held.camera_id] = pipeline
        return camera

    def _begin(self, camera: DeepStreamCamera) -> None:
        self._pipeline_of[camera.camera_id].add(camera)

    async def _change(self, _: HeldCamera[DeepStreamCamera], camera: DeepStreamCamera, plan: CameraPlan) -> None:
        camera.reconfigure(plan.counting)

    async def _end(self, camera: DeepStreamCamera) -> None:
        await self._pipeline_of.pop(camera.camera_id).remove(camera.camera_id)
        self._let_in.discard(camera.camera_id)

    def _condition(self, held: HeldCamera[DeepStreamCamera]) -> CameraCondition:
        condition, pipeline = super()._condition(held), self._pipeline_of.get(held.camera_id)
        trouble = pipeline.trouble if pipeline is not None else None
        if trouble is None or condition.state is CameraState.FINISHED:
            return condition
        # What is wrong with the pipeline is what is wrong with each of its cameras.
        state = CameraState.RECONNECTING if condition.frames_processed else CameraState.STARTING
        return replace(condition, state=state, fault=trouble)

    # Pipelines -------------------------------------------------------------------------------------------------------

    def _check_room(self, plan: CameraPlan) -> None:
        if not plan.source.is_rtsp:
            return
        others = len(self._let_in)
        if others >= self._options.most_live:
            raise ResourceExhaustedError(
                f"this process holds {others} RTSP cameras; an outage of all would take "
                f"{others * RESET_THROTTLE_S / 60:.0f} minutes to mend",
                hint="start another worker on this GPU",
            )
        self._let_in.add(plan.camera_id)
        if others + 1 >= self._options.warn_live:
            _log.warning("cameras.many", cameras=others + 1, outage_mended_after_s=(others + 1) * RESET_THROTTLE_S)

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
                hint="raise COUNTLINE_CAPACITY, or start another worker",
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
        return await (await self._connected()).load(model)

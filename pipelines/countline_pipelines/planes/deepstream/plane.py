"""The DeepStream plane: cameras, and the pipelines in which they play.

There is one pipeline for each model version, and separate ones for cameras and for files: a file that waits for the
plane would hold cameras up. A camera whose model changes moves to another pipeline and starts a new run.
"""

import asyncio
import threading
from dataclasses import replace

from countline_common.errors import CountlineError, ResourceExhaustedError
from countline_common.logs import get_logger
from countline_common.triton import ModelInfo, ModelRef
from countline_pipelines.metrics import forget_model
from countline_pipelines.planes.deepstream import metrics
from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.config.facts import RESET_THROTTLE_S
from countline_pipelines.planes.deepstream.gst.library import Runtime
from countline_pipelines.planes.deepstream.gst.loop import MainLoop
from countline_pipelines.planes.deepstream.keeper import PipelineKeeper
from countline_pipelines.planes.deepstream.options import DeepStreamOptions
from countline_pipelines.planes.held import HeldCamera
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState, OnEnd, PlaneSink
from countline_pipelines.planes.keeping import Connect, KeepingPlane

_log = get_logger(__name__)


class DeepStreamPlane(KeepingPlane[DeepStreamCamera]):
    """A `Plane` on DeepStream.

    Args:
        runtime: GStreamer and pyds, from `checks.require_runtime`.
        connect: connects the client that makes Triton load models; called on the plane's loop.
        sink: receives runs and counted frames.
        options: how to run.
        on_end: called when the source of a camera is over, or the plane gives up on it.
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
        self._admitted: set[str] = set()
        """RTSP cameras that count against `most_live`."""
        self._opening = asyncio.Lock()
        self._gpu_thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the plane's threads."""
        self._main.start()
        super().start()

    def close(self, timeout_s: float) -> None:
        """Stop every camera and wait for it, up to `timeout_s` for each of the two threads."""
        super().close(timeout_s)
        if not self._main.stop(timeout_s):
            _log.error("glib.hangs")

    async def _tick(self, now: float) -> None:
        for pipeline in list(self._pipelines.values()):
            try:
                await pipeline.tick(now)
            except CountlineError as error:
                _log.warning("preview.not_started", error=error.message)
        if not self._opening.locked():
            await self._close_idle()
        self._observe_gpu()

    def _observe_gpu(self) -> None:
        """Measure the GPU in a thread of its own, one at a time: the driver of a failing GPU may never answer."""
        if self._gpu_thread is None or not self._gpu_thread.is_alive():
            gpu = self._options.pipeline.gpu
            self._gpu_thread = threading.Thread(
                target=metrics.observe_gpu, args=(gpu,), name="gpu-metrics", daemon=True
            )
            self._gpu_thread.start()

    async def _close_rest(self) -> None:
        for pipeline in self._pipelines.values():
            await pipeline.close()

    # Cameras ---------------------------------------------------------------------------------------------------------

    def _goes_on(self, present: CameraPlan, wanted: CameraPlan) -> bool:
        """Whether a camera keeps its source open under another plan. Lines and zones of a live camera change at once.

        A finite file whose lines change is counted again from its first frame, so that a new line counts the whole
        file. If its model changes, it is counted to its end with the old model: another model means another run name,
        which would count everything again.
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
                self._admitted.discard(held.camera_id)
            await self._close_idle()

    async def _make(self, held: HeldCamera[DeepStreamCamera], plan: CameraPlan) -> DeepStreamCamera:
        self._admit(plan)
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
        self._admitted.discard(camera.camera_id)

    def _condition(self, held: HeldCamera[DeepStreamCamera]) -> CameraCondition:
        condition, pipeline = super()._condition(held), self._pipeline_of.get(held.camera_id)
        fault = pipeline.fault if pipeline is not None else None
        if fault is None or condition.state is CameraState.FINISHED:
            return condition
        # A fault of the pipeline is a fault of each of its cameras.
        state = CameraState.OFFLINE if condition.frames_processed else CameraState.STARTING
        return replace(condition, state=state, fault=fault)

    def _admit(self, plan: CameraPlan) -> None:
        """Count an RTSP camera against `most_live`.

        Raises:
            ResourceExhaustedError: the process has as many RTSP cameras as it takes.
        """
        if not plan.source.is_rtsp:
            return
        others = len(self._admitted)
        if others >= self._options.most_live:
            raise ResourceExhaustedError(
                f"this worker holds {others} RTSP cameras; after an outage of all, reconnecting would take "
                f"{others * RESET_THROTTLE_S / 60:.0f} minutes",
                hint="start another worker on this GPU",
            )
        self._admitted.add(plan.camera_id)
        if others + 1 >= self._options.warn_live:
            _log.warning("cameras.many", cameras=others + 1, outage_mended_after_s=(others + 1) * RESET_THROTTLE_S)

    # Pipelines -------------------------------------------------------------------------------------------------------

    async def _close_idle(self) -> None:
        """Close pipelines without a camera. The lock lets a camera that changes reach its pipeline first."""
        async with self._opening:
            for key, pipeline in list(self._pipelines.items()):
                if pipeline.is_idle:
                    del self._pipelines[key]
                    await pipeline.close()
                    if all(each.info.name != pipeline.info.name for each in self._pipelines.values()):
                        forget_model(pipeline.info.name)

    async def _pipeline_for(self, plan: CameraPlan) -> PipelineKeeper:
        async with self._opening:
            info = await self._ready(plan.model)
            key = info.ref, not plan.source.playback.is_finite
            pipeline = self._pipelines.get(key)
            if pipeline is None:
                pipeline = self._pipelines[key] = self._new_pipeline(info, live=key[1])
        if len(pipeline) >= self._options.pipeline.capacity:
            raise ResourceExhaustedError(
                f"the pipeline of {info.ref} holds {len(pipeline)} cameras, as many as its batch",
                hint="raise COUNTLINE_CAPACITY, or start another worker",
            )
        return pipeline

    def _new_pipeline(self, info: ModelInfo, *, live: bool) -> PipelineKeeper:
        return PipelineKeeper(self._runtime, self._main, self._options, info, self._ready, self._on_end, live=live)

    async def _ready(self, model: str) -> ModelInfo:
        return await (await self._triton.client()).load(model)

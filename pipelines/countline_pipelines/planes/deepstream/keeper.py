"""Keeps one pipeline playing: for one model version, for cameras or for files.

    DOWN --Triton serves the model, files written, pipeline plays--> PLAYING --failed--> closed --pause--> DOWN ...

Each camera of the pipeline has a `SourceKeeper` of its own. Everything here runs on the plane's event loop.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_common.triton import ModelInfo
from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.config.files import write_files
from countline_pipelines.planes.deepstream.gst.library import Runtime
from countline_pipelines.planes.deepstream.gst.loop import MainLoop
from countline_pipelines.planes.deepstream.gst.pipeline import Pipeline
from countline_pipelines.planes.deepstream.open_sources import OpenSources
from countline_pipelines.planes.deepstream.options import DeepStreamOptions
from countline_pipelines.planes.deepstream.source_keeper import SourceKeeper
from countline_pipelines.planes.interface import Fault, OnEnd, fault_of

STALL_S: Final = 30.0
"""If frames enter and no batch leaves for this long, the pipeline has failed silently: nvinferserver waits for Triton
without a deadline."""
WELL_AFTER_S: Final = 5.0
"""After a pipeline that played for this long, the next one follows soon."""
_log = get_logger(__name__)


class PipelineKeeper:
    """Builds the pipeline, rebuilds it after a failure, and holds its cameras.

    Args:
        runtime, main: of GStreamer.
        options: of the plane.
        info: the model, as Triton described it when the first camera asked for it.
        ready: makes Triton load the model and returns its description; raises a `CountlineError` if it cannot.
        on_end: called when a finite file is finished.
        live: for cameras, not files.
    """

    def __init__(
        self,
        runtime: Runtime,
        main: MainLoop,
        options: DeepStreamOptions,
        info: ModelInfo,
        ready: Callable[[str], Awaitable[ModelInfo]],
        on_end: OnEnd,
        *,
        live: bool,
    ) -> None:
        self._runtime, self._options = runtime, options
        self.info, self._live = info, live
        self._folder = options.folder / f"{info.name}-{info.version}-{'live' if live else 'files'}"
        self._ready, self._on_end = ready, on_end
        self._loop = asyncio.get_running_loop()
        self._sources = OpenSources(main, self._fail, options.most_indices, info.name)
        self._cameras: dict[str, asyncio.Task[None]] = {}
        self._failed = asyncio.Event()
        self.fault: Fault | None = None
        """Why the pipeline does not play; None while it plays."""
        self._task = self._loop.create_task(self._keep(), name=f"pipeline-{info.ref}")

    # The pipeline ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                await self._play_until_it_fails()
            except CountlineError as error:
                self.fault = fault_of(error)
                _log.warning("pipeline.not_started", model=str(self.info.ref), error=error.message, hint=error.hint)
            except Exception as error:  # noqa: BLE001  (the last resort of the task, which must not end silently)
                _log.exception("pipeline.crashed")
                self.fault = fault_of(error)
            if time.monotonic() - began > WELL_AFTER_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _play_until_it_fails(self) -> None:
        try:
            await self._start()
            await self._failed.wait()
        finally:
            await self._sources.end()

    async def _start(self) -> None:
        self.info = await self._ready(str(self.info.ref))
        options, info = self._options, self.info
        files = await asyncio.to_thread(write_files, self._folder, info, options.triton, options.pipeline)
        self._failed.clear()
        await self._sources.begin(
            lambda listener: Pipeline(self._runtime, options.pipeline, files, info, listener), waits=not self._live
        )
        self.fault = None
        _log.info("pipeline.playing", model=str(info.ref), live=self._live, folder=str(self._folder))

    def _fail(self, detail: str) -> None:
        _log.warning("pipeline.failed", model=str(self.info.ref), detail=detail)
        self.fault = Fault("pipeline", detail, "the worker rebuilds the pipeline; see Triton's log")
        self._sources.playing.clear()
        self._failed.set()

    async def tick(self, now: float) -> None:
        """Once a second, with the monotonic time: rebuild a stalled pipeline, start and end previews.

        Raises:
            PipelineError: a preview cannot start.
            DeadlineExceededError: a plugin hangs.
        """
        silent_s = now - self._sources.last_batch_at
        if self._sources.playing.is_set() and silent_s >= STALL_S and self._sources.entered_since_last_batch:
            self._fail(f"no batch came out for {silent_s:.0f} s; does Triton hang?")
        await self._sources.update_previews(now)

    async def close(self) -> None:
        """Remove every camera and close the pipeline."""
        for camera_id in list(self._cameras):
            await self.remove(camera_id)
        await cancel(self._task)

    # Cameras ---------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no camera needs the pipeline; finished files do not."""
        return len(self) == 0

    def __len__(self) -> int:
        return sum(not task.done() for task in self._cameras.values())

    def add(self, camera: DeepStreamCamera) -> None:
        """Keep a camera's source open from now on."""
        keeper = SourceKeeper(camera, self._sources, lambda: self.fault, self._on_end)
        name = f"camera-{camera.camera_id}"
        self._cameras[camera.camera_id] = self._loop.create_task(keeper.run(), name=name)

    async def remove(self, camera_id: str) -> None:
        """Close a camera's source, once the frames inside are counted (`SourceKeeper.run`)."""
        task = self._cameras.pop(camera_id, None)
        if task is not None:
            await cancel(task)

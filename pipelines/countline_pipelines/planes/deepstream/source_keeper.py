"""Keeps the source of one camera open, in one pipeline after another.

wait until the pipeline plays ── open the source on a new pad ──┬─ ended ── a finite file: finished
^                                                        │           a stream: open again after a pause
│                                                        ├─ failed ── open again: soon if waiting may help,
│                                                        │            else after a long pause
└────────────────────────────────────────────────────────┴─ the pipeline failed: wait for the next one
"""

import asyncio
from collections.abc import Callable
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.tasks import to_its_end
from countline_pipelines.pauses import SourcePauses
from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.gst.listener import SourceTrouble
from countline_pipelines.planes.deepstream.open_sources import OpenSources
from countline_pipelines.planes.deepstream.opening import Opening, SourceEnding
from countline_pipelines.planes.interface import CameraState, Fault, OnEnd, fault_of
from countline_pipelines.sources import SourceError, SourceFailure
from countline_pipelines.sources.errors import CURABLE_BY_WAITING

_REBUILDING: Final = Fault("pipeline", "the pipeline is being rebuilt", "wait; the pipeline restarts in a moment")
_log = get_logger(__name__)


class SourceKeeper:
    """Runs as a task on the plane's event loop, until the source is finished or the task is cancelled.

    Args:
        camera: whose source is kept open.
        sources: of the pipeline.
        pipeline_fault: why the pipeline does not play; None if it plays.
        on_end: called when a finite file is finished.
    """

    def __init__(
        self,
        camera: DeepStreamCamera,
        sources: OpenSources,
        pipeline_fault: Callable[[], Fault | None],
        on_end: OnEnd,
    ) -> None:
        self._camera = camera
        self._sources = sources
        self._pipeline_fault = pipeline_fault
        self._on_end = on_end
        self._pauses = SourcePauses()

    async def run(self) -> None:
        """Keep the source open.

        At the end, frames inside are counted and open visits are decided, except of an interrupted finite file: it
        will be counted again from its start.
        """
        camera = self._camera
        try:
            while not camera.is_finished:
                try:
                    await asyncio.sleep(await self._play())
                except CountlineError as error:  # a plugin hangs
                    _log.warning("camera.not_opened", camera=camera.camera_id, error=error.message)
                    camera.lost(CameraState.FAILED, fault_of(error))
                    await to_its_end(self._sources.close_all(camera, drain=False))
                    await asyncio.sleep(self._pauses.next_s(curable=False))
                except Exception as error:  # noqa: BLE001  (the last resort of the task, which must not end silently)
                    _log.exception("camera.keeper_failed", camera=camera.camera_id)
                    camera.lost(CameraState.FAILED, fault_of(error))
                    await asyncio.sleep(self._pauses.next_s(curable=False))
        finally:
            await self._leave()

    async def _play(self) -> float:
        """Open the source and wait until it is over; returns the seconds to wait before the next attempt."""
        camera = self._camera
        await self._sources.playing.wait()
        opening = await self._sources.open(camera)
        if opening is None:
            return self._pauses.next_s(curable=True)
        ending = await asyncio.shield(opening.over)
        # A cancellation in the middle would leave the source in the pipeline, and `_leave` would not find it.
        await to_its_end(self._sources.close(opening, drain=False))
        if ending is SourceEnding.ENDED and camera.is_finite:
            camera.finished()
            self._on_end(camera.plan, CameraState.FINISHED)
            return 0.0
        camera.closed(decide=not camera.is_finite)
        return self._lost(opening, ending)

    def _lost(self, opening: Opening, ending: SourceEnding) -> float:
        """Report why there are no frames; returns the seconds to wait before the next attempt."""
        camera = self._camera
        if ending is SourceEnding.PIPELINE:
            camera.lost(CameraState.OFFLINE, self._pipeline_fault() or _REBUILDING)
            return 0.0
        trouble = opening.trouble or SourceTrouble(SourceFailure.UNREACHABLE, "the stream ended")
        curable = trouble.failure in CURABLE_BY_WAITING and not camera.is_finite
        error = SourceError(trouble.failure, camera.plan.source.label, trouble.detail)
        camera.lost(CameraState.OFFLINE if curable else CameraState.FAILED, fault_of(error))
        _log.warning("source.failed", camera=camera.camera_id, failure=trouble.failure.value, error=error.message)
        if opening.valve.transit.arrived:
            self._pauses.reset()
        return self._pauses.next_s(curable=curable)

    async def _leave(self) -> None:
        camera = self._camera
        try:
            await self._sources.close_all(camera, drain=True)
        finally:
            if not camera.is_finished:
                camera.closed(decide=not camera.is_finite)

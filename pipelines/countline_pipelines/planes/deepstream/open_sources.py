"""The sources that are open in the pipeline that plays, by the index of their pad.

A pad index is never used twice in the life of a pipeline: whatever an element keeps for it (targets of the tracker)
belongs to one opening of one camera. When the indices run out, the pipeline is rebuilt.

Everything here runs on the plane's event loop; changes of GStreamer run in the main loop's thread, one at a time.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.waiting import happens
from countline_pipelines import metrics
from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable
from countline_pipelines.planes.deepstream.cameras.valve import SourceValve
from countline_pipelines.planes.deepstream.gst.library import PipelineError
from countline_pipelines.planes.deepstream.gst.listener import LoopListener, PipelineListener, SourceTrouble
from countline_pipelines.planes.deepstream.gst.loop import MainLoop
from countline_pipelines.planes.deepstream.gst.pipeline import Pipeline
from countline_pipelines.planes.deepstream.opening import Opening, SourceEnding
from countline_pipelines.planes.interface import CameraState, fault_of
from countline_pipelines.sources import SourceError, SourceFailure

DRAIN_S: Final = 0.5
"""Longest wait for the frames inside when a camera is removed."""
BUS_S: Final = 1.0
"""Wait for the bus message that names the cause, when a source does not start."""
_log = get_logger(__name__)


class OpenSources:
    """The pipeline that plays and its open sources; receives the reports of that pipeline (`PipelineListener`).

    Args:
        main: the main loop of GStreamer.
        failed: called with the reason when the pipeline must be rebuilt.
        most_indices: openings of sources in the life of one pipeline.
        model: name of the model, for metrics.
    """

    def __init__(self, main: MainLoop, failed: Callable[[str], None], most_indices: int, model: str) -> None:
        self._main = main
        self._failed = failed
        self._most_indices = most_indices
        self._loop = asyncio.get_running_loop()
        self._pipeline: Pipeline | None = None
        self._reports: LoopListener | None = None
        self._open: dict[int, Opening] = {}
        self._next_index = 0
        self._changing = asyncio.Lock()
        self._batch_frames = metrics.BATCH_FRAMES.labels(model)
        self.playing = asyncio.Event()
        """Set while the pipeline plays and has not failed."""
        self.last_batch_at = 0.0
        """Monotonic time of the last batch, or of the start of the pipeline."""

    # The pipeline ----------------------------------------------------------------------------------------------------

    async def begin(self, build: Callable[[PipelineListener], Pipeline], *, waits: bool) -> None:
        """Build a pipeline and play it.

        Args:
            build: makes the pipeline; called in the main loop's thread.
            waits: hold sources up while batches wait to be counted, instead of dropping batches.

        Raises:
            PipelineError: it does not play.
            DeadlineExceededError: a plugin hangs.
        """
        reports = self._reports = LoopListener(self, self._loop, waits=waits)
        async with self._changing:
            await self._main.run(lambda: self._play(build, reports))
            self._next_index = 0
        self.last_batch_at = time.monotonic()
        self.playing.set()

    def _play(self, build: Callable[[PipelineListener], Pipeline], reports: LoopListener) -> None:
        """In the main loop's thread, which also stores the pipeline: the task that waits for it may be cancelled."""
        pipeline = build(reports)
        pipeline.play()
        self._pipeline = pipeline

    async def end(self) -> None:
        """Close the pipeline, if there is one, and conclude every opening.

        Raises:
            DeadlineExceededError: a plugin hangs.
        """
        self.playing.clear()
        async with self._changing:
            if self._reports is not None:
                self._reports.end()
                self._reports = None
            for opening in self._open.values():
                opening.valve.stop()
                opening.conclude(SourceEnding.PIPELINE)
            await self._main.run(self._close_pipeline)

    def _close_pipeline(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()

    @property
    def entered_since_last_batch(self) -> bool:
        """Whether a frame entered the pipeline after the last batch left it."""
        return any(opening.valve.transit.last_entered_at > self.last_batch_at for opening in self._open.values())

    # Sources ---------------------------------------------------------------------------------------------------------

    async def open(self, camera: DeepStreamCamera) -> Opening | None:
        """Open a camera's source on a new pad; None if the pipeline stopped playing or has no index left.

        A source that the pipeline refuses is opened too, and fails after `BUS_S`.

        Raises:
            DeadlineExceededError: a plugin hangs.
        """
        async with self._changing:
            pipeline = self._pipeline
            if pipeline is None or not self.playing.is_set():
                return None
            if self._next_index >= self._most_indices:
                self._failed("every pad index was used once; the pipeline is rebuilt")
                return None
            index, self._next_index = self._next_index, self._next_index + 1
            valve = SourceValve(camera.plan.source)
            opening = Opening(camera, pipeline, index, valve, self._loop.create_future())
            self._open[index] = opening
            camera.opened(valve)
            try:
                await self._main.run(lambda: pipeline.add_source(index, camera.plan.source, valve))
            except PipelineError as error:
                # The exact cause arrives over the bus, and concludes the opening first.
                trouble = SourceTrouble(SourceFailure.UNREACHABLE, error.message)
                self._loop.call_later(BUS_S, opening.conclude, SourceEnding.FAILED, trouble)
        return opening

    async def close(self, opening: Opening, *, drain: bool) -> None:
        """Remove a source from its pipeline, if that pipeline still plays; forget the opening in any case.

        Args:
            opening: of the source.
            drain: wait up to `DRAIN_S` for the frames inside, so that they are counted.

        Raises:
            DeadlineExceededError: a plugin hangs.
        """
        try:
            if self._pipeline is opening.pipeline:
                await self._main.run(lambda: opening.pipeline.stop_source(opening.index))
                if drain and self.playing.is_set():
                    await self._drain(opening)
            async with self._changing:
                if self._pipeline is opening.pipeline:
                    await self._main.run(lambda: opening.pipeline.remove_source(opening.index))
            await opening.end_preview(self._main)
        finally:
            if self._open.get(opening.index) is opening:
                del self._open[opening.index]

    async def _drain(self, opening: Opening) -> None:
        if opening.valve.transit.inside:
            opening.drained = asyncio.Event()
            await happens(opening.drained, DRAIN_S)  # the muxer may hold frames back; those are lost

    async def close_all(self, camera: DeepStreamCamera, *, drain: bool) -> None:
        """Close every opening of a camera; a plugin that hangs is logged."""
        try:
            for opening in [each for each in self._open.values() if each.camera is camera]:
                await self.close(opening, drain=drain)
        except CountlineError as error:
            _log.warning("camera.not_closed", camera=camera.camera_id, error=error.message)

    # Reports of the pipeline -----------------------------------------------------------------------------------------

    def batch(self, tables: list[FrameTable]) -> None:
        """Count the frames of a batch."""
        self.last_batch_at = time.monotonic()
        self._batch_frames.observe(len(tables))
        for table in tables:
            opening = self._open.get(table.index)
            if opening is None:
                continue
            opening.camera.take(table)
            if opening.drained is not None and not opening.valve.transit.inside:
                opening.drained.set()

    def source_ended(self, index: int) -> None:
        """Conclude the opening."""
        self._conclude(index, SourceEnding.ENDED)

    def source_failed(self, index: int, trouble: SourceTrouble) -> None:
        """Conclude the opening."""
        self._conclude(index, SourceEnding.FAILED, trouble)

    def _conclude(self, index: int, ending: SourceEnding, trouble: SourceTrouble | None = None) -> None:
        opening = self._open.get(index)
        if opening is not None:
            opening.conclude(ending, trouble)

    def source_waits(self, index: int, detail: str) -> None:
        """Show the camera as reconnecting."""
        opening = self._open.get(index)
        if opening is not None:
            error = SourceError(SourceFailure.TIMED_OUT, opening.camera.plan.source.label, detail)
            opening.camera.lost(CameraState.OFFLINE, fault_of(error))

    def pipeline_failed(self, detail: str) -> None:
        """Have the pipeline rebuilt."""
        self._failed(detail)

    # Previews --------------------------------------------------------------------------------------------------------

    async def update_previews(self, now: float) -> None:
        """Start the previews of watched cameras and end the others; `now` is monotonic.

        Raises:
            PipelineError: an element is missing.
            DeadlineExceededError: a plugin hangs.
        """
        for opening in list(self._open.values()):
            watched, preview = opening.camera.is_watched(now), opening.valve.preview
            if watched and preview is None and self._pipeline is not None:
                await opening.start_preview(self._main, self._pipeline)
                if self._open.get(opening.index) is not opening:  # it was closed in the meantime
                    await opening.end_preview(self._main)
            elif not watched and preview is not None:
                await opening.end_preview(self._main)

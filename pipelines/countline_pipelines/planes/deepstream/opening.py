"""One opening of a camera's source, from the pad that it gets to the reason of its end."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from countline_pipelines.planes.deepstream.cameras.camera import DeepStreamCamera
from countline_pipelines.planes.deepstream.cameras.valve import SourceValve
from countline_pipelines.planes.deepstream.gst.listener import SourceTrouble
from countline_pipelines.planes.deepstream.gst.loop import MainLoop
from countline_pipelines.planes.deepstream.gst.pipeline import Pipeline


class SourceEnding(StrEnum):
    """Why an opening of a source is over."""

    ENDED = "ended"
    FAILED = "failed"
    PIPELINE = "pipeline"
    """Its pipeline failed or was closed."""


@dataclass(slots=True)
class Opening:
    """One opening of a camera's source."""

    camera: DeepStreamCamera
    pipeline: Pipeline
    index: int
    """Of the pad in that pipeline."""
    valve: SourceValve
    over: "asyncio.Future[SourceEnding]"
    trouble: SourceTrouble | None = None
    drained: asyncio.Event | None = None
    """Set when the last frame inside has left the pipeline; None unless `OpenSources.close` waits for that."""

    def conclude(self, ending: SourceEnding, trouble: SourceTrouble | None = None) -> None:
        """Record the end of the opening; the first call counts."""
        if not self.over.done():
            self.trouble = trouble
            self.over.set_result(ending)

    async def start_preview(self, main: MainLoop, pipeline: Pipeline) -> None:
        """Start a preview, unless the source has delivered no frame yet.

        Raises:
            PipelineError: an element is missing.
            DeadlineExceededError: a plugin hangs.
        """
        name = self.camera.camera_id
        self.valve.preview = await main.run(lambda: pipeline.start_preview(self.index, name))

    async def end_preview(self, main: MainLoop) -> None:
        """Close the preview, if there is one.

        Raises:
            DeadlineExceededError: a plugin hangs.
        """
        preview, self.valve.preview = self.valve.preview, None
        if preview is not None:
            await main.run(preview.close)

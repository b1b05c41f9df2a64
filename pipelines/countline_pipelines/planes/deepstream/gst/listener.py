"""What a pipeline reports, and the way of its reports from GStreamer's threads to the plane's event loop."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from countline_pipelines.planes.deepstream.cameras.metadata import FrameTable
from countline_pipelines.sources import SourceFailure

BATCHES_WAITING: Final = 8
"""Batches that left the pipeline and are not counted yet. Beyond that, files wait, and batches of cameras are dropped;
each drop shows in `frames_dropped` of its cameras."""
LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class SourceTrouble:
    """Why a source delivers no frames."""

    failure: SourceFailure
    detail: str


class PipelineListener(Protocol):
    """Receives the reports of a pipeline."""

    def batch(self, tables: list[FrameTable]) -> None:
        """The frames of a batch, from the streaming thread behind the tracker. May wait, to hold files back."""
        ...

    def source_ended(self, index: int) -> None:
        """The source has ended, and all its frames have left the pipeline."""
        ...

    def source_failed(self, index: int, trouble: SourceTrouble) -> None:
        """The source failed and must be opened again."""
        ...

    def source_waits(self, index: int, detail: str) -> None:
        """The source has no data; nvurisrcbin is reconnecting by itself."""
        ...

    def pipeline_failed(self, detail: str) -> None:
        """The pipeline no longer delivers frames."""
        ...


class LoopListener:
    """Forwards the reports of one pipeline to a listener on an event loop.

    After `end`, reports are discarded: pad indices mean other cameras in the next pipeline.

    Args:
        target: called on the loop.
        loop: the plane's event loop.
        waits: when `BATCHES_WAITING` batches wait, hold the streaming thread up (files) instead of dropping (cameras).
    """

    def __init__(self, target: PipelineListener, loop: asyncio.AbstractEventLoop, *, waits: bool) -> None:
        self._target = target
        self._loop = loop
        self._waits = waits
        self._room = threading.Semaphore(BATCHES_WAITING)
        self._ended = threading.Event()

    def end(self) -> None:
        """Discard all further reports and release a waiting streaming thread."""
        self._ended.set()

    def batch(self, tables: list[FrameTable]) -> None:
        """Forward it, or drop it; `FrameTransit` reports dropped frames with the next frame of each camera."""
        if self._has_room():
            self._post(self._deliver, tables)

    def _has_room(self) -> bool:
        if not self._waits:
            return self._room.acquire(blocking=False)
        while not self._ended.is_set():
            if self._room.acquire(timeout=LOOK_S):
                return True
        return False

    def _deliver(self, tables: list[FrameTable]) -> None:
        self._room.release()
        self._target.batch(tables)

    def source_ended(self, index: int) -> None:
        """Forward it."""
        self._post(self._target.source_ended, index)

    def source_failed(self, index: int, trouble: SourceTrouble) -> None:
        """Forward it."""
        self._post(self._target.source_failed, index, trouble)

    def source_waits(self, index: int, detail: str) -> None:
        """Forward it."""
        self._post(self._target.source_waits, index, detail)

    def pipeline_failed(self, detail: str) -> None:
        """Forward it."""
        self._post(self._target.pipeline_failed, detail)

    def _post(self, report: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._forward, report, args)
        except RuntimeError:  # the loop is closed: the plane has ended
            self._ended.set()

    def _forward(self, report: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self._ended.is_set():
            report(*args)

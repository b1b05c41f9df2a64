"""The state of a camera's source. Maps the reader's reports to the camera's status. Runs on the plane's event loop.

    OPENING ──> PLAYING <──> BROKEN, FAILED      the reader opens the source again
       └───────────┴──────────────┴──> ENDED     the last picture of a finite file was read ─┐
                                  └──> GAVE_UP   no more attempts will be made ──────────────┴──> DRAINED

The last frames may still be in flight when a source is over; it is DRAINED when they are counted.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Final

from countline_common.display import PictureShape
from countline_common.errors import CountlineError
from countline_pipelines.planes.health import MODEL_FAULT, CameraHealth
from countline_pipelines.planes.interface import CameraState, Fault, fault_of
from countline_pipelines.planes.software.source.feeder import CameraFeed
from countline_pipelines.planes.software.source.reader import ReadState, SourceReader
from countline_pipelines.planes.software.source.tee import Tee
from countline_pipelines.planes.stamps import StampWatch
from countline_pipelines.planes.states import StateMachine
from countline_pipelines.sources import Decoding, SourceSpec, SourceWarning, WarningCode


class SourcePhase(StrEnum):
    """Where a source stands."""

    OPENING = "opening"
    PLAYING = "playing"
    BROKEN = "broken"
    FAILED = "failed"
    ENDED = "ended"
    GAVE_UP = "gave_up"
    DRAINED = "drained"


_READ: Final = frozenset(
    {SourcePhase.PLAYING, SourcePhase.BROKEN, SourcePhase.FAILED, SourcePhase.ENDED, SourcePhase.GAVE_UP}
)
"""States that a reader may report before its source ends. It reports PLAYING at each open."""
_LEGAL: Final = {
    SourcePhase.OPENING: _READ,
    SourcePhase.PLAYING: _READ,
    SourcePhase.BROKEN: _READ,
    SourcePhase.FAILED: _READ,
    SourcePhase.ENDED: frozenset({SourcePhase.DRAINED}),
    SourcePhase.GAVE_UP: frozenset({SourcePhase.DRAINED}),
    SourcePhase.DRAINED: frozenset[SourcePhase](),
}
_SHOWN: Final = {
    SourcePhase.BROKEN: CameraState.OFFLINE,
    SourcePhase.FAILED: CameraState.FAILED,
}


class SourceState:
    """One camera's source: its reader, the pictures that it hands over, and its phase.

    Args:
        spec: what to read.
        feed: of the camera.
        health: shows the phase.
        on_over: called on the loop when the source is over.
        once: give up at the first failure that ends the source.
        decoding: what may decode.
        picture: the displayed picture that is expected; None for any.
    """

    def __init__(
        self,
        spec: SourceSpec,
        feed: CameraFeed,
        health: CameraHealth,
        on_over: Callable[[], None],
        *,
        once: bool,
        decoding: Decoding | None,
        picture: PictureShape | None = None,
    ) -> None:
        self._spec = spec
        self._health = health
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()
        self._machine = StateMachine("a source", SourcePhase.OPENING, _LEGAL)
        self._refused = 0
        """Frames that Triton refused for good."""
        self._lost: Fault | None = None
        """Why it refused the last of them."""
        self.tee = Tee(feed, spec.rate, StampWatch(feed.camera_id, spec), self._post)
        self._reader = SourceReader(feed.camera_id, spec, self.tee, once=once, decoding=decoding, picture=picture)

    @property
    def phase(self) -> SourcePhase:
        """Where the source stands."""
        return self._machine.state

    @property
    def is_over(self) -> bool:
        """Whether no picture will come, while frames may still be in flight."""
        return self.phase in {SourcePhase.ENDED, SourcePhase.GAVE_UP}

    @property
    def picture(self) -> PictureShape | None:
        """The displayed picture; None before the first. Of a file: the first one, in its newest size."""
        return self._reader.picture

    @property
    def warnings(self) -> tuple[SourceWarning, ...]:
        """What a person should know about the source now."""
        return self._reader.warnings.all()

    @property
    def progress(self) -> float:
        """Share of the source that was read, 0..1; 0 if its duration is not known."""
        info = self.tee.info
        duration_s = float(info.duration_s) if info and info.duration_s else 0.0
        return min(1.0, self.tee.position_s / duration_s) if duration_s else 0.0

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def stop(self) -> None:
        """Ask the reader to end; it hands over nothing more."""
        self._reader.stop()

    def redrawn(self) -> None:
        """Drop the warning that the picture changed."""
        self._reader.warnings.clear(WarningCode.PICTURE_CHANGED)

    def set_paused(self, *, paused: bool) -> None:
        """Hand over nothing, or go on."""
        if paused:
            self._reader.pause()
        else:
            self._reader.resume()

    def _post(self, state: ReadState, error: CountlineError | None) -> None:
        """From the reader's thread."""
        with suppress(RuntimeError):  # the loop is closed: the plane has ended
            self._loop.call_soon_threadsafe(self._note, state, error)

    def _note(self, state: ReadState, error: CountlineError | None) -> None:
        if self._reader.stop_event.is_set():
            return  # reported a moment before the stop
        self._machine.move(self._phase_of(state))
        if self.phase is SourcePhase.PLAYING:
            self._refused, self._lost = 0, None  # a file that is opened again is counted from its first frame
            return  # nothing is counted yet: see `frame_counted`
        shown = _SHOWN.get(self.phase, self._health.state)
        if error is None:
            self._health.set(shown)
        else:
            self._health.lose_source(shown, fault_of(error))
        if self.is_over:
            self._on_over()

    def _phase_of(self, state: ReadState) -> SourcePhase:
        if state is ReadState.FINISHED:
            return SourcePhase.ENDED
        if state is ReadState.FAILED and self._reader.gave_up:
            return SourcePhase.GAVE_UP
        return SourcePhase(state.value)

    def frame_counted(self) -> None:
        """Set the camera to RUNNING, unless the counted frame was read before the source broke."""
        if self._health.state is not CameraState.RUNNING and self._shows_running():
            self._health.set(CameraState.RUNNING)

    def frame_refused(self, error: Exception) -> None:
        """Show that Triton refuses a frame for good. A finite file then fails at its end: a frame is not counted."""
        self._refused += 1
        self._health.set(CameraState.FAILED, fault_of(error, MODEL_FAULT))
        self._lost = fault_of(error, MODEL_FAULT)

    def _shows_running(self) -> bool:
        if self.phase is SourcePhase.ENDED:
            return self._health.fault is not None and self._health.fault.code == MODEL_FAULT
        return self.phase is SourcePhase.PLAYING and not self._health.is_crashed

    def drained(self) -> None:
        """All frames are counted, and the source is over."""
        if self._lost is not None and self._spec.playback.is_finite:
            message = f"{self._refused} frames are not counted, because Triton refused them: {self._lost.message}"
            self._health.fault = replace(self._lost, message=message)
        # A file that is shorter than its header states is counted to its end, and has failed all the same.
        is_whole = self.phase is SourcePhase.ENDED and self._health.fault is None
        self._machine.move(SourcePhase.DRAINED)
        self._health.state = CameraState.FINISHED if is_whole else CameraState.FAILED

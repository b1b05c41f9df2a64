"""State and fault of one camera, as its status shows them; the same on every plane."""

import time
from typing import Final

from countline_common.display import PictureShape
from countline_common.errors import CountlineError
from countline_counting.coverage import keeps_up, wanted_fps
from countline_pipelines import metrics
from countline_pipelines.planes.interface import CameraCondition, CameraState, Fault, fault_of
from countline_pipelines.planes.meters import RateMeter, Throughput
from countline_pipelines.sources import Playback, SourceSpec, SourceWarning

SILENT_S: Final = 5.0
"""A live camera without a counted frame for this long is not running, whatever its reader reports."""
MODEL_FAULT: Final = "model"
"""Code of the fault of a camera whose frames Triton refuses."""
DEGRADED_AFTER_S: Final = 15.0
"""How long a camera counts too few of its frames before it shows as degraded. A change of models takes some seconds."""
MEASURE_EVERY_S: Final = 0.8
"""How long measured rates are kept: conditions are asked for more often."""


class CameraHealth:
    """State and fault of a camera; set on the plane's event loop, read from any thread.

        STARTING --first counted frame--> RUNNING --no more frames--> OFFLINE, FAILED --frames again--> RUNNING
        any --crash, refused frames, a fault to be mended--> FAILED;  any --a finite file is over--> FINISHED

    What a person sees has more states, and none of these changes `state`: STARTING shows as PROBING before the first
    picture, RUNNING as DEGRADED while too few frames are counted, and as OFFLINE in silence, a pause as FAILED with its
    reason.

    Args:
        camera_id: of the camera.
        source: its source.
    """

    def __init__(self, camera_id: str, source: SourceSpec) -> None:
        self._camera_id = camera_id
        self._source = source
        self.state = CameraState.STARTING
        self.fault: Fault | None = None
        self.crashed_at: float | None = None
        """Monotonic time at which a bug in Countline ended counting; the camera must be made again."""
        self.paused: Fault | None = None
        """Why the camera takes no frames; None if it takes them."""
        self._measured_at = 0.0
        self._measures = (0.0, 0.0, 0.0)
        self._kept_up_at = time.monotonic()
        """When it last counted as many frames as it should, or did not run."""

    @property
    def is_crashed(self) -> bool:
        """Whether a bug in Countline ended counting."""
        return self.crashed_at is not None

    def set(self, state: CameraState, fault: Fault | None = None) -> None:
        """Set both."""
        self.state, self.fault = state, fault

    def lose_source(self, state: CameraState, fault: Fault) -> None:
        """Set both because the source gives no pictures, and count the failure."""
        self.set(state, fault)
        metrics.SOURCE_FAILURES.labels(self._camera_id, fault.code).inc()

    def crash(self, error: Exception) -> None:
        """Record that a bug in Countline ended counting."""
        self.crashed_at = time.monotonic()
        self.set(CameraState.FAILED, fault_of(error))

    def shown(self, last_counted_at: float, trouble: CountlineError | None = None) -> tuple[CameraState, Fault | None]:
        """State and fault as a person sees them now.

        Args:
            last_counted_at: monotonic time of the last counted frame.
            trouble: why Triton does not answer; None if it does.
        """
        paused = self.paused
        if paused is not None and self.state is not CameraState.FINISHED:
            return CameraState.FAILED, paused
        silent_s = time.monotonic() - last_counted_at
        if trouble is not None and silent_s > SILENT_S and self._waits_for_triton:
            return CameraState.OFFLINE, fault_of(trouble)
        if self.state is CameraState.RUNNING and silent_s > SILENT_S and self._source.playback is Playback.LIVE:
            silence = f"{self._source.label}: no picture for {silent_s:.0f} s"
            return CameraState.OFFLINE, Fault("timed_out", silence, "check that the camera sends pictures")
        return self.state, self.fault

    @property
    def _waits_for_triton(self) -> bool:
        """Whether a Triton that does not answer holds the camera up; a stream that is broken shows its own fault."""
        if self._source.playback.is_finite:
            return self.state is not CameraState.FINISHED
        refused = self.fault is not None and self.fault.code == MODEL_FAULT
        return refused or self.state in {CameraState.RUNNING, CameraState.STARTING}

    def condition(
        self,
        throughput: Throughput,
        source_meter: RateMeter | None,
        *,
        picture: PictureShape | None,
        progress: float,
        model: str,
        follower_model: str = "",
        trouble: CountlineError | None = None,
        warnings: tuple[SourceWarning, ...] = (),
    ) -> CameraCondition:
        """The camera at this moment.

        Args:
            throughput: of the frames that count.
            source_meter: of the pictures that arrive; None while the source is closed.
            picture: as displayed; None before the first.
            progress: share of a finite file that was read, 0..1.
            model: what counts, as NAME@VERSION.
            follower_model: what runs beside it on trial; empty for none.
            trouble: why Triton does not answer; None if it does.
            warnings: of the source.
        """
        state, fault = self.shown(throughput.last_counted_at, trouble)
        if state is CameraState.STARTING and picture is None:
            state = CameraState.PROBING
        source_fps, processed_fps, latency_s = self._measured(throughput, source_meter)
        wanted = wanted_fps(source_fps, self._source.rate)
        if self._is_slow(state, processed_fps, wanted):
            state, fault = CameraState.DEGRADED, fault or self._slowness(processed_fps, wanted)
        finished = state is CameraState.FINISHED
        return CameraCondition(
            state=state,
            fault=fault,
            picture=picture,
            source_fps=source_fps,
            processed_fps=processed_fps,
            latency_s=latency_s,
            frames_processed=throughput.processed,
            frames_dropped=throughput.dropped,
            last_frame_at=throughput.last_t,
            progress=1.0 if finished else progress if self._source.playback.is_finite else 0.0,
            model=model,
            follower_model=follower_model,
            warnings=warnings,
        )

    def _is_slow(self, state: CameraState, processed_fps: float, wanted: float) -> bool:
        """Whether the camera has counted too few of its frames for so long that a person should know."""
        now = time.monotonic()
        plays_fast = self._source.playback is Playback.FAST
        if state is not CameraState.RUNNING or plays_fast or keeps_up(processed_fps, wanted):
            self._kept_up_at = now
        return now - self._kept_up_at > DEGRADED_AFTER_S

    def _slowness(self, processed_fps: float, wanted: float) -> Fault:
        message = f"{self._source.label}: {processed_fps:.1f} of {wanted:.1f} frames a second are counted"
        hint = "give the worker fewer cameras, or the camera a lower rate: countline cameras set CAMERA --rate FPS"
        return Fault("slow", message, hint)

    def _measured(self, throughput: Throughput, source_meter: RateMeter | None) -> tuple[float, float, float]:
        now = time.monotonic()
        if now - self._measured_at > MEASURE_EVERY_S:
            self._measured_at = now
            source_fps = source_meter.rate(now) if source_meter is not None else 0.0
            self._measures = (source_fps, throughput.rate(now), throughput.latency_p95_s(now))
        return self._measures

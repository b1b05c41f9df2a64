"""Checks of cameras. Pure: from what the services answered to a result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera
from countline_common.http.rest_json import enum_word
from countline_control.cli.monitoring.thresholds import CountLimit
from countline_control.cli.monitoring.verdicts import (
    CheckLevel,
    CheckResult,
    PerformanceValue,
    graded,
    named,
    worst,
)
from countline_counting.coverage import keeps_up, wanted_fps

COUNTS: Final = {cameras_pb2.OBSERVED_STATE_RUNNING, cameras_pb2.OBSERVED_STATE_FINISHED}
"""States in which a camera does what is wanted."""
IMPAIRED: Final = {
    cameras_pb2.OBSERVED_STATE_DEGRADED,
    cameras_pb2.OBSERVED_STATE_PROBING,
    cameras_pb2.OBSERVED_STATE_STARTING,
}
"""States that count too little, or not yet. All others count nothing."""


@dataclass(frozen=True, slots=True)
class CameraLimits:
    """Limits for one camera; None for no limit."""

    warning_latency_s: float | None = None
    critical_latency_s: float | None = None
    warning_fps: float | None = None
    """The least frames a second that are accepted."""
    critical_fps: float | None = None


def check_cameras(cameras: Sequence[Camera], warning: CountLimit, critical: CountLimit) -> CheckResult:
    """Check that the active cameras count.

    Args:
        cameras: all that were asked for.
        warning: from so many active cameras on that are down or impaired, it is a warning.
        critical: from so many on that are down, it is critical.
    """
    active = [camera for camera in cameras if camera.status == cameras_pb2.CAMERA_STATUS_ACTIVE]
    down = [camera for camera in active if camera.observed.state not in COUNTS | IMPAIRED]
    impaired = [camera for camera in active if camera.observed.state in IMPAIRED]
    limits = warning.of(len(active)), critical.of(len(active))
    level = worst(
        (
            graded(len(down), None, limits[1]),
            graded(len(down) + len(impaired), limits[0], None),
        )
    )
    values = (
        PerformanceValue("active", len(active)),
        PerformanceValue("running", len(active) - len(down) - len(impaired)),
        PerformanceValue("impaired", len(impaired), warning=limits[0]),
        PerformanceValue("down", len(down), warning=limits[0], critical=limits[1]),
        PerformanceValue("fps", sum(camera.observed.processed_fps for camera in active)),
        PerformanceValue("latency", max((camera.observed.latency_s for camera in active), default=0.0), "s"),
    )
    if not active:
        return CheckResult(level, f"no camera is active ({len(cameras)} in all)", values)
    text = f"{len(active) - len(down) - len(impaired)} of {len(active)} active cameras run"
    troubles = [f"{camera.camera_id} {_trouble(camera)}" for camera in (*down, *impaired)]
    return CheckResult(level, f"{text}: {named(troubles)}" if troubles else text, values)


def _trouble(camera: Camera) -> str:
    observed = camera.observed
    word = enum_word(cameras_pb2.ObservedState.DESCRIPTOR, observed.state) if observed.state else "not observed"
    return f"{word}: {observed.error.message}" if observed.error.message else word


def check_camera(camera: Camera, limits: CameraLimits) -> CheckResult:
    """Check one camera. One that is not active is OK: it does what is wanted."""
    if camera.status != cameras_pb2.CAMERA_STATUS_ACTIVE:
        status = enum_word(cameras_pb2.CameraStatus.DESCRIPTOR, camera.status)
        return CheckResult(CheckLevel.OK, f"{camera.camera_id} is {status}, so nothing counts it")
    observed = camera.observed
    wanted = wanted_fps(observed.source_fps, camera.spec.processing_rate)
    values = (
        PerformanceValue("fps", observed.processed_fps, "", limits.warning_fps, limits.critical_fps, lower=True),
        PerformanceValue("wanted_fps", wanted),
        PerformanceValue("latency", observed.latency_s, "s", limits.warning_latency_s, limits.critical_latency_s),
        PerformanceValue("dropped", observed.frames_dropped, "c"),
    )
    if observed.state in COUNTS | IMPAIRED:
        graded_levels = [_state_level(camera), *_limit_levels(camera, limits, wanted)]
        text = f"{camera.camera_id} {_trouble(camera)}, {observed.processed_fps:.1f} of {wanted:.1f} frames/s"
        text += f", latency {observed.latency_s:.3f} s"
        return CheckResult(worst(graded_levels), text, values, observed.error.hint)
    return CheckResult(CheckLevel.CRITICAL, f"{camera.camera_id} {_trouble(camera)}", values, observed.error.hint)


def _state_level(camera: Camera) -> CheckLevel:
    return CheckLevel.WARNING if camera.observed.state in IMPAIRED else CheckLevel.OK


def _limit_levels(camera: Camera, limits: CameraLimits, wanted: float) -> list[CheckLevel]:
    observed = camera.observed
    if observed.state == cameras_pb2.OBSERVED_STATE_FINISHED:
        return []
    levels = [
        graded(observed.latency_s, limits.warning_latency_s, limits.critical_latency_s),
        graded(observed.processed_fps, limits.warning_fps, limits.critical_fps, lower=True),
    ]
    if limits.warning_fps is None and not keeps_up(observed.processed_fps, wanted):
        levels.append(CheckLevel.WARNING)
    return levels

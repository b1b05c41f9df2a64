"""Camera conditions as messages; pure."""

from collections.abc import Mapping
from typing import Final

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.grpc.texts import escaped
from countline_common.logs import bounded
from countline_common.times import to_timestamp
from countline_pipelines.planes.interface import CameraCondition, CameraState, Fault

_STATES: Final = {
    CameraState.PROBING: cameras_pb2.OBSERVED_STATE_PROBING,
    CameraState.STARTING: cameras_pb2.OBSERVED_STATE_STARTING,
    CameraState.RUNNING: cameras_pb2.OBSERVED_STATE_RUNNING,
    CameraState.DEGRADED: cameras_pb2.OBSERVED_STATE_DEGRADED,
    CameraState.OFFLINE: cameras_pb2.OBSERVED_STATE_OFFLINE,
    CameraState.FAILED: cameras_pb2.OBSERVED_STATE_FAILED,
    CameraState.FINISHED: cameras_pb2.OBSERVED_STATE_FINISHED,
}


def camera_report(
    camera_id: str, epoch: int, worker_id: str, condition: CameraCondition, now: float, since: float
) -> workers_pb2.CameraReport:
    """Return one camera's condition at Unix time `now`, as a message; its state began at `since`."""
    fault, picture = condition.fault, condition.picture
    observed = cameras_pb2.CameraObservation(
        state=_STATES[condition.state],
        worker_id=worker_id,
        epoch=epoch,
        width=picture.size_wh[0] if picture else 0,
        height=picture.size_wh[1] if picture else 0,
        orientation=picture.orientation.code if picture else "",
        source_fps=condition.source_fps,
        processed_fps=condition.processed_fps,
        latency_s=condition.latency_s,
        frames_processed=condition.frames_processed,
        frames_dropped=condition.frames_dropped,
        error=_error(fault) if fault else None,
        last_frame_at=to_timestamp(condition.last_frame_at) if condition.last_frame_at is not None else None,
        reported_at=to_timestamp(now),
        since=to_timestamp(since),
        progress=condition.progress,
        model=condition.model,
        follower_model=condition.follower_model,
        warnings=[
            cameras_pb2.CameraError(code=warning.code, message=warning.message, hint=warning.hint)
            for warning in condition.warnings
        ],
    )
    return workers_pb2.CameraReport(camera_id=camera_id, epoch=epoch, observed=observed)


def _error(fault: Fault) -> cameras_pb2.CameraError:
    # Names of files and answers of cameras may contain control characters, which the service refuses.
    return cameras_pb2.CameraError(code=fault.code, message=escaped(bounded(fault.message)), hint=escaped(fault.hint))


class StateTimes:
    """When each camera entered its present state."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[CameraState, float]] = {}

    def update(self, states: Mapping[str, CameraState], now: float) -> dict[str, float]:
        """Take the states of all held cameras at Unix time `now`; return since when each one holds."""
        before = self._since
        self._since = {
            camera_id: before[camera_id] if before.get(camera_id, ("",))[0] is state else (state, now)
            for camera_id, state in states.items()
        }
        return {camera_id: since for camera_id, (_, since) in self._since.items()}


def signature(conditions: Mapping[str, CameraCondition]) -> tuple[tuple[str, ...], ...]:
    """Return what the worker reports at once when it changes: states, faults, models, pictures, codes of warnings."""
    return tuple(
        (
            camera_id,
            c.state.value,
            c.fault.code if c.fault else "",
            c.model,
            c.follower_model,
            str(c.picture),
            *(warning.code for warning in c.warnings),
        )
        for camera_id, c in sorted(conditions.items())
    )

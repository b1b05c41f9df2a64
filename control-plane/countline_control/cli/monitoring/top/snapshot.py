"""What `countline top` shows at one moment, and in which order. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraStatus, ObservedState
from countline.v1.workers_pb2 import WORKER_STATE_ONLINE, Worker
from countline_common.http.rest_json import enum_word
from countline_common.times import rfc3339
from countline_counting.coverage import keeps_up, wanted_fps

_TROUBLE: Final = ("failed", "offline", "waiting", "not observed", "degraded", "probing", "starting", "running")
"""States in the order of how much they need a person; all others come last."""


class TopSort(StrEnum):
    """By what cameras are sorted."""

    STATE = "state"
    CAMERA = "camera"
    COUNTS = "counts"
    FPS = "fps"
    LATENCY = "latency"
    WORKER = "worker"

    @property
    def following(self) -> "TopSort":
        """The next one, after the last the first."""
        every = list(TopSort)
        return every[(every.index(self) + 1) % len(every)]


@dataclass(frozen=True, slots=True)
class TopCamera:
    """One camera."""

    camera_id: str
    site_id: str
    state: str
    """What is observed of an active camera, such as `running`; of others the status, such as `paused`."""
    trouble: str
    """What the worker reports; empty if nothing is wrong."""
    fps: float
    wanted_fps: float
    latency_s: float
    counts_per_minute: int | None
    """Crossings in the last full minute; None if they are unknown."""
    worker_id: str

    @property
    def is_counting(self) -> bool:
        """Whether its frames are counted now."""
        return self.state in {"running", "degraded"}

    @property
    def keeps_up(self) -> bool:
        """Whether enough of its frames are counted."""
        return keeps_up(self.fps, self.wanted_fps)


@dataclass(frozen=True, slots=True)
class TopWorker:
    """One worker."""

    worker_id: str
    online: bool
    cameras: int
    capacity: int
    backend: str
    spool_bytes: float
    fps: float
    """Frames a second that its cameras count together."""

    @property
    def load(self) -> float:
        """Share of its places that are taken; 0 for a worker without places."""
        return self.cameras / self.capacity if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class TopSnapshot:
    """Everything at one moment."""

    taken_at: float
    """Unix seconds."""
    cameras: tuple[TopCamera, ...]
    workers: tuple[TopWorker, ...]
    counts_problem: str = ""
    """Why the counts are unknown; empty if they are known."""

    def as_dict(self) -> dict[str, Any]:
        """The snapshot for `--json`."""
        return {
            "taken_at": rfc3339(self.taken_at),
            "cameras": [asdict(camera) for camera in self.cameras],
            "workers": [{**asdict(worker), "load": worker.load} for worker in self.workers],
            "counts_problem": self.counts_problem,
        }


def snapshot_of(
    taken_at: float,
    cameras: Iterable[Camera],
    workers: Iterable[Worker],
    counts: Mapping[str, int] | None,
    counts_problem: str = "",
) -> TopSnapshot:
    """Make a snapshot of what the services answered.

    Args:
        taken_at: Unix seconds.
        cameras: retired ones are left out.
        workers: all of them.
        counts: crossings of each camera in the last full minute; None if they are unknown.
        counts_problem: why they are unknown.
    """
    shown = [_camera(each, counts) for each in cameras if each.status != cameras_pb2.CAMERA_STATUS_RETIRED]
    fps: dict[str, float] = {}
    for camera in shown:
        if camera.is_counting:
            fps[camera.worker_id] = fps.get(camera.worker_id, 0.0) + camera.fps
    listed = [_worker(each, fps.get(each.worker_id, 0.0)) for each in workers]
    return TopSnapshot(taken_at, tuple(shown), tuple(sorted(listed, key=lambda each: each.worker_id)), counts_problem)


def _camera(camera: Camera, counts: Mapping[str, int] | None) -> TopCamera:
    observed = camera.observed
    return TopCamera(
        camera_id=camera.camera_id,
        site_id=camera.site_id,
        state=_state(camera),
        trouble=_trouble(camera),
        fps=observed.processed_fps,
        wanted_fps=wanted_fps(observed.source_fps, camera.spec.processing_rate),
        latency_s=observed.latency_s,
        counts_per_minute=None if counts is None else counts.get(camera.camera_id, 0),
        worker_id=observed.worker_id,
    )


def _trouble(camera: Camera) -> str:
    """What is wrong, without the name of the source: the row says which camera it is."""
    messages = [camera.observed.error.message] if camera.observed.error.message else []
    messages = messages or [each.message for each in camera.observed.warnings]
    source = camera.stream_url.removeprefix("file://")
    return "; ".join(message.removeprefix(f"{source}: ") for message in messages)


def _state(camera: Camera) -> str:
    if camera.status != cameras_pb2.CAMERA_STATUS_ACTIVE:
        return enum_word(CameraStatus.DESCRIPTOR, camera.status)
    state = camera.observed.state
    return enum_word(ObservedState.DESCRIPTOR, state) if state else "not observed"


def _worker(worker: Worker, fps: float) -> TopWorker:
    return TopWorker(
        worker_id=worker.worker_id,
        online=worker.state == WORKER_STATE_ONLINE,
        cameras=len(worker.camera_ids),
        capacity=worker.capacity,
        backend=worker.backend,
        spool_bytes=worker.spool_bytes,
        fps=fps,
    )


_KEYS: Final[dict[TopSort, Callable[[TopCamera], Any]]] = {
    TopSort.STATE: lambda each: _TROUBLE.index(each.state) if each.state in _TROUBLE else len(_TROUBLE),
    TopSort.CAMERA: lambda each: each.camera_id,
    TopSort.COUNTS: lambda each: -(each.counts_per_minute or 0),
    TopSort.FPS: lambda each: -each.fps,
    TopSort.LATENCY: lambda each: -each.latency_s,
    TopSort.WORKER: lambda each: each.worker_id,
}


def in_order(cameras: Iterable[TopCamera], by: TopSort, *, backwards: bool = False) -> list[TopCamera]:
    """The cameras in order: what needs a person, or the largest number, comes first. Equal ones are in order of id."""
    ordered = sorted(cameras, key=lambda each: (_KEYS[by](each), each.camera_id))
    return ordered[::-1] if backwards else ordered

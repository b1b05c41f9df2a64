"""Messages of the details of a camera. Pure."""

from collections.abc import Mapping

from countline.v1 import cameras_pb2, models_pb2, workers_pb2
from countline.v1.cameras_pb2 import Camera, CameraModel, CameraWorker


def worker_of(camera: Camera, workers: Mapping[str, workers_pb2.Worker]) -> CameraWorker | None:
    """Return the worker that holds a camera; None if none does."""
    worker = workers.get(camera.observed.worker_id)
    if worker is None:
        return None
    return CameraWorker(
        worker_id=worker.worker_id,
        online=worker.state == workers_pb2.WORKER_STATE_ONLINE,
        backend=worker.backend,
        version=worker.version,
        camera_count=len(worker.camera_ids),
        capacity=worker.capacity,
        reported_at=worker.reported_at,
    )


def model_of(camera: Camera, models: Mapping[str, models_pb2.Model]) -> CameraModel | None:
    """Return the model that counts a camera, or else the one that its spec names; None if it is unknown."""
    name, _, version = (camera.observed.model or camera.spec.model).partition("@")
    model = models.get(name)
    if model is None:
        return None
    return CameraModel(
        name=name,
        version=int(version) if version.isdigit() else 0,
        live_version=model.live_version,
        width=model.width,
        height=model.height,
        labels=model.labels,
    )


def shown_cameras(response: object) -> list[Camera]:
    """Return the cameras of an answer of the camera service."""
    if isinstance(response, cameras_pb2.ListCamerasResponse):
        return list(response.cameras)
    return [response.camera] if isinstance(response, cameras_pb2.GetCameraResponse) else []

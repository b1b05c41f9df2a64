"""Cameras as callers may see them: with their statuses, and without passwords unless the caller holds them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from countline.v1 import cameras_pb2
from countline_common.access.vocabulary import Permission
from countline_common.errors import CountlineError
from countline_common.grpc.calls import current_principal
from countline_common.logs import get_logger
from countline_control.cameras import domain, messages
from countline_control.cameras.domain import Camera, CameraStatus, ObservedState

_log = get_logger(__name__)


class StatusSource(Protocol):
    """Reports the processing of cameras; the service of workers implements it."""

    async def statuses(self, camera_ids: Sequence[str]) -> Mapping[str, CameraStatus]:
        """Return the statuses that are known, by camera. Raises `CountlineError` while it cannot answer."""
        ...


class ShownCameras:
    """Cameras as the caller of the present RPC may see them.

    Args:
        statuses: source of statuses; while it does not answer, cameras are shown without.
    """

    def __init__(self, statuses: StatusSource) -> None:
        self._statuses = statuses

    async def one(self, camera: Camera) -> cameras_pb2.Camera:
        """Return a camera with its status."""
        (shown,) = await self.all([camera])
        return shown

    async def all(self, cameras: Sequence[Camera]) -> list[cameras_pb2.Camera]:
        """Return cameras with their statuses."""
        statuses = await self._known_statuses([camera.camera_id for camera in cameras])
        secrets = current_principal().may(Permission.CAMERA_SECRETS)
        return [_message(camera, statuses, secrets=secrets) for camera in cameras]

    async def _known_statuses(self, camera_ids: Sequence[str]) -> Mapping[str, CameraStatus]:
        try:
            return await self._statuses.statuses(camera_ids) if camera_ids else {}
        except CountlineError as error:
            # Cameras can be read and changed while their statuses are unknown.
            _log.warning("camera.status_unknown", error=error.message)
            return {}


def _message(camera: Camera, statuses: Mapping[str, CameraStatus], *, secrets: bool) -> cameras_pb2.Camera:
    shown = camera if secrets else domain.for_readers(camera)
    return messages.camera_message(shown, _status(camera, statuses.get(camera.camera_id)))


def _status(camera: Camera, known: CameraStatus | None) -> CameraStatus:
    if camera.spec.disabled:
        return CameraStatus(ObservedState.DISABLED)
    if domain.is_unreadable(camera):
        return CameraStatus(ObservedState.FAILED, fault=domain.UNREADABLE)
    return domain.with_picture_warning(camera, known or CameraStatus(ObservedState.WAITING))

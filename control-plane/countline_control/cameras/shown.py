"""Cameras as callers may see them: with their observations, and without passwords unless the caller holds them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from countline.v1 import cameras_pb2
from countline_common.access.vocabulary import Permission
from countline_common.errors import CountlineError
from countline_common.grpc.calls import current_principal
from countline_common.logs import get_logger
from countline_control.cameras import domain, messages
from countline_control.cameras.domain import Camera, CameraObservation, ObservedState
from countline_control.cameras.lifecycle import WantedStatus

_log = get_logger(__name__)


class ObservationSource(Protocol):
    """Reports the processing of cameras; the service of workers implements it."""

    async def observations(self, camera_ids: Sequence[str] | None) -> Mapping[str, CameraObservation]:
        """Return the observations that are known, by camera; None asks for those of all cameras.

        Raises:
            CountlineError: it cannot answer now.
        """
        ...


class ShownCameras:
    """Cameras as the caller of the present RPC may see them.

    Args:
        observations: source of observations; while it does not answer, cameras are shown without.
    """

    def __init__(self, observations: ObservationSource) -> None:
        self._observations = observations

    async def one(self, camera: Camera) -> cameras_pb2.Camera:
        """Return a camera with its status."""
        (shown,) = await self.all([camera])
        return shown

    async def all(
        self, cameras: Sequence[Camera], observed: Mapping[str, CameraObservation] | None = None
    ) -> list[cameras_pb2.Camera]:
        """Return cameras with their observations, which are asked for unless they are given."""
        if observed is None:
            observed = await self._known([camera.camera_id for camera in cameras])
        secrets = current_principal().may(Permission.CAMERA_SECRETS)
        return [_message(camera, observed.get(camera.camera_id), secrets=secrets) for camera in cameras]

    async def observations(self) -> Mapping[str, CameraObservation]:
        """Return what is observed of all cameras, for a filter.

        Raises:
            CountlineError: the service of workers does not answer.
        """
        return await self._observations.observations(None)

    async def _known(self, camera_ids: Sequence[str]) -> Mapping[str, CameraObservation]:
        """Return what is observed, by camera; empty while it is unknown."""
        try:
            return await self._observations.observations(camera_ids) if camera_ids else {}
        except CountlineError as error:
            # Cameras can be read and changed while their observations are unknown.
            _log.warning("camera.status_unknown", error=error.message)
            return {}


def _message(camera: Camera, known: CameraObservation | None, *, secrets: bool) -> cameras_pb2.Camera:
    shown = camera if secrets else domain.for_readers(camera)
    return messages.camera_message(shown, _observed(camera, known))


def _observed(camera: Camera, known: CameraObservation | None) -> CameraObservation | None:
    if camera.status is not WantedStatus.ACTIVE:
        return None
    if domain.is_unreadable(camera):
        return CameraObservation(ObservedState.FAILED, fault=domain.UNREADABLE)
    return domain.with_picture_warning(camera, known or CameraObservation(ObservedState.WAITING))

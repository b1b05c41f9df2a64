"""How cameras, models and workers ask each other: directly in one process, over gRPC when they run apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc

from countline.v1 import (
    cameras_pb2,
    cameras_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    workers_pb2,
    workers_pb2_grpc,
)
from countline.v1.cameras_pb2 import CameraStatus
from countline_common.errors import CountlineError, InvalidInputError
from countline_common.grpc.errors import translated
from countline_control.cameras.service import CameraService, StatusSource
from countline_control.database import translate
from countline_control.models.domain import Serving, trial_of
from countline_control.models.service import ModelService
from countline_control.workers.fleet import AssignableCamera
from countline_control.workers.schedule import CameraDirectory, Schedule

CALL_TIMEOUT_S: Final = 3.0
STATUS_TIMEOUT_S: Final = 1.0
"""Cameras are shown without a status rather than late."""
PAGE: Final = 1000

Metadata = tuple[tuple[str, str], ...]


class LocalDirectory:
    """Cameras of the service in this process."""

    poll_period_s = 5.0
    """Changes are told at once; asking again is for those that another process made in the same database."""

    def __init__(self, service: CameraService) -> None:
        self._service = service

    async def cameras(self) -> list[AssignableCamera]:
        """All of them.

        Raises:
            UnavailableError: the database of cameras does not answer.
        """
        try:
            rows = await self._service.assignable()
        except CountlineError:
            raise
        except Exception as error:
            raise (translate(error) or error) from error
        return [AssignableCamera(camera, time_zone) for camera, time_zone in rows]


class RemoteDirectory:
    """Cameras of a service elsewhere, credentials included: the token needs `cameras.secrets`."""

    poll_period_s = 1.0

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._stub = cameras_pb2_grpc.CameraServiceStub(channel)
        self._metadata = metadata

    async def cameras(self) -> list[AssignableCamera]:
        """All of them.

        Raises:
            CountlineError: the service does not answer, or does not let us.
        """
        with translated():
            zones = await self._time_zones()
            cameras = await self._cameras()
        # A camera of a site that was created in between comes with the next look.
        return [AssignableCamera(camera, zones[camera.site_id]) for camera in cameras if camera.site_id in zones]

    async def _time_zones(self) -> dict[str, str]:
        zones: dict[str, str] = {}
        token = ""
        while True:
            request = cameras_pb2.ListSitesRequest(page_size=PAGE, page_token=token)
            answer = await self._stub.ListSites(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)
            zones.update({site.site_id: site.time_zone for site in answer.sites})
            token = answer.next_page_token
            if not token:
                return zones

    async def _cameras(self) -> list[cameras_pb2.Camera]:
        found: list[cameras_pb2.Camera] = []
        token = ""
        while True:
            request = cameras_pb2.ListCamerasRequest(page_size=PAGE, page_token=token)
            answer = await self._stub.ListCameras(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)
            for camera in answer.cameras:
                camera.ClearField("status")
            found.extend(answer.cameras)
            token = answer.next_page_token
            if not token:
                return found


class LocalModels:
    """What is live and on trial, of the service of models in this process."""

    poll_period_s = 5.0

    def __init__(self, service: ModelService) -> None:
        self._service = service

    async def serving(self) -> Serving:
        """What decides which version counts a camera.

        Raises:
            UnavailableError: the database of models does not answer.
        """
        try:
            return await self._service.serving()
        except CountlineError:
            raise
        except Exception as error:
            raise (translate(error) or error) from error


class RemoteModels:
    """What is live and on trial, of a service elsewhere; the token needs `models.read`."""

    poll_period_s = 1.0

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, default_model: str) -> None:
        self._stub = models_pb2_grpc.ModelServiceStub(channel)
        self._metadata = metadata
        self._default_model = default_model

    async def serving(self) -> Serving:
        """What decides which version counts a camera.

        Raises:
            CountlineError: the service does not answer, or does not let us.
        """
        request = models_pb2.ListServingRequest()
        with translated():
            answer = await self._stub.ListServing(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)
        return Serving(dict(answer.live), tuple(map(trial_of, answer.trials)), self._default_model)


class NamedModels:
    """Which model each camera names and what counts it now, for the service of models."""

    def __init__(self, directory: CameraDirectory, statuses: StatusSource) -> None:
        self._directory = directory
        self._statuses = statuses

    async def named(self) -> dict[str, str]:
        """What each camera's spec names, by id.

        Raises:
            CountlineError: the service of cameras does not answer.
        """
        return {item.camera.camera_id: item.camera.spec.model for item in await self._directory.cameras()}

    async def statuses(self, camera_ids: Sequence[str]) -> dict[str, CameraStatus]:
        """Where their processing stands.

        Raises:
            CountlineError: the service of workers does not answer.
        """
        return await self._statuses.statuses(camera_ids) if camera_ids else {}


class LocalStatuses:
    """Statuses of the service in this process, which is made after the one that asks."""

    def __init__(self) -> None:
        self.schedule: Schedule | None = None

    async def statuses(self, camera_ids: Sequence[str]) -> dict[str, CameraStatus]:
        """The statuses of those that are known."""
        return await self.schedule.statuses(camera_ids) if self.schedule is not None else {}


class RemoteStatuses:
    """Statuses of a service elsewhere; the token needs `workers.read`."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._stub = workers_pb2_grpc.WorkerServiceStub(channel)
        self._metadata = metadata

    async def statuses(self, camera_ids: Sequence[str]) -> dict[str, CameraStatus]:
        """The statuses of those that are known.

        Raises:
            CountlineError: the service does not answer, or does not let us.
        """
        request = workers_pb2.ListCameraStatusesRequest(camera_ids=camera_ids)
        with translated():
            answer = await self._stub.ListCameraStatuses(request, timeout=STATUS_TIMEOUT_S, metadata=self._metadata)
        return {report.camera_id: report.status for report in answer.cameras}


def service_metadata(token_file: Path | None) -> Metadata:
    """What services that run apart send along.

    Raises:
        InvalidInputError: there is no token file, or it cannot be read.
    """
    if token_file is None:
        raise InvalidInputError(
            "COUNTLINE_SERVICE_TOKEN_FILE is not set, and services that run apart need a token",
            hint="make one with `countline tokens service`, or run all of them in one process",
        )
    try:
        token = token_file.read_text().strip()
    except OSError as error:
        raise InvalidInputError(f"the service token {token_file} cannot be read: {error.strerror}") from error
    return (("authorization", f"Bearer {token}"),)

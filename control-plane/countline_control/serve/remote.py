"""How services of different processes ask each other: over gRPC, with a token."""

from collections.abc import Callable, Sequence
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
from countline_common.errors import CountlineError, InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.grpc.authorization import Metadata, bearer_metadata
from countline_common.grpc.channels import open_channel
from countline_common.grpc.errors import translated
from countline_common.grpc.paging import MAX_SIZE, every_page
from countline_common.http.request_ids import request_metadata
from countline_common.tls.files import TlsFiles
from countline_control.auth.access.places import Places
from countline_control.cameras.domain import CameraObservation
from countline_control.cameras.messages import camera_of, observation_of
from countline_control.models.domain import ModelRouting
from countline_control.models.messages import trial_of
from countline_control.workers.domain import AssignableCamera
from countline_control.workers.forwarding import FORWARDED, no_holder
from countline_control.workers.lease import SchedulingLease
from countline_control.workers.messages import assignable

CALL_TIMEOUT_S: Final = 3.0
STATUS_TIMEOUT_S: Final = 1.0
"""Shorter: cameras are better shown without a status than late."""


class RemoteCameras:
    """Lists the cameras of a service elsewhere, credentials included: the token needs `camera:secrets`."""

    poll_period_s = 1.0

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._stub = cameras_pb2_grpc.CameraServiceStub(channel)
        self._metadata = metadata

    async def cameras(self) -> list[AssignableCamera]:
        """Return all cameras.

        Raises:
            CountlineError: the service does not answer, or refuses the token.
        """
        with translated():
            zones = await self._time_zones()
            found = await self._cameras()
        # A camera of a site that was created between the two calls is found by the next poll.
        cameras = [camera_of(message) for message in found if message.site_id in zones]
        return [assignable(camera, zones[camera.site_id]) for camera in cameras]

    async def places(self) -> Places:
        """Return all sites and cameras.

        Raises:
            CountlineError: the service does not answer, or refuses the token.
        """
        with translated():
            sites, cameras = await self._time_zones(), await self._cameras()
        return Places(frozenset(sites), {camera.camera_id: camera.site_id for camera in cameras})

    async def _time_zones(self) -> dict[str, str]:
        sites = await every_page(
            lambda token: self._stub.ListSites(
                cameras_pb2.ListSitesRequest(page_size=MAX_SIZE, page_token=token),
                timeout=CALL_TIMEOUT_S,
                metadata=_sent(self._metadata),
            ),
            lambda response: response.sites,
        )
        return {site.site_id: site.time_zone for site in sites}

    async def _cameras(self) -> list[cameras_pb2.Camera]:
        return await every_page(
            lambda token: self._stub.ListCameras(
                cameras_pb2.ListCamerasRequest(page_size=MAX_SIZE, page_token=token),
                timeout=CALL_TIMEOUT_S,
                metadata=_sent(self._metadata),
            ),
            lambda response: response.cameras,
        )


class RemoteRouting:
    """Reads the routing of a service of models elsewhere; the token needs `model:read`."""

    poll_period_s = 1.0

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, default_model: str) -> None:
        self._stub = models_pb2_grpc.ModelServiceStub(channel)
        self._metadata = metadata
        self._default_model = default_model

    async def routing(self) -> ModelRouting:
        """Return what decides which version counts a camera.

        Raises:
            CountlineError: the service does not answer, or refuses the token.
        """
        request = models_pb2.ListServingRequest()
        with translated():
            answer = await self._stub.ListServing(request, timeout=CALL_TIMEOUT_S, metadata=_sent(self._metadata))
        return ModelRouting(dict(answer.live), tuple(map(trial_of, answer.trials)), self._default_model)


class RemoteStatuses:
    """Reads the observations of a service of workers elsewhere; the token needs `worker:read`."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._stub = workers_pb2_grpc.WorkerServiceStub(channel)
        self._metadata = metadata

    async def observations(self, camera_ids: Sequence[str] | None) -> dict[str, CameraObservation]:
        """Return the observations that are known; None asks for those of all cameras.

        Raises:
            CountlineError: the service does not answer, or refuses the token.
        """
        if camera_ids is not None and not camera_ids:
            return {}  # the request would stand for all cameras
        request = workers_pb2.ListCameraObservationsRequest(camera_ids=camera_ids)
        with translated():
            answer = await self._stub.ListCameraObservations(
                request, timeout=STATUS_TIMEOUT_S, metadata=_sent(self._metadata)
            )
        return {report.camera_id: observation_of(report.observed) for report in answer.cameras}


class HolderStatuses:
    """Reads the observations from the copy of the service of workers that schedules.

    Args:
        lease: knows that copy.
        tls: certificate files of the channel to it; None without TLS.
        token: returns a token with `worker:read`.
    """

    def __init__(self, lease: SchedulingLease, tls: TlsFiles | None, token: Callable[[], str]) -> None:
        self._lease = lease
        self._tls = tls
        self._token = token

    @property
    def applies(self) -> bool:
        """Whether another copy schedules."""
        return self._lease.holder is not None

    async def observations(self, camera_ids: Sequence[str] | None) -> dict[str, CameraObservation]:
        """Return the observations that are known; None asks for those of all cameras.

        Raises:
            CountlineError: the copy does not answer.
        """
        holder = self._lease.holder
        if holder is None:
            raise no_holder()
        metadata = (*bearer_metadata(self._token()), (FORWARDED, "1"))
        async with open_channel(holder.address, self._tls) as channel:
            return await RemoteStatuses(channel, metadata).observations(camera_ids)


def _sent(metadata: Metadata) -> Metadata:
    """Return the metadata of a service, with the id of the request that needs the call."""
    return (*metadata, *request_metadata())


def service_metadata(token_file: Path | None) -> Metadata:
    """Return the metadata of calls between services.

    Raises:
        InvalidInputError: there is no token file, or it cannot be read.
    """
    if token_file is None:
        raise InvalidInputError(
            "COUNTLINE_SERVICE_TOKEN_FILE is not set, and services in separate processes need a token",
            hint="run all services in one process, or make a key: countline service-accounts add NAME --role service "
            "--with-key",
        )
    try:
        token = read_text(token_file).strip()
    except CountlineError as error:
        raise InvalidInputError(
            f"the service token cannot be read: {error.message}", hint="correct COUNTLINE_SERVICE_TOKEN_FILE"
        ) from error
    return bearer_metadata(token)

"""The gRPC service of sites and cameras.

Whoever watches cameras, such as the service that gives them to workers, is told of each change at once by `changes`,
and may read them with `assignable`; where that service runs elsewhere it asks over gRPC. Passwords in addresses are
shown only to callers that hold `cameras.secrets`.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import cameras_pb2, cameras_pb2_grpc
from countline.v1.cameras_pb2 import Camera, CameraStatus, Site
from countline_common.errors import ConflictError, CountlineError, FieldProblem, NotFoundError
from countline_common.grpc.calls import Context, current_principal
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.server import Service
from countline_common.grpc.tokens import CAMERA_SECRETS
from countline_common.logs import get_logger
from countline_common.times import from_timestamp, to_datetime, to_timestamp
from countline_control.cameras import domain, store
from countline_control.cameras.tables import outbox as outbox_rows
from countline_control.database import Database
from countline_control.outbox import Outbox

NAME: Final = "countline.v1.CameraService"

_log = get_logger(__name__)


class StatusSource(Protocol):
    """Knows where the processing of cameras stands; the service of workers does."""

    async def statuses(self, camera_ids: Sequence[str]) -> dict[str, CameraStatus]:
        """The statuses of those that are known. Raises `CountlineError` while it cannot say."""
        ...


class CameraService(cameras_pb2_grpc.CameraServiceServicer):
    """Answers `countline.v1.CameraService`.

    Args:
        database: with the schema `cameras`.
        statuses: where statuses come from; cameras are shown without, while it is away.
        on_change: called after each committed change.
        clock: Unix seconds now.
    """

    def __init__(
        self,
        database: Database,
        statuses: StatusSource,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._statuses = statuses
        self._on_change = on_change
        self._clock = clock
        self.outbox = Outbox(outbox_rows)

    def as_service(self) -> Service:
        """How a server serves it."""
        return Service(
            NAME,
            lambda server: cameras_pb2_grpc.add_CameraServiceServicer_to_server(self, server),
            self._database.check,
        )

    async def CreateSite(
        self, request: cameras_pb2.CreateSiteRequest, context: Context
    ) -> cameras_pb2.CreateSiteResponse:
        site = Site(site_id=request.site.site_id, title=request.site.title, time_zone=request.site.time_zone)
        domain.refuse("the site cannot be created", domain.site_problems(site))
        now = self._now()
        site.created_at.CopyFrom(to_timestamp(now.timestamp()))
        async with self._database.begin() as connection:
            await store.insert_site(connection, site, now)
            await self.outbox.add(connection, "site", "created", current_principal().name, site)
        return cameras_pb2.CreateSiteResponse(site=site)

    async def ListSites(self, request: cameras_pb2.ListSitesRequest, context: Context) -> cameras_pb2.ListSitesResponse:
        wanted = page(request.page_size, request.page_token)
        found = await self._database.read(
            lambda connection: store.list_sites(connection, wanted.after, wanted.size + 1)
        )
        token = next_token(found[wanted.size - 1].site_id) if len(found) > wanted.size else ""
        return cameras_pb2.ListSitesResponse(sites=found[: wanted.size], next_page_token=token)

    async def CreateCamera(
        self, request: cameras_pb2.CreateCameraRequest, context: Context
    ) -> cameras_pb2.CreateCameraResponse:
        wanted, now = request.camera, self._now()
        domain.refuse("the camera cannot be created", domain.camera_problems(wanted, now.timestamp()))
        domain.url_with_secrets(wanted.spec.source_url, stored="")
        camera = Camera(camera_id=wanted.camera_id, site_id=wanted.site_id, title=wanted.title, revision=1)
        camera.created_at.CopyFrom(to_timestamp(now.timestamp()))
        camera.updated_at.CopyFrom(camera.created_at)
        async with self._database.begin() as connection:
            if await store.get_site(connection, camera.site_id) is None:
                problem = f"there is no site {camera.site_id!r}; create it first: countline sites add"
                domain.refuse("the camera cannot be created", [FieldProblem("site_id", problem)])
            known = await store.geometry_versions_of(connection, camera.camera_id)
            spec, new = domain.versioned(domain.with_defaults(wanted.spec, now.timestamp()), known)
            camera.spec.CopyFrom(spec)
            await store.insert_camera(connection, camera, now)
            await store.save_geometry_versions(connection, camera.camera_id, new)
            await self._tell(connection, "created", camera)
        self._on_change()
        return cameras_pb2.CreateCameraResponse(camera=await self._shown(camera))

    async def GetCamera(self, request: cameras_pb2.GetCameraRequest, context: Context) -> cameras_pb2.GetCameraResponse:
        camera = await self._database.read(lambda connection: store.get_camera(connection, request.camera_id))
        if camera is None:
            raise _not_found(request.camera_id)
        return cameras_pb2.GetCameraResponse(camera=await self._shown(camera))

    async def ListCameras(
        self, request: cameras_pb2.ListCamerasRequest, context: Context
    ) -> cameras_pb2.ListCamerasResponse:
        wanted = page(request.page_size, request.page_token, request.site_id)
        found = await self._database.read(
            lambda connection: store.list_cameras(connection, wanted.after, wanted.size + 1, request.site_id)
        )
        token = next_token(found[wanted.size - 1].camera_id, request.site_id) if len(found) > wanted.size else ""
        cameras = await self._all_shown(found[: wanted.size])
        return cameras_pb2.ListCamerasResponse(cameras=cameras, next_page_token=token)

    async def UpdateCamera(
        self, request: cameras_pb2.UpdateCameraRequest, context: Context
    ) -> cameras_pb2.UpdateCameraResponse:
        paths = list(request.update_mask.paths) or domain.paths_of(request.camera)
        domain.refuse("the camera cannot be changed", domain.mask_problems(paths))
        now = self._now()
        async with self._database.begin() as connection:
            stored = await store.get_camera(connection, request.camera.camera_id, lock=True)
            if stored is None:
                raise _not_found(request.camera.camera_id)
            _check_revision(stored, request.camera.revision)
            camera = domain.changed(stored, request.camera, paths)
            camera.spec.source_url = domain.url_with_secrets(camera.spec.source_url, stored.spec.source_url)
            domain.refuse("the camera cannot be changed", domain.camera_problems(camera, now.timestamp()))
            known = await store.geometry_versions_of(connection, camera.camera_id)
            spec, new = domain.versioned(domain.with_defaults(camera.spec, from_timestamp(stored.created_at)), known)
            camera.spec.CopyFrom(spec)
            camera.revision = stored.revision + 1
            camera.updated_at.CopyFrom(to_timestamp(now.timestamp()))
            await store.update_camera(connection, camera, now)
            await store.save_geometry_versions(connection, camera.camera_id, new)
            await self._tell(connection, "updated", camera)
        self._on_change()
        return cameras_pb2.UpdateCameraResponse(camera=await self._shown(camera))

    async def DeleteCamera(
        self, request: cameras_pb2.DeleteCameraRequest, context: Context
    ) -> cameras_pb2.DeleteCameraResponse:
        async with self._database.begin() as connection:
            camera = await store.get_camera(connection, request.camera_id, lock=True)
            if camera is None:
                raise _not_found(request.camera_id)
            await store.delete_camera(connection, request.camera_id)
            await self._tell(connection, "deleted", camera)
        self._on_change()
        return cameras_pb2.DeleteCameraResponse()

    async def assignable(self) -> list[tuple[Camera, str]]:
        """Every camera with its credentials and the time zone of its site; for services of this process only."""
        return await self._database.read(store.all_assignable)

    def _now(self) -> datetime:
        return to_datetime(self._clock())

    async def _tell(self, connection: AsyncConnection, event: str, camera: Camera) -> None:
        actor = current_principal().name
        _log.info(f"camera.{event}", camera_id=camera.camera_id, actor=actor, revision=camera.revision)
        await self.outbox.add(connection, "camera", event, actor, domain.for_readers(camera))

    async def _shown(self, camera: Camera) -> Camera:
        (shown,) = await self._all_shown([camera])
        return shown

    async def _all_shown(self, cameras: Sequence[Camera]) -> list[Camera]:
        """The cameras as the caller may see them, with their statuses."""
        statuses = await self._known_statuses([camera.camera_id for camera in cameras])
        secrets = current_principal().may(CAMERA_SECRETS)
        shown = [camera if secrets else domain.for_readers(camera) for camera in cameras]
        for camera in shown:
            camera.status.CopyFrom(_status(camera, statuses.get(camera.camera_id)))
        return shown

    async def _known_statuses(self, camera_ids: Sequence[str]) -> dict[str, CameraStatus]:
        try:
            return await self._statuses.statuses(camera_ids) if camera_ids else {}
        except CountlineError as error:
            # A camera can be looked at and changed while nobody knows how it does.
            _log.warning("camera.status_unknown", error=error.message)
            return {}


def _status(camera: Camera, known: CameraStatus | None) -> CameraStatus:
    if camera.spec.disabled:
        return CameraStatus(state=cameras_pb2.CAMERA_STATE_DISABLED)
    return known or CameraStatus(state=cameras_pb2.CAMERA_STATE_WAITING)


def _check_revision(stored: Camera, given: int) -> None:
    if given and given != stored.revision:
        raise ConflictError(
            f"the camera {stored.camera_id!r} was changed meanwhile: it has revision {stored.revision}, not {given}",
            hint="read it again and repeat the change",
        )


def _not_found(camera_id: str) -> NotFoundError:
    return NotFoundError(f"there is no camera {camera_id!r}", hint="list those that there are: countline cameras list")

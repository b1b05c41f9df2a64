"""The gRPC service of sites and cameras.

After each committed change the service calls `on_change`: the schedule of workers, when it runs in this process, then
reads the cameras with `assignable`. A schedule in another process reads them over gRPC. Only callers that hold
`camera:secrets` see the passwords in addresses.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import cameras_pb2, cameras_pb2_grpc
from countline_common.access.camera_sites import CameraSites
from countline_common.access.scopes import Reach
from countline_common.access.vocabulary import Permission
from countline_common.data.outbox import Outbox, OutboxTrail
from countline_common.errors import ConflictError, NotFoundError
from countline_common.grpc.authorization import outside
from countline_common.grpc.calls import Context, current_principal
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_control.cameras import checks, domain, messages, store
from countline_control.cameras.commands.cameras import CameraCommands, not_found
from countline_control.cameras.domain import Camera, Site
from countline_control.cameras.history.answers import CameraHistory
from countline_control.cameras.lists import filters, pages
from countline_control.cameras.new_cameras import insert_with_id, site_of_new
from countline_control.cameras.shown import ObservationSource, ShownCameras
from countline_control.cameras.tables import outbox as outbox_rows
from countline_control.data_keys import DataKeys
from countline_control.database import Database
from countline_control.names import SHOWN_IDS, first_of
from countline_control.revisions import check_revision

NAME: Final = "countline.v1.CameraService"

_log = get_logger(__name__)


class CameraService(cameras_pb2_grpc.CameraServiceServicer):
    """Answers `countline.v1.CameraService`.

    Args:
        database: holds the schema `cameras`.
        keys: seal and open the addresses of cameras.
        observed: source of observations; while it does not answer, cameras are shown without.
        on_change: called after each committed change.
    """

    def __init__(
        self,
        database: Database,
        keys: DataKeys,
        observed: ObservationSource,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._shown = ShownCameras(observed)
        self._on_change = on_change
        self.outbox = Outbox(outbox_rows)
        self._sites = CameraSites(
            lambda camera_id: database.read(lambda connection: store.site_of(connection, camera_id))
        )
        self.commands = CameraCommands(keys, self.outbox)
        self._history = CameraHistory(database, self.outbox)
        self.trail = OutboxTrail(database.begin, self.outbox)

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(
            NAME,
            lambda server: cameras_pb2_grpc.add_CameraServiceServicer_to_server(self, server),
            self._database.check,
            self._sites.site_of,
            self.trail,
        )

    async def CreateSite(
        self, request: cameras_pb2.CreateSiteRequest, context: Context
    ) -> cameras_pb2.CreateSiteResponse:
        site = Site(request.site.site_id, request.site.title, request.site.time_zone, time.time())
        checks.refuse("the site cannot be created", checks.site_problems(site))
        async with self._database.begin() as connection:
            message = await self._insert_site(connection, site)
            await self.outbox.record(connection, f"sites/{site.site_id}", after=message)
        return cameras_pb2.CreateSiteResponse(site=message)

    async def _insert_site(self, connection: AsyncConnection, site: Site) -> cameras_pb2.Site:
        message = messages.site_message(site)
        await store.insert_site(connection, site)
        await self.outbox.add(connection, "site", "created", current_principal().real_name, message)
        return message

    async def UpdateSite(
        self, request: cameras_pb2.UpdateSiteRequest, context: Context
    ) -> cameras_pb2.UpdateSiteResponse:
        paths = list(request.update_mask.paths) or messages.set_site_paths(request.site)
        checks.refuse("the site cannot be changed", checks.site_mask_problems(paths))
        first_day, wanted = checks.first_day(request.time_zone_from), request.site
        async with self._database.begin() as connection:
            stored = await store.get_site(connection, wanted.site_id, lock=True)
            if stored is None:
                raise _no_site(wanted.site_id)
            check_revision(f"site {stored.site_id!r}", stored.revision, wanted.revision)
            site = _changed_site(stored, wanted, set(paths), first_day)
            checks.refuse("the site cannot be changed", checks.site_problems(site))
            if site == stored:
                return cameras_pb2.UpdateSiteResponse(site=messages.site_message(stored))
            site = replace(site, revision=stored.revision + 1)
            before, message = messages.site_message(stored), messages.site_message(site)
            await store.update_site(connection, site)
            await self.outbox.record(connection, f"sites/{site.site_id}", before=before, after=message)
            await self.outbox.add(connection, "site", "updated", current_principal().real_name, message)
        _log.info("site.updated", site_id=site.site_id, actor=current_principal().real_name, time_zone=site.time_zone)
        self._on_change()
        return cameras_pb2.UpdateSiteResponse(site=message)

    async def GetSite(self, request: cameras_pb2.GetSiteRequest, context: Context) -> cameras_pb2.GetSiteResponse:
        reach = _reach()
        site = await self._database.read(lambda connection: store.get_site(connection, request.site_id, reach=reach))
        if site is None and not reach.everything:
            # As for cameras: the answer does not say whether the site exists.
            raise outside(current_principal(), "GetSite", Permission.CAMERA_READ)
        if site is None:
            raise _no_site(request.site_id)
        return cameras_pb2.GetSiteResponse(site=messages.site_message(site))

    async def DeleteSite(
        self, request: cameras_pb2.DeleteSiteRequest, context: Context
    ) -> cameras_pb2.DeleteSiteResponse:
        async with self._database.begin() as connection:
            site = await store.get_site(connection, request.site_id, lock=True)
            if site is None:
                raise _no_site(request.site_id)
            if camera_ids := await store.ids_of_site(connection, site.site_id, SHOWN_IDS + 1):
                raise _still_has(site, camera_ids)
            await store.delete_site(connection, site.site_id)
            actor, message = current_principal().real_name, messages.site_message(site)
            await self.outbox.record(connection, f"sites/{site.site_id}", before=message)
            await self.outbox.add(connection, "site", "deleted", actor, message)
        _log.info("site.deleted", site_id=site.site_id, actor=actor)
        return cameras_pb2.DeleteSiteResponse()

    async def ListSites(self, request: cameras_pb2.ListSitesRequest, context: Context) -> cameras_pb2.ListSitesResponse:
        wanted, reach = page(request.page_size, request.page_token), _reach()
        found = await self._database.read(
            lambda connection: store.list_sites(connection, wanted.after, wanted.size + 1, reach)
        )
        token = next_token(found[wanted.size - 1].site_id) if len(found) > wanted.size else ""
        shown = [messages.site_message(site) for site in found[: wanted.size]]
        return cameras_pb2.ListSitesResponse(sites=shown, next_page_token=token)

    async def CreateCamera(
        self, request: cameras_pb2.CreateCameraRequest, context: Context
    ) -> cameras_pb2.CreateCameraResponse:
        given, actor = messages.camera_of(request.camera), current_principal().real_name
        async with self._database.begin() as connection:
            wanted = replace(given, site_id=await site_of_new(connection, given, self._insert_first_site))
            create = partial(self.commands.create, connection, actor=actor)
            camera = await insert_with_id(connection, wanted, create)
            if request.validate_only:
                await connection.rollback()
                return cameras_pb2.CreateCameraResponse(camera=await self._shown.one(camera))
            await self.commands.record(connection, "created", camera, actor)
            await _audit(connection, self.outbox, None, camera)
        self._on_change()
        return cameras_pb2.CreateCameraResponse(camera=await self._shown.one(camera))

    async def _insert_first_site(self, connection: AsyncConnection, site: Site) -> None:
        message = await self._insert_site(connection, site)
        await self.outbox.record_beside(connection, f"sites/{site.site_id}", message)

    async def GetCamera(self, request: cameras_pb2.GetCameraRequest, context: Context) -> cameras_pb2.GetCameraResponse:
        if request.HasField("at"):
            return cameras_pb2.GetCameraResponse(camera=await self._history.camera_at(request, _reach()))
        camera_id = request.camera_id
        camera = await self._database.read(lambda connection: store.get_camera(connection, camera_id, self._keys))
        if camera is None:
            raise not_found(camera_id)
        return cameras_pb2.GetCameraResponse(camera=await self._shown.one(camera))

    async def ListCameras(
        self, request: cameras_pb2.ListCamerasRequest, context: Context
    ) -> cameras_pb2.ListCamerasResponse:
        shown, reach = messages.filter_of(request), _reach()
        filters.check_order(shown.order_by)
        wanted = page(request.page_size, request.page_token, shown.key())
        observations = await self._shown.observations() if shown.needs_observations else None
        observed = filters.observed_cameras(shown, observations or {})
        found, last = await self._database.read(
            lambda connection: pages.read_page(connection, shown, observed, reach, wanted, self._keys)
        )
        token = next_token(last, shown.key()) if last else ""
        cameras = await self._shown.all(found, observations)
        return cameras_pb2.ListCamerasResponse(cameras=cameras, next_page_token=token)

    async def ListCameraChanges(
        self, request: cameras_pb2.ListCameraChangesRequest, context: Context
    ) -> cameras_pb2.ListCameraChangesResponse:
        return await self._history.changes(request, _reach())

    async def RebuildCameras(
        self, request: cameras_pb2.RebuildCamerasRequest, context: Context
    ) -> cameras_pb2.RebuildCamerasResponse:
        rebuilt = await self._history.rebuild(request)
        if request.write and rebuilt.differences:
            self._on_change()
        return rebuilt

    async def UpdateCamera(
        self, request: cameras_pb2.UpdateCameraRequest, context: Context
    ) -> cameras_pb2.UpdateCameraResponse:
        paths = list(request.update_mask.paths) or messages.set_paths(request.camera)
        checks.refuse("the camera cannot be changed", checks.mask_problems(paths))
        given, actor = messages.camera_of(request.camera), current_principal().real_name
        async with self._database.begin() as connection:
            stored, camera = await self.commands.change(
                connection, given, paths, actor, validate_only=request.validate_only
            )
            if camera == stored or request.validate_only:
                return cameras_pb2.UpdateCameraResponse(camera=await self._shown.one(camera))
            await _audit(connection, self.outbox, stored, camera)
        self._on_change()
        return cameras_pb2.UpdateCameraResponse(camera=await self._shown.one(camera))

    async def DeleteCamera(
        self, request: cameras_pb2.DeleteCameraRequest, context: Context
    ) -> cameras_pb2.DeleteCameraResponse:
        async with self._database.begin() as connection:
            actor = current_principal().real_name
            camera = await self.commands.delete(connection, request.camera_id, request.revision, actor)
            await _audit(connection, self.outbox, camera, None)
        self._on_change()
        return cameras_pb2.DeleteCameraResponse()

    async def assignable(self) -> list[tuple[Camera, str]]:
        """Return every camera with its credentials and its site's time zone, for services of this process only."""
        return await self._database.read(lambda connection: store.all_assignable(connection, self._keys))


def _reach() -> Reach:
    """Return the sites and cameras that the caller may see."""
    return current_principal().reach(Permission.CAMERA_READ)


def _changed_site(stored: Site, wanted: cameras_pb2.Site, paths: set[str], first_day: date | None) -> Site:
    site = replace(stored, title=wanted.title) if {"*", "title"} & paths else stored
    return domain.with_time_zone(site, wanted.time_zone, first_day) if {"*", "time_zone"} & paths else site


def _no_site(site_id: str) -> NotFoundError:
    return NotFoundError(f"there is no site {site_id!r}", hint="list the sites: countline sites list")


def _still_has(site: Site, camera_ids: Sequence[str]) -> ConflictError:
    return ConflictError(
        f"site {site.site_id!r} still has cameras: {first_of(camera_ids)}",
        hint="delete them first: countline cameras rm CAMERA",
    )


async def _audit(connection: AsyncConnection, outbox: Outbox, before: Camera | None, after: Camera | None) -> None:
    """Write the audit row of a change. Credentials are compared and not shown."""
    old, new = (messages.camera_message(camera) if camera is not None else None for camera in (before, after))
    known = after or before
    assert known is not None, "a change has a state before or after"
    await outbox.record(connection, f"cameras/{known.camera_id}", before=old, after=new)

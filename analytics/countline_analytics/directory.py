"""Looks up cameras and lines: from the camera service, or from stored counts while the camera service is away.

Analytics asks with the caller's own token, so a caller sees no more cameras here than the camera service shows.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1 import cameras_pb2, cameras_pb2_grpc
from countline_analytics.questions.callers import Caller
from countline_analytics.store.sql import query
from countline_common.access.vocabulary import Permission
from countline_common.errors import CountlineError
from countline_common.grpc.errors import translated
from countline_common.grpc.paging import MAX_SIZE, every_page
from countline_common.http.request_ids import request_metadata
from countline_common.logs import get_logger
from countline_common.site_zones import SiteZones

CALL_TIMEOUT_S: Final = 2.0
KEPT_S: Final = 5.0
"""How long an answer, or a failure, of the camera service is used."""
MAX_KEPT: Final = 256
"""Most callers whose answers are kept."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownCamera:
    """A camera with the lines and zones that counts can belong to."""

    camera_id: str
    site_zones: SiteZones
    """The time zones of its days."""
    lines: tuple[str, ...]
    """Current lines: an answer holds zeros for them."""
    past_lines: frozenset[str] = frozenset()
    """Former lines: a request may name them."""
    current: bool = True
    """False for a deleted camera; a request may still name it."""
    zones: tuple[str, ...] = ()
    """Current zones."""
    past_zones: frozenset[str] = frozenset()
    """Former zones."""
    site_id: str = ""
    """Empty if it is unknown."""

    def has(self, line_id: str) -> bool:
        """Whether the camera has or had this line."""
        return line_id in self.lines or line_id in self.past_lines

    def has_zone(self, zone_id: str) -> bool:
        """Whether the camera has or had this zone."""
        return zone_id in self.zones or zone_id in self.past_zones


Cameras = Mapping[str, KnownCamera]


class CameraDirectory:
    """Looks up cameras.

    Args:
        engine: connects to the analytics database.
        stub: calls the camera service.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        stub: "cameras_pb2_grpc.CameraServiceAsyncStub",  # exists in the type stubs only
    ) -> None:
        self._engine = engine
        self._stub = stub
        self._kept: dict[str, tuple[float, Cameras | None]] = {}
        self._changed_at = float("-inf")
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def cameras(self, caller: Caller, holds: Callable[[Cameras], bool] = lambda _: True) -> Cameras:
        """Return every camera within the caller's reach, by id.

        Args:
            caller: whose header is sent on to the camera service.
            holds: whether the cameras have what a request names. If a kept answer does not, the camera service is asked
                again, because a camera or line may be new.
        """
        asked_at = time.monotonic()
        found = await self._reached(caller, asked_at - KEPT_S)
        if holds(found) or self._kept.get(caller.authorization, (0.0, None))[1] is None:
            return found
        return await self._reached(caller, asked_at)

    async def site_of(self, caller: Caller, camera_id: str) -> str:
        """Return the site of a camera; empty if there is no such camera, or it is unknown to the caller."""
        known = await self._united(caller, time.monotonic() - KEPT_S)
        return known[camera_id].site_id if camera_id in known else ""

    def forget(self) -> None:
        """Use no answer again that was asked for before now, because sites or cameras changed."""
        self._changed_at = time.monotonic()

    async def _reached(self, caller: Caller, since: float) -> Cameras:
        """Return the cameras within the caller's reach, as of `since` or later."""
        known = await self._united(caller, since)
        if caller.reach.everything:
            return known
        return {name: each for name, each in known.items() if caller.reach.covers_camera(name, each.site_id)}

    async def _united(self, caller: Caller, since: float) -> Cameras:
        """Return the cameras of the service, as of `since` or later, and the stored ones."""
        stored = await self._stored()
        served = await self._served(caller.authorization, since)
        if served is None:
            return stored
        # The service shows only cameras that the caller may see: one that it does not show may exist elsewhere.
        seen = caller.principal.reach(Permission.CAMERA_READ)
        kept = {
            camera_id: _past(camera) if seen.covers_camera(camera_id, camera.site_id) else camera
            for camera_id, camera in stored.items()
        }
        return {**kept, **_united(served, stored)}

    async def _stored(self) -> Cameras:
        async with self._engine.connect() as connection:
            rows = await connection.execute(query("counts", "known_cameras"))
            return {
                row.camera_id: KnownCamera(
                    row.camera_id,
                    stored_zones(row),
                    tuple(row.line_ids),
                    zones=tuple(row.zone_ids),
                    site_id=row.site_id or "",
                )
                for row in rows
            }

    async def _served(self, authorization: str, since: float) -> Cameras | None:
        """Return the cameras of the camera service, asked at `since` or later; None if it does not answer this caller.

        Requests of one caller that come at the same time share one question to the service.
        """
        async with self._asking.setdefault(authorization, asyncio.Lock()):
            asked_at, answer = self._kept.get(authorization, (float("-inf"), None))
            if asked_at > max(since, self._changed_at):
                return answer
            return await self._ask_and_keep(authorization)

    async def _ask_and_keep(self, authorization: str) -> Cameras | None:
        began = time.monotonic()
        try:
            with translated():
                answer = await self._ask(authorization)
        except CountlineError as error:
            _log.warning("directory.unavailable", code=error.code, error=error.message)
            answer = None
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[authorization] = (began, answer)
        return answer

    async def _ask(self, authorization: str) -> Cameras:
        metadata = (("authorization", authorization), *request_metadata())
        sites = await every_page(
            lambda token: self._stub.ListSites(
                cameras_pb2.ListSitesRequest(page_size=MAX_SIZE, page_token=token),
                metadata=metadata,
                timeout=CALL_TIMEOUT_S,
            ),
            lambda response: response.sites,
        )
        cameras = await every_page(
            lambda token: self._stub.ListCameras(
                cameras_pb2.ListCamerasRequest(page_size=MAX_SIZE, page_token=token),
                metadata=metadata,
                timeout=CALL_TIMEOUT_S,
            ),
            lambda response: response.cameras,
        )
        zones = {site.site_id: served_zones(site) for site in sites}
        return {camera.camera_id: _served_camera(camera, zones) for camera in cameras}


def served_zones(site: cameras_pb2.Site) -> SiteZones:
    """Return the time zones of a site, as the camera service shows them."""
    return SiteZones.of(
        site.time_zone or "UTC", ((each.time_zone, date.fromisoformat(each.until)) for each in site.earlier_time_zones)
    )


def stored_zones(row: Any) -> SiteZones:
    """Return the time zones of a stored camera's site: as the site was announced, or else as a record named it."""
    return SiteZones.of(row.time_zone or "UTC", zip(row.earlier_zones or (), row.until or (), strict=True))


def _served_camera(camera: cameras_pb2.Camera, zones: Mapping[str, SiteZones]) -> KnownCamera:
    site_zones = zones.get(camera.site_id) or SiteZones.of("UTC")
    lines = tuple(line.line_id for line in camera.spec.lines)
    zone_ids = tuple(each.zone_id for each in camera.spec.zones)
    return KnownCamera(camera.camera_id, site_zones, lines, zones=zone_ids, site_id=camera.site_id)


def _past(camera: KnownCamera) -> KnownCamera:
    """Return a camera as deleted: all its lines and zones are former ones."""
    return replace(
        camera,
        lines=(),
        past_lines=frozenset(camera.lines),
        zones=(),
        past_zones=frozenset(camera.zones),
        current=False,
    )


def _united(served: Cameras, stored: Cameras) -> Cameras:
    return {
        camera_id: replace(
            camera,
            past_lines=frozenset(stored[camera_id].lines),
            past_zones=frozenset(stored[camera_id].zones),
        )
        if camera_id in stored
        else camera
        for camera_id, camera in served.items()
    }

"""Which cameras and lines there are: asked of the camera service, and known from what was counted where that is away.

Every caller asks with their own token, so nobody sees more here than the camera service shows them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1 import cameras_pb2, cameras_pb2_grpc
from countline_analytics.store.sql import query
from countline_common.errors import CountlineError
from countline_common.grpc.errors import translated
from countline_common.logs import get_logger

CALL_TIMEOUT_S: Final = 2.0
KEPT_S: Final = 5.0
"""How long an answer of the camera service, or its absence, is used."""
ASKED_ANEW_S: Final = 0.5
"""How old an answer may be that does not have what is asked for."""
PAGE_SIZE: Final = 1000
MAX_KEPT: Final = 256
"""Callers whose answers are kept at a time."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownCamera:
    """A camera as far as counts are concerned."""

    camera_id: str
    zone: ZoneInfo
    lines: tuple[str, ...]
    """Lines that it has now: these give zeros where nothing crossed."""
    past_lines: frozenset[str] = frozenset()
    """Lines that it had: they may be asked for by name."""
    current: bool = True
    """Whether it exists now; what a deleted camera counted may still be asked for by name."""
    zones: tuple[str, ...] = ()
    """Zones that it has now."""
    past_zones: frozenset[str] = frozenset()
    """Zones that it had."""

    def has(self, line_id: str) -> bool:
        """Whether a line of this name is, or was, on the camera."""
        return line_id in self.lines or line_id in self.past_lines

    def has_zone(self, zone_id: str) -> bool:
        """Whether a zone of this name is, or was, on the camera."""
        return zone_id in self.zones or zone_id in self.past_zones


Cameras = Mapping[str, KnownCamera]


class CameraDirectory:
    """Looks cameras up.

    Args:
        engine: of the analytics database.
        stub: of the camera service.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        stub: "cameras_pb2_grpc.CameraServiceAsyncStub",  # a name of the stubs alone
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._stub = stub
        self._clock = clock
        self._kept: dict[str, tuple[float, Cameras | None]] = {}

    async def cameras(self, authorization: str, wanted: str = "") -> Cameras:
        """Every camera that the caller may see, by id.

        Args:
            authorization: the caller's header, handed on to the camera service.
            wanted: a camera that is asked for: where it is not known, the camera service is asked anew, since it may
                have been created a moment ago.
        """
        stored = await self._stored()
        served = await self._served(authorization, KEPT_S)
        if wanted and served is not None and wanted not in served:
            served = await self._served(authorization, ASKED_ANEW_S)
        if served is None:
            return stored
        return {**{camera_id: _past(camera) for camera_id, camera in stored.items()}, **_united(served, stored)}

    async def _stored(self) -> Cameras:
        async with self._engine.connect() as connection:
            rows = await connection.execute(query("counts", "known_cameras"))
            return {
                row.camera_id: KnownCamera(
                    row.camera_id, ZoneInfo(row.time_zone or "UTC"), tuple(row.line_ids), zones=tuple(row.zone_ids)
                )
                for row in rows
            }

    async def _served(self, authorization: str, kept_s: float) -> Cameras | None:
        """What the camera service says; None while it does not answer, or does not answer this caller."""
        asked_at, answer = self._kept.get(authorization, (float("-inf"), None))
        if self._clock() - asked_at < kept_s:
            return answer
        try:
            with translated():
                answer = await self._ask(authorization)
        except CountlineError as error:
            _log.warning("directory.unavailable", code=error.code, error=error.message)
            answer = None
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[authorization] = (self._clock(), answer)
        return answer

    async def _ask(self, authorization: str) -> Cameras:
        metadata = (("authorization", authorization),)
        zones: dict[str, str] = {}
        sites = cameras_pb2.ListSitesRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._stub.ListSites(sites, metadata=metadata, timeout=CALL_TIMEOUT_S)
            zones.update((site.site_id, site.time_zone) for site in page.sites)
            if not page.next_page_token:
                break
            sites.page_token = page.next_page_token
        found: dict[str, KnownCamera] = {}
        cameras = cameras_pb2.ListCamerasRequest(page_size=PAGE_SIZE)
        while True:
            listed = await self._stub.ListCameras(cameras, metadata=metadata, timeout=CALL_TIMEOUT_S)
            found.update((camera.camera_id, _served_camera(camera, zones)) for camera in listed.cameras)
            if not listed.next_page_token:
                return found
            cameras.page_token = listed.next_page_token


def _served_camera(camera: cameras_pb2.Camera, zones: Mapping[str, str]) -> KnownCamera:
    zone = ZoneInfo(zones.get(camera.site_id) or "UTC")
    lines = tuple(line.line_id for line in camera.spec.lines)
    return KnownCamera(camera.camera_id, zone, lines, zones=tuple(each.zone_id for each in camera.spec.zones))


def _past(camera: KnownCamera) -> KnownCamera:
    """A camera that the camera service does not have any more."""
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

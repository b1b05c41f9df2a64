"""Looks up cameras and lines: from the camera service, or from stored counts while the camera service is away.

Analytics asks with the caller's own token, so a caller sees no more cameras here than the camera service shows.
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
from countline_common.grpc.paging import MAX_SIZE, every_page
from countline_common.logs import get_logger

CALL_TIMEOUT_S: Final = 2.0
KEPT_S: Final = 5.0
"""How long an answer, or a failure, of the camera service is used."""
ASKED_ANEW_S: Final = 0.5
"""If an answer older than this lacks the requested camera, the camera service is asked again."""
MAX_KEPT: Final = 256
"""Most callers whose answers are kept."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownCamera:
    """A camera with the lines and zones that counts can belong to."""

    camera_id: str
    zone: ZoneInfo
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
        clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        stub: "cameras_pb2_grpc.CameraServiceAsyncStub",  # exists in the type stubs only
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._stub = stub
        self._clock = clock
        self._kept: dict[str, tuple[float, Cameras | None]] = {}

    async def cameras(self, authorization: str, wanted: str = "") -> Cameras:
        """Return every camera that the caller may see, by id.

        Args:
            authorization: the caller's header, sent on to the camera service.
            wanted: a requested camera. If it is unknown, the camera service is asked again, because the camera may be
                new.
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
        """Return the cameras of the camera service; None if it does not answer this caller."""
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
        zones = {site.site_id: site.time_zone for site in sites}
        return {camera.camera_id: _served_camera(camera, zones) for camera in cameras}


def _served_camera(camera: cameras_pb2.Camera, zones: Mapping[str, str]) -> KnownCamera:
    zone = ZoneInfo(zones.get(camera.site_id) or "UTC")
    lines = tuple(line.line_id for line in camera.spec.lines)
    return KnownCamera(camera.camera_id, zone, lines, zones=tuple(each.zone_id for each in camera.spec.zones))


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

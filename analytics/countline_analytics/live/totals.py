"""Totals of the current day, updated with each crossing.

Pure. A day is that of the camera's site.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from countline_common.site_zones import DAY, SiteZones


@dataclass(frozen=True, slots=True)
class LiveCamera:
    """A camera and its current day."""

    camera_id: str
    site_zones: SiteZones
    line_ids: tuple[str, ...]
    day: date
    start: datetime
    end: datetime

    @classmethod
    def at(cls, camera_id: str, site_zones: SiteZones, line_ids: Iterable[str], now: datetime) -> "LiveCamera":
        """Return the camera with the day that contains `now`."""
        day = site_zones.day_of(now)
        start, end = site_zones.start_of_day(day), site_zones.start_of_day(day + DAY)
        return cls(camera_id, site_zones, tuple(line_ids), day, start, end)


@dataclass(frozen=True, slots=True)
class LiveCrossing:
    """A counted crossing."""

    sequence: int
    crossing_id: str
    camera_id: str
    line_id: str
    direction: str
    class_name: str
    t: datetime
    decided_at: datetime


class Totals:
    """Totals by camera and line of all crossings up to `sequence`.

    Args:
        sequence: sequence number of the last included crossing.
        cameras: known cameras.
        counted: (camera, line, direction, count) of the current days up to `sequence`.
    """

    def __init__(
        self, sequence: int, cameras: Iterable[LiveCamera], counted: Iterable[tuple[str, str, str, int]] = ()
    ) -> None:
        self.sequence = sequence
        self._cameras = {camera.camera_id: camera for camera in cameras}
        self._lines: dict[str, dict[str, dict[str, int]]] = {
            camera.camera_id: {line_id: {"in": 0, "out": 0} for line_id in camera.line_ids}
            for camera in self._cameras.values()
        }
        for camera_id, line_id, direction, count in counted:
            self._line(camera_id, line_id)[direction] = count

    def is_current(self, now: datetime) -> bool:
        """Whether `now` lies in the current day of every camera."""
        return all(camera.start <= now < camera.end for camera in self._cameras.values())

    def time_zones(self) -> dict[str, SiteZones]:
        """Return the time zones of the cameras."""
        return {camera.camera_id: camera.site_zones for camera in self._cameras.values()}

    def knows(self, camera_id: str) -> bool:
        """Whether the camera is known."""
        return camera_id in self._cameras

    def add(self, crossing: LiveCrossing) -> dict[str, Any]:
        """Count the next crossing; return the message for clients.

        A crossing of another day takes its place in the order and changes no total of the current day.

        Raises:
            ValueError: the crossing is not the next in order.
        """
        if crossing.sequence != self.sequence + 1:
            raise ValueError(f"crossing {crossing.sequence} does not follow {self.sequence}")
        self.sequence = crossing.sequence
        camera = self._cameras[crossing.camera_id]
        line = self._line(crossing.camera_id, crossing.line_id)
        if camera.start <= crossing.t < camera.end:
            line[crossing.direction] += 1
        return {
            "type": "crossing",
            "channel": "counts",
            "sequence": crossing.sequence,
            "crossing_id": crossing.crossing_id,
            "camera_id": crossing.camera_id,
            "line_id": crossing.line_id,
            "direction": crossing.direction,
            "class": crossing.class_name,
            "t": _rfc3339(crossing.t),
            "decided_at": _rfc3339(crossing.decided_at),
            **line,
        }

    def snapshot(self) -> Mapping[str, Any]:
        """Return the message with all totals."""
        return {
            "type": "snapshot",
            "channel": "counts",
            "sequence": self.sequence,
            "day": {camera.camera_id: camera.day.isoformat() for camera in self._cameras.values()},
            "cameras": self._lines,
        }

    def _line(self, camera_id: str, line_id: str) -> dict[str, int]:
        return self._lines.setdefault(camera_id, {}).setdefault(line_id, {"in": 0, "out": 0})


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

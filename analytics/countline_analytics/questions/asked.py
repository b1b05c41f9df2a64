"""Resolves what a request asks for: cameras and a time span."""

from datetime import datetime, timedelta
from typing import Any, Final

from countline_analytics.directory import CameraDirectory, Cameras, KnownCamera
from countline_analytics.instants import FIRST, LAST, from_proto
from countline_analytics.questions.callers import Caller
from countline_common.errors import FieldProblem, InvalidInputError, NotFoundError

DEFAULT_SPAN: Final = timedelta(hours=1)


async def asked_cameras(
    directory: CameraDirectory, caller: Caller, camera_id: str, *, line_id: str = "", zone_id: str = ""
) -> list[KnownCamera]:
    """Return the named camera, or all current and former cameras of the caller.

    If the request names a line or zone, only cameras that have or had it are returned.

    Raises:
        NotFoundError: no camera matches.
    """

    def matching(known: Cameras) -> list[KnownCamera]:
        named = [known[camera_id]] if camera_id in known else []
        found = named if camera_id else [camera for _, camera in sorted(known.items())]
        return [
            camera
            for camera in found
            if (not line_id or camera.has(line_id)) and (not zone_id or camera.has_zone(zone_id))
        ]

    names_something = bool(camera_id or line_id or zone_id)
    known = await directory.cameras(caller, lambda cameras: not names_something or bool(matching(cameras)))
    if camera_id and camera_id not in known:
        raise NotFoundError(f"camera {camera_id!r} does not exist", hint="list cameras: countline cameras list")
    found = matching(known)
    if not found and (line_id or zone_id):
        whose = f"camera {camera_id!r} has no" if camera_id else "no camera has a"
        what = f"line {line_id!r}" if line_id else f"zone {zone_id!r}"
        raise NotFoundError(f"{whose} {what}", hint="show lines and zones: countline cameras show CAMERA")
    return found


def asked_span(request: Any, now: datetime) -> tuple[datetime, datetime]:
    """Return start and end of a request; by default the last hour.

    Raises:
        InvalidInputError: the span is empty, or a time is out of range.
    """
    end = from_proto(request.end) if request.HasField("end") else now
    start = from_proto(request.start) if request.HasField("start") else end - DEFAULT_SPAN
    if start >= end:
        raise InvalidInputError("the time span is empty", fields=(FieldProblem("start", "must lie before the end"),))
    return start, end


def asked_limits(request: Any) -> dict[str, datetime]:
    """Return `start` and `end` of a list request as query parameters; an unset one sets no limit."""
    return {
        "start": from_proto(request.start) if request.HasField("start") else FIRST,
        "end": from_proto(request.end) if request.HasField("end") else LAST,
    }

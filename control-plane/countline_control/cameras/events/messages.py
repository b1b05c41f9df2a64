"""Events and states as JSON, as the database keeps them. Cameras and specs are protobuf's JSON.

The words are for ever: rows with them are never changed. A new field is added with a default for rows without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from countline.v1 import cameras_pb2
from countline_common.errors import InvalidInputError
from countline_common.times import parse_rfc3339, rfc3339
from countline_control.cameras.domain import Camera, CameraSpec, GeometryVersion, GeoPosition, Versions
from countline_control.cameras.events import domain
from countline_control.cameras.events.domain import BrokenStreamError, CameraEvent, RecordedCamera
from countline_control.cameras.messages import (
    camera_message,
    camera_of,
    picture_from_json,
    picture_json,
    spec_from_json,
    spec_json,
)

_Json = dict[str, Any]
_SET_BY_EVENTS: Final = ("revision", "created_at", "updated_at")
"""Fields of a new camera that follow from its event."""
UNREADABLE: Final = (LookupError, TypeError, ValueError, AttributeError, ParseError, InvalidInputError)
"""What reading raises where a row was changed by hand: a field is missing, or is something else."""


def state_json(state: RecordedCamera) -> _Json:
    """Return a state as it is stored."""
    camera = state.camera
    return {
        "camera": None if camera is None else _camera_json(camera),
        "drawn_on": None if camera is None else picture_json(camera.drawn_on),
        "secret_id": state.secret_id,
        "stopped_at": None if state.stopped_at is None else rfc3339(state.stopped_at),
        "versions": [
            {
                "kind": kind,
                "id": name,
                "version": last.version,
                "fingerprint": last.fingerprint,
                "picture": picture_json(last.picture),
            }
            for (kind, name), last in sorted(state.versions.items())
        ],
    }


def snapshot_of(values: Mapping[str, Any], version: int) -> RecordedCamera:
    """Read the state that is stored beside an event.

    Raises:
        BrokenStreamError: it cannot be read.
    """
    try:
        return state_from_json(values)
    except UNREADABLE as error:
        raise BrokenStreamError(f"the snapshot of event {version} cannot be read") from error


def state_from_json(values: Mapping[str, Any]) -> RecordedCamera:
    """Read a stored state."""
    versions: Versions = {
        (each["kind"], each["id"]): GeometryVersion(
            each["version"], each["fingerprint"], picture_from_json(each["picture"])
        )
        for each in values["versions"]
    }
    camera = None if values["camera"] is None else _camera(values["camera"], values["drawn_on"])
    stopped_at = values["stopped_at"]
    return RecordedCamera(
        camera, values["secret_id"], versions, None if stopped_at is None else parse_rfc3339(stopped_at).timestamp()
    )


def event_kind(event: CameraEvent) -> str:
    """Return the word for what happened, such as `LineDrawn`."""
    return type(event).__name__


def event_json(event: CameraEvent) -> _Json:
    """Return what an event holds, as it is stored."""
    write, _ = _FORMS[event_kind(event)]
    return write(event)


def event_of(kind: str, values: Mapping[str, Any]) -> CameraEvent:
    """Read a stored event.

    Raises:
        BrokenStreamError: this release does not know its kind, or its fields cannot be read.
    """
    if kind not in _FORMS:
        raise BrokenStreamError(f"this release knows no event {kind!r}")
    _, read = _FORMS[kind]
    try:
        return read(values)
    except UNREADABLE as error:
        raise BrokenStreamError(f"the fields of an event {kind} cannot be read") from error


def _camera_json(camera: Camera) -> _Json:
    return MessageToDict(camera_message(camera), preserving_proto_field_name=True)


def _camera(values: Mapping[str, Any], drawn_on: Mapping[str, Any] | None) -> Camera:
    message = ParseDict(dict(values), cameras_pb2.Camera(), ignore_unknown_fields=True)
    camera = camera_of(message)
    return replace(camera, drawn_on=picture_from_json(drawn_on))


def _text(values: Mapping[str, Any], name: str) -> str:
    text = values[name]
    if not isinstance(text, str):
        raise TypeError(f"{name} is no text")
    return text


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise TypeError("not a list of texts")
    return tuple(values)


def _created_json(event: domain.CameraCreated) -> _Json:
    camera = {name: value for name, value in _camera_json(event.camera).items() if name not in _SET_BY_EVENTS}
    return {"camera": camera, "secret_id": event.secret_id}


def _created(values: Mapping[str, Any]) -> domain.CameraCreated:
    return domain.CameraCreated(_camera(values["camera"], None), _text(values, "secret_id"))


def _moved_json(event: domain.CameraMoved) -> _Json:
    place = event.position
    position = None if place is None else {"latitude": place.latitude, "longitude": place.longitude}
    return {"location": event.location, "position": position, "floor": event.floor}


def _moved(values: Mapping[str, Any]) -> domain.CameraMoved:
    place = values["position"]
    position = None if place is None else GeoPosition(place["latitude"], place["longitude"])
    return domain.CameraMoved(_text(values, "location"), position, _text(values, "floor"))


def _line_json(event: domain.LineDrawn | domain.LineChanged) -> _Json:
    (line,) = spec_json(CameraSpec(lines=(event.line,)))["lines"]
    return {"line": line, "fingerprint": event.fingerprint}


def _zone_json(event: domain.ZoneDrawn | domain.ZoneChanged) -> _Json:
    (zone,) = spec_json(CameraSpec(zones=(event.zone,)))["zones"]
    return {"zone": zone, "fingerprint": event.fingerprint}


def _of_line(kind: type[domain.LineDrawn] | type[domain.LineChanged]) -> Callable[[Mapping[str, Any]], CameraEvent]:
    return lambda values: kind(spec_from_json({"lines": [dict(values["line"])]}).lines[0], values["fingerprint"])


def _of_zone(kind: type[domain.ZoneDrawn] | type[domain.ZoneChanged]) -> Callable[[Mapping[str, Any]], CameraEvent]:
    return lambda values: kind(spec_from_json({"zones": [dict(values["zone"])]}).zones[0], values["fingerprint"])


def _picture(values: Mapping[str, Any]) -> domain.PictureChanged:
    picture = picture_from_json(values["picture"])
    if picture is None:
        raise ValueError("there is no picture")
    return domain.PictureChanged(picture)


_Form = tuple[Callable[[Any], _Json], Callable[[Mapping[str, Any]], CameraEvent]]


def _empty(kind: Callable[[], CameraEvent]) -> _Form:
    return lambda _: {}, lambda _: kind()


_FORMS: Final[Mapping[str, _Form]] = {
    "CameraImported": (lambda e: state_json(e.state), lambda v: domain.CameraImported(state_from_json(v))),
    "CameraCreated": (_created_json, _created),
    "CameraDeleted": _empty(domain.CameraDeleted),
    "CameraRenamed": (lambda e: {"name": e.name}, lambda v: domain.CameraRenamed(_text(v, "name"))),
    "CameraMoved": (_moved_json, _moved),
    "CameraTagged": (lambda e: {"tags": list(e.tags)}, lambda v: domain.CameraTagged(_texts(v["tags"]))),
    "StreamAddressChanged": (
        lambda e: {"stream_url": e.stream_url, "secret_id": e.secret_id},
        lambda v: domain.StreamAddressChanged(_text(v, "stream_url"), _text(v, "secret_id")),
    ),
    "CameraConfigured": (
        lambda e: {"spec": spec_json(e.spec)},
        lambda v: domain.CameraConfigured(spec_from_json(v["spec"])),
    ),
    "CameraActivated": _empty(domain.CameraActivated),
    "CameraResumed": _empty(domain.CameraResumed),
    "CameraPaused": _empty(domain.CameraPaused),
    "CameraDeactivated": _empty(domain.CameraDeactivated),
    "CameraRetired": _empty(domain.CameraRetired),
    "PictureChanged": (lambda e: {"picture": picture_json(e.picture)}, _picture),
    "LineDrawn": (_line_json, _of_line(domain.LineDrawn)),
    "LineChanged": (_line_json, _of_line(domain.LineChanged)),
    "LineRemoved": (lambda e: {"line_id": e.line_id}, lambda v: domain.LineRemoved(_text(v, "line_id"))),
    "ZoneDrawn": (_zone_json, _of_zone(domain.ZoneDrawn)),
    "ZoneChanged": (_zone_json, _of_zone(domain.ZoneChanged)),
    "ZoneRemoved": (lambda e: {"zone_id": e.zone_id}, lambda v: domain.ZoneRemoved(_text(v, "zone_id"))),
    "DrawingsOrdered": (
        lambda e: {"line_ids": list(e.line_ids), "zone_ids": list(e.zone_ids)},
        lambda v: domain.DrawingsOrdered(_texts(v["line_ids"]), _texts(v["zone_ids"])),
    ),
    "DrawingsConfirmed": _empty(domain.DrawingsConfirmed),
}
"""By kind: how the fields of an event are written and read."""

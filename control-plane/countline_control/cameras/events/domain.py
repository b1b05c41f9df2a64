"""The events of a camera, and the state that follows from them. Pure: no IO, no protobuf, no clock.

Events live for ever. So no event holds a password: an address is masked, and names the secret that holds the whole one.
The secret is deleted with the next address, while the event stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final, TypeVar

from countline_common.display import PictureShape
from countline_common.errors import ConflictError
from countline_control.cameras.domain import (
    Camera,
    CameraSpec,
    GeometryVersion,
    GeoPosition,
    LineSpec,
    Versions,
    ZoneSpec,
    with_picture,
)
from countline_control.cameras.lifecycle import WantedStatus

LINE: Final = "line"
ZONE: Final = "zone"
_Item = TypeVar("_Item", LineSpec, ZoneSpec)


@dataclass(frozen=True, slots=True)
class RecordedCamera:
    """A camera as it follows from its events, without any password."""

    camera: Camera | None = None
    """With a masked address; None before its creation and after its deletion."""
    secret_id: str = ""
    """The secret that holds the whole address; empty if the address holds none."""
    versions: Versions = field(default_factory=dict)
    """The last version of every line and zone that ever was under this id. They outlive the camera."""
    stopped_at: float | None = None
    """Since when it is not active, Unix seconds; None while it is, and where that is not known."""


# Events --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CameraImported:
    """An older release, which had no events, left the camera in this state."""

    state: RecordedCamera


@dataclass(frozen=True, slots=True)
class CameraCreated:
    """A camera was created. Its lines and zones are drawn by events of their own."""

    camera: Camera
    secret_id: str = ""


@dataclass(frozen=True, slots=True)
class CameraDeleted:
    """The camera was deleted. Its counts, its events and the versions of its lines stay."""


@dataclass(frozen=True, slots=True)
class CameraRenamed:
    """People call it by another name."""

    name: str


@dataclass(frozen=True, slots=True)
class CameraMoved:
    """It hangs in another place, or the place was described in another way."""

    location: str
    position: GeoPosition | None
    floor: str


@dataclass(frozen=True, slots=True)
class CameraTagged:
    """It has these tags."""

    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamAddressChanged:
    """It is read from another address, or with another password."""

    stream_url: str
    """Masked."""
    secret_id: str


@dataclass(frozen=True, slots=True)
class CameraConfigured:
    """It is read or counted in another way."""

    spec: CameraSpec
    """Without lines and zones."""


@dataclass(frozen=True, slots=True)
class CameraActivated:
    """An inactive camera is to be counted."""


@dataclass(frozen=True, slots=True)
class CameraResumed:
    """A paused camera is to be counted again."""


@dataclass(frozen=True, slots=True)
class CameraPaused:
    """It is stopped for a while."""


@dataclass(frozen=True, slots=True)
class CameraDeactivated:
    """It is switched off until further notice."""


@dataclass(frozen=True, slots=True)
class CameraRetired:
    """It is over."""


@dataclass(frozen=True, slots=True)
class PictureChanged:
    """A worker saw the first displayed picture, or one that does not match the former one."""

    picture: PictureShape


@dataclass(frozen=True, slots=True)
class LineDrawn:
    """A line began to count."""

    line: LineSpec
    fingerprint: str


@dataclass(frozen=True, slots=True)
class LineChanged:
    """A line counts elsewhere or something else, or lies on another picture."""

    line: LineSpec
    fingerprint: str


@dataclass(frozen=True, slots=True)
class LineRemoved:
    """A line stopped counting."""

    line_id: str


@dataclass(frozen=True, slots=True)
class ZoneDrawn:
    """A zone began to count."""

    zone: ZoneSpec
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ZoneChanged:
    """A zone counts elsewhere or something else, or lies on another picture."""

    zone: ZoneSpec
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ZoneRemoved:
    """A zone stopped counting."""

    zone_id: str


@dataclass(frozen=True, slots=True)
class DrawingsOrdered:
    """Lines and zones are listed in this order."""

    line_ids: tuple[str, ...]
    zone_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrawingsConfirmed:
    """A person drew lines or zones on the present picture, or said that they fit it."""


StatusEvent = CameraActivated | CameraResumed | CameraPaused | CameraDeactivated | CameraRetired
DrawingEvent = LineDrawn | LineChanged | LineRemoved | ZoneDrawn | ZoneChanged | ZoneRemoved
OwnEvent = CameraRenamed | CameraMoved | CameraTagged | StreamAddressChanged | CameraConfigured | DrawingsConfirmed
CameraEvent = (
    CameraImported
    | CameraCreated
    | CameraDeleted
    | StatusEvent
    | OwnEvent
    | DrawingEvent
    | DrawingsOrdered
    | PictureChanged
)

STATUSES: Final[Mapping[type[StatusEvent], WantedStatus]] = {
    CameraActivated: WantedStatus.ACTIVE,
    CameraResumed: WantedStatus.ACTIVE,
    CameraPaused: WantedStatus.PAUSED,
    CameraDeactivated: WantedStatus.INACTIVE,
    CameraRetired: WantedStatus.RETIRED,
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in its stream."""

    version: int
    """Its place in the stream, from 1 without gaps."""
    change: int
    """Version of the first event of the same change: one command may record several events."""
    revision: int
    """Of the camera after the change."""
    at: float
    """Unix seconds; never less than that of the event before."""
    actor: str
    event: CameraEvent


# From events to state ------------------------------------------------------------------------------------------------


class BrokenStreamError(ConflictError):
    """An event cannot follow those before it: rows of `camera_events` were changed or deleted."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the events of the camera are damaged: {problem}",
            hint="name all damaged ones: countline cameras rebuild. Restore their rows from a backup of the database",
        )


def applied(state: RecordedCamera, recorded: Recorded) -> RecordedCamera:
    """Return the state after an event.

    Raises:
        BrokenStreamError: the event cannot follow.
    """
    event = recorded.event
    if isinstance(event, CameraImported):
        return event.state
    if isinstance(event, CameraCreated):
        camera = replace(event.camera, revision=recorded.revision, created_at=recorded.at, updated_at=recorded.at)
        return _with_status(replace(state, camera=camera, secret_id=event.secret_id), camera.status, recorded.at)
    if state.camera is None:
        raise BrokenStreamError(f"event {recorded.version}, {type(event).__name__}, follows no creation")
    if isinstance(event, CameraDeleted):
        return RecordedCamera(versions=state.versions)
    if recorded.revision != state.camera.revision:
        camera = replace(state.camera, revision=recorded.revision, updated_at=recorded.at)
        state = replace(state, camera=camera)
    if isinstance(event, StatusEvent):
        return _with_status(state, STATUSES[type(event)], recorded.at)
    return _changed(state, event)


def folded(events: Iterable[Recorded], state: RecordedCamera | None = None) -> RecordedCamera:
    """Return the state after some events.

    Raises:
        BrokenStreamError: an event cannot follow those before it.
    """
    return reduce(applied, events, state if state is not None else RecordedCamera())


def _changed(
    state: RecordedCamera, event: OwnEvent | DrawingEvent | DrawingsOrdered | PictureChanged
) -> RecordedCamera:
    camera = state.camera
    assert camera is not None, "`applied` has checked it"
    if isinstance(event, DrawingEvent):
        return _drawn(state, camera, event)
    if isinstance(event, PictureChanged):
        state = replace(state, camera=with_picture(camera, event.picture))
        return replace(state, versions=_with_pictures(state.versions, camera.spec, event.picture))
    if isinstance(event, DrawingsOrdered):
        return replace(state, camera=replace(camera, spec=_ordered(camera.spec, event)))
    if isinstance(event, StreamAddressChanged):
        return replace(state, camera=replace(camera, stream_url=event.stream_url), secret_id=event.secret_id)
    return replace(state, camera=_own_changed(camera, event))


def _with_status(state: RecordedCamera, status: WantedStatus, at: float) -> RecordedCamera:
    camera = state.camera
    assert camera is not None, "`applied` has checked it"
    stopped_at = None if status is WantedStatus.ACTIVE else at if state.stopped_at is None else state.stopped_at
    return replace(state, camera=replace(camera, status=status), stopped_at=stopped_at)


def _ordered(spec: CameraSpec, order: DrawingsOrdered) -> CameraSpec:
    of_line = {line_id: i for i, line_id in enumerate(order.line_ids)}
    of_zone = {zone_id: i for i, zone_id in enumerate(order.zone_ids)}
    lines = sorted(spec.lines, key=lambda line: of_line.get(line.line_id, len(of_line)))
    zones = sorted(spec.zones, key=lambda zone: of_zone.get(zone.zone_id, len(of_zone)))
    return replace(spec, lines=tuple(lines), zones=tuple(zones))


def _own_changed(
    camera: Camera, event: CameraRenamed | CameraMoved | CameraTagged | CameraConfigured | DrawingsConfirmed
) -> Camera:
    if isinstance(event, CameraRenamed):
        return replace(camera, name=event.name)
    if isinstance(event, CameraMoved):
        return replace(camera, location=event.location, position=event.position, floor=event.floor)
    if isinstance(event, CameraTagged):
        return replace(camera, tags=event.tags)
    if isinstance(event, CameraConfigured):
        spec = replace(event.spec, lines=camera.spec.lines, zones=camera.spec.zones)
        return replace(camera, spec=spec)
    return replace(camera, drawn_on=camera.picture)


def _drawn(state: RecordedCamera, camera: Camera, event: DrawingEvent) -> RecordedCamera:
    spec, versions = camera.spec, state.versions
    if isinstance(event, LineDrawn | LineChanged):
        line = event.line
        spec = replace(spec, lines=_put(spec.lines, line, [each.line_id == line.line_id for each in spec.lines]))
        versions = _with_version(versions, (LINE, line.line_id), line.version, event.fingerprint, camera.picture)
    elif isinstance(event, ZoneDrawn | ZoneChanged):
        zone = event.zone
        spec = replace(spec, zones=_put(spec.zones, zone, [each.zone_id == zone.zone_id for each in spec.zones]))
        versions = _with_version(versions, (ZONE, zone.zone_id), zone.version, event.fingerprint, camera.picture)
    elif isinstance(event, LineRemoved):
        spec = replace(spec, lines=tuple(line for line in spec.lines if line.line_id != event.line_id))
    else:
        spec = replace(spec, zones=tuple(zone for zone in spec.zones if zone.zone_id != event.zone_id))
    return replace(state, camera=replace(camera, spec=spec), versions=versions)


def _put(items: tuple[_Item, ...], item: _Item, is_it: list[bool]) -> tuple[_Item, ...]:
    """Put an item in the place of the one with its id, or else at the end."""
    if not any(is_it):
        return items + (item,)  # noqa: RUF005  (mypy infers the type of the sum)
    return tuple(item if this else each for each, this in zip(items, is_it, strict=True))


def _with_version(
    versions: Versions, key: tuple[str, str], version: int, fingerprint: str, picture: PictureShape | None
) -> Versions:
    """Note the version of a line or zone that was drawn. A version keeps the first picture on which it counts."""
    known = versions.get(key)
    if known is not None and known.version == version and known.picture is not None:
        picture = known.picture
    return {**versions, key: GeometryVersion(version, fingerprint, picture)}


def _with_pictures(versions: Versions, spec: CameraSpec, picture: PictureShape) -> Versions:
    """Note the first picture of the versions that were drawn before it was known."""
    present = [(LINE, line.line_id) for line in spec.lines] + [(ZONE, zone.zone_id) for zone in spec.zones]
    first = {
        key: replace(versions[key], picture=picture)
        for key in present
        if key in versions and versions[key].picture is None
    }
    return {**versions, **first}

"""The events that lead from one state of a camera to another. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from countline_control.cameras import domain
from countline_control.cameras.domain import Camera, CameraSpec, LineSpec, ZoneSpec
from countline_control.cameras.events.domain import (
    CameraActivated,
    CameraConfigured,
    CameraCreated,
    CameraDeactivated,
    CameraEvent,
    CameraMoved,
    CameraPaused,
    CameraRenamed,
    CameraResumed,
    CameraRetired,
    CameraTagged,
    DrawingEvent,
    DrawingsConfirmed,
    DrawingsOrdered,
    LineChanged,
    LineDrawn,
    LineRemoved,
    PictureChanged,
    Recorded,
    RecordedCamera,
    StatusEvent,
    StreamAddressChanged,
    ZoneChanged,
    ZoneDrawn,
    ZoneRemoved,
)
from countline_control.cameras.lifecycle import WantedStatus
from countline_counting.identity import line_fingerprint, zone_fingerprint


def creation(camera: Camera, secret_id: str) -> list[CameraEvent]:
    """Return the events of a creation.

    Args:
        camera: with the versions of its lines and zones.
        secret_id: of the secret that will hold its whole address; empty if the address holds none.
    """
    bare = replace(domain.for_readers(camera), spec=_without_drawings(camera.spec))
    return [CameraCreated(bare, secret_id), *_drawings(CameraSpec(), camera.spec)]


def change(state: RecordedCamera, after: Camera, secret_id: str) -> list[CameraEvent]:
    """Return the events that lead from a state to a wanted camera.

    Args:
        state: of a camera that exists.
        after: the wanted camera, with the versions of its lines and zones.
        secret_id: of the secret that will hold its whole address. It differs from that of the state if and only if
            the address or its password does.
    """
    before = state.camera
    assert before is not None, "only a camera that exists is changed"
    after = domain.for_readers(after)
    return [
        *_own(before, after),
        *_address(before, after, state.secret_id, secret_id),
        *_configured(before.spec, after.spec),
        *_picture(before, after),
        *_drawings(before.spec, after.spec),
        *_confirmed(before, after),
        *_status(before, after),
    ]


def recorded(head: int, events: Sequence[CameraEvent], *, revision: int, at: float, actor: str) -> tuple[Recorded, ...]:
    """Number the events of one change, which follow version `head` of their stream."""
    return tuple(
        Recorded(version, head + 1, revision, at, actor, event) for version, event in enumerate(events, head + 1)
    )


def _own(before: Camera, after: Camera) -> Iterator[CameraEvent]:
    if after.name != before.name:
        yield CameraRenamed(after.name)
    place = after.location, after.position, after.floor
    if place != (before.location, before.position, before.floor):
        yield CameraMoved(*place)
    if after.tags != before.tags:
        yield CameraTagged(after.tags)


def _address(before: Camera, after: Camera, old_secret: str, secret: str) -> Iterator[CameraEvent]:
    if after.stream_url != before.stream_url or secret != old_secret:
        yield StreamAddressChanged(after.stream_url, secret)


def _configured(before: CameraSpec, after: CameraSpec) -> Iterator[CameraEvent]:
    if _without_drawings(before) != _without_drawings(after):
        yield CameraConfigured(_without_drawings(after))


def _without_drawings(spec: CameraSpec) -> CameraSpec:
    return replace(spec, lines=(), zones=())


def _picture(before: Camera, after: Camera) -> Iterator[CameraEvent]:
    if after.picture is not None and after.picture != before.picture:
        yield PictureChanged(after.picture)


def _confirmed(before: Camera, after: Camera) -> Iterator[CameraEvent]:
    """Yield the confirmation that lines and zones lie on the present picture. The first picture implies it."""
    implied = before.drawn_on if after.picture == before.picture else before.drawn_on or after.picture
    if after.drawn_on != implied:
        yield DrawingsConfirmed()


def _drawings(before: CameraSpec, after: CameraSpec) -> Iterator[CameraEvent]:
    yield from _lines(before.lines, after.lines)
    yield from _zones(before.zones, after.zones)
    reached = _order(before, after)
    wanted = _ids(after)
    if reached != wanted:
        yield DrawingsOrdered(*wanted)


def _lines(before: Sequence[LineSpec], after: Sequence[LineSpec]) -> Iterator[DrawingEvent]:
    old = {line.line_id: line for line in before}
    for gone in sorted(old.keys() - {line.line_id for line in after}):
        yield LineRemoved(gone)
    for line in after:
        fingerprint = line_fingerprint(line.points, line.classes)
        if line.line_id not in old:
            yield LineDrawn(line, fingerprint)
        elif line != old[line.line_id]:
            yield LineChanged(line, fingerprint)


def _zones(before: Sequence[ZoneSpec], after: Sequence[ZoneSpec]) -> Iterator[DrawingEvent]:
    old = {zone.zone_id: zone for zone in before}
    for gone in sorted(old.keys() - {zone.zone_id for zone in after}):
        yield ZoneRemoved(gone)
    for zone in after:
        fingerprint = zone_fingerprint(zone.polygon, zone.classes, queue=zone.queue)
        if zone.zone_id not in old:
            yield ZoneDrawn(zone, fingerprint)
        elif zone != old[zone.zone_id]:
            yield ZoneChanged(zone, fingerprint)


_Ids = tuple[tuple[str, ...], tuple[str, ...]]


def _ids(spec: CameraSpec) -> _Ids:
    return tuple(line.line_id for line in spec.lines), tuple(zone.zone_id for zone in spec.zones)


def _order(before: CameraSpec, after: CameraSpec) -> _Ids:
    """Return the order that drawing alone gives: what stays keeps its place, what is new comes last."""
    (old_lines, old_zones), (lines, zones) = _ids(before), _ids(after)
    return _reached(old_lines, lines), _reached(old_zones, zones)


def _reached(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return (*(each for each in old if each in new), *(each for each in new if each not in old))


def _status(before: Camera, after: Camera) -> Iterator[StatusEvent]:
    if after.status is before.status:
        return
    if after.status is WantedStatus.ACTIVE:
        yield CameraResumed() if before.status is WantedStatus.PAUSED else CameraActivated()
    elif after.status is WantedStatus.PAUSED:
        yield CameraPaused()
    elif after.status is WantedStatus.INACTIVE:
        yield CameraDeactivated()
    else:
        yield CameraRetired()

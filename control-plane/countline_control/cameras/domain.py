"""Sites and cameras as this service knows them: their data, what a change changes, and the versions of lines and zones.

Pure: no IO and no protobuf. `messages` translates from and to the contract, `checks` refuses what cannot be stored.
Points are (x, y) in fractions of the picture, 0..1, origin at the top left. Times are Unix seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Final

from countline_common.display import Orientation, PictureShape
from countline_common.stream_addresses import FILE_SCHEME, scheme
from countline_control.cameras import sources
from countline_control.cameras.lifecycle import WantedStatus
from countline_counting.identity import line_fingerprint, zone_fingerprint
from countline_counting.spec import MaskKind

Point = tuple[float, float]


class PlaybackMode(StrEnum):
    """How a source is played."""

    UNSPECIFIED = ""
    """The address decides: a stream is live, a file is played once in real time."""
    LIVE = "live"
    REALTIME = "realtime"
    FAST = "fast"
    LOOP = "loop"
    UNKNOWN = "unknown"
    """A number that the contract does not define; never stored."""


class TransportMode(StrEnum):
    """The transport of an RTSP stream."""

    UNSPECIFIED = ""
    TCP = "tcp"
    UDP = "udp"
    UNKNOWN = "unknown"
    """A number that the contract does not define; never stored."""


ONCE: Final = (PlaybackMode.REALTIME, PlaybackMode.FAST)
"""Files with these modes are played once."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place with a time zone that holds cameras."""

    site_id: str
    title: str
    time_zone: str
    """IANA name, such as `Europe/Berlin`."""
    created_at: float = 0.0
    earlier_time_zones: "tuple[EarlierTimeZone, ...]" = ()
    """Zones of earlier days, the oldest first."""
    revision: int = 1


@dataclass(frozen=True, slots=True)
class EarlierTimeZone:
    """The time zone of a site's days before it was changed."""

    time_zone: str
    until: date
    """The first day of the next zone."""


def with_time_zone(site: Site, time_zone: str, first_day: date | None) -> Site:
    """Return the site with another time zone, from a day on, or for its whole history (None)."""
    starts = [None, *(each.until for each in site.earlier_time_zones)]
    names = [*(each.time_zone for each in site.earlier_time_zones), site.time_zone]
    if first_day is None:
        return replace(site, time_zone=time_zone, earlier_time_zones=())
    kept = [(start, name) for start, name in zip(starts, names, strict=True) if start is None or start < first_day]
    spans = [*kept, (first_day, time_zone)]
    earlier = tuple(
        EarlierTimeZone(name, until)
        for (_, name), (until, following) in pairwise(spans)
        if until is not None and name != following
    )
    return replace(site, time_zone=time_zone, earlier_time_zones=earlier)


@dataclass(frozen=True, slots=True)
class LineSpec:
    """A count line; unchecked."""

    line_id: str
    points: tuple[Point, ...]
    classes: tuple[str, ...] = ()
    """Names of the classes that count; empty for every class."""
    version: int = 0


@dataclass(frozen=True, slots=True)
class ZoneSpec:
    """A zone; unchecked."""

    zone_id: str
    polygon: tuple[Point, ...]
    classes: tuple[str, ...] = ()
    version: int = 0
    queue: bool = False
    """Objects in it wait: its dwell times are waiting times."""


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """A mask; unchecked."""

    mask_id: str
    polygon: tuple[Point, ...]
    kind: MaskKind | None
    """None where the caller gave none, or one that the contract does not define."""


@dataclass(frozen=True, slots=True)
class GroundPoint:
    """A point of the picture and its place on the ground in metres."""

    image: Point
    x_m: float
    y_m: float


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """What a camera processes and counts. The fields have the names that update masks use."""

    model: str = ""
    """`NAME` or `NAME@VERSION`; empty for the default model."""
    lines: tuple[LineSpec, ...] = ()
    zones: tuple[ZoneSpec, ...] = ()
    processing_rate: float = 0.0
    """Frames a second; 0 for every frame."""
    min_score: float = 0.0
    anchor: Point | None = None
    """Fractions of the box's width and height; None for the bottom centre."""
    playback: PlaybackMode = PlaybackMode.UNSPECIFIED
    recorded_at: float | None = None
    """Capture time of a file's first frame."""
    rtsp_transport: TransportMode = TransportMode.UNSPECIFIED
    min_track_age_s: float = 0.0
    min_track_score: float = 0.0
    masks: tuple[MaskSpec, ...] = ()
    ground_plane: tuple[GroundPoint, ...] | None = None


SPEC_FIELDS: Final = tuple(each.name for each in fields(CameraSpec))
OWN_FIELDS: Final = ("name", "stream_url", "location", "position", "floor", "status", "tags")
"""Fields of a camera beside its spec that people change."""


@dataclass(frozen=True, slots=True)
class GeoPosition:
    """A place on the earth in degrees, WGS 84."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera, credentials included. The fields have the names that update masks use."""

    camera_id: str
    site_id: str = ""
    name: str = ""
    stream_url: str = ""
    """With its credentials."""
    location: str = ""
    position: GeoPosition | None = None
    floor: str = ""
    status: WantedStatus = WantedStatus.UNSPECIFIED
    tags: tuple[str, ...] = ()
    spec: CameraSpec = field(default_factory=CameraSpec)
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    picture: PictureShape | None = None
    """The displayed picture, on which lines and zones count; None before a worker has seen it."""
    drawn_on: PictureShape | None = None
    """The displayed picture when lines and zones were drawn."""


class ObservedState(StrEnum):
    """The state of a camera's processing."""

    UNSPECIFIED = ""
    WAITING = "waiting"
    PROBING = "probing"
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class CameraFault:
    """A fault that a person can act on."""

    code: str
    """A stable word for programs, such as `unreachable`."""
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class CameraObservation:
    """The last report on a camera's processing; the contract describes each field."""

    state: ObservedState
    worker_id: str = ""
    epoch: int = 0
    width: int = 0
    height: int = 0
    source_fps: float = 0.0
    processed_fps: float = 0.0
    latency_s: float = 0.0
    frames_processed: int = 0
    frames_dropped: int = 0
    fault: CameraFault | None = None
    last_frame_at: float | None = None
    reported_at: float | None = None
    progress: float = 0.0
    model: str = ""
    follower_model: str = ""
    warnings: tuple[CameraFault, ...] = ()
    orientation: Orientation = Orientation.UPRIGHT
    since: float | None = None
    """When the camera entered this state."""

    @property
    def picture(self) -> PictureShape | None:
        """The displayed picture; None while the worker has not seen it."""
        has_size = self.width > 0 and self.height > 0
        return PictureShape((self.width, self.height), self.orientation) if has_size else None


# Sources -------------------------------------------------------------------------------------------------------------


def is_file(camera: Camera) -> bool:
    """Whether the source is a file."""
    return scheme(camera.stream_url) == FILE_SCHEME


def plays_once(camera: Camera) -> bool:
    """Whether the source ends: a file that is not looped."""
    if camera.spec.playback is PlaybackMode.UNSPECIFIED:
        return is_file(camera)
    return camera.spec.playback in ONCE


def with_defaults(camera: Camera, created_at: float) -> Camera:
    """Fill in what the source implies, so that no reader has to guess. A new camera is active."""
    if camera.status is WantedStatus.UNSPECIFIED:
        camera = replace(camera, status=WantedStatus.ACTIVE)
    spec = camera.spec
    if spec.playback is PlaybackMode.UNSPECIFIED:
        spec = replace(spec, playback=PlaybackMode.REALTIME if is_file(camera) else PlaybackMode.LIVE)
    if plays_once(camera) and spec.recorded_at is None:
        spec = replace(spec, recorded_at=created_at)
    return replace(camera, spec=spec)


def for_readers(camera: Camera) -> Camera:
    """Mask the passwords in the camera's address."""
    return replace(camera, stream_url=sources.masked(camera.stream_url))


UNREADABLE: Final = CameraFault(
    "secret_unreadable",
    "the stored password cannot be decrypted",
    "restore the master key, or store the address again: countline cameras set CAMERA --url URL",
)


def is_unreadable(camera: Camera) -> bool:
    """Whether the stored password of a camera cannot be opened; its address shows `***` then."""
    return sources.has_mask(camera.stream_url)


# Changes -------------------------------------------------------------------------------------------------------------


def changed(stored: Camera, update: Camera, paths: Sequence[str]) -> Camera:
    """Take the fields that `paths` name from `update`.

    Args:
        stored: the camera before the change.
        update: holds the new values.
        paths: paths of an update mask that `checks.mask_problems` accepts; `*` names every field.
    """
    if {"*", "spec", "spec.lines", "spec.zones"} & set(paths):
        stored = replace(stored, drawn_on=stored.picture)
    whole = "*" in paths
    own = {name: getattr(update, name) for name in OWN_FIELDS if whole or name in paths}
    if own.get("status") is WantedStatus.UNSPECIFIED:
        del own["status"]
    camera = replace(stored, **own)
    if whole or "spec" in paths:
        return replace(camera, spec=update.spec)
    named = {name: getattr(update.spec, name) for name in SPEC_FIELDS if f"spec.{name}" in paths}
    spec = replace(stored.spec, **named)
    if is_file(camera) != is_file(stored):
        spec = _without_old_playback(spec, named.keys())
    return replace(camera, spec=spec)


def _without_old_playback(spec: CameraSpec, named: Iterable[str]) -> CameraSpec:
    """Clear how the old source was played: it means nothing where a stream becomes a file, or a file a stream."""
    empty = CameraSpec()
    names = {"playback", "recorded_at", "rtsp_transport"} - set(named)
    return replace(spec, **{name: getattr(empty, name) for name in names})


# Versions ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GeometryVersion:
    """The last version of a line or zone. It is kept for ever: a series of counts belongs to one version."""

    version: int
    fingerprint: str
    picture: PictureShape | None = None
    """The displayed picture on which it counts; None until a worker has seen it."""

    def holds_for(self, fingerprint: str, picture: PictureShape | None) -> bool:
        """Whether a line or zone with this fingerprint counts the same on this picture."""
        return self.fingerprint == fingerprint and not has_turned(self.picture, picture)


Versions = dict[tuple[str, str], GeometryVersion]
"""By (`line` or `zone`, id)."""


def has_turned(before: PictureShape | None, now: PictureShape | None) -> bool:
    """Whether the same coordinates mean other places in the second picture; False where one is not known."""
    return before is not None and now is not None and not before.matches(now)


def versioned(spec: CameraSpec, known: Versions, picture: PictureShape | None = None) -> tuple[CameraSpec, Versions]:
    """Set the version of each line and zone.

    Args:
        spec: the versions that it carries are ignored.
        picture: the displayed picture; None if it is not known.
        known: versions of all lines and zones that the camera ever had. A line that is removed and drawn again keeps
            its version if its geometry is the same, and gets the next one if it is not.

    Returns:
        The spec with versions, and the versions to store: new ones, and those whose picture was not known.
    """
    new: Versions = {}

    def version_of(kind: str, key: str, fingerprint: str) -> int:
        last = known.get((kind, key))
        if last is None or not last.holds_for(fingerprint, picture):
            last = new[kind, key] = GeometryVersion(last.version + 1 if last else 1, fingerprint, picture)
        elif last.picture is None and picture is not None:
            new[kind, key] = replace(last, picture=picture)
        return last.version

    lines = tuple(
        replace(line, version=version_of("line", line.line_id, line_fingerprint(line.points, line.classes)))
        for line in spec.lines
    )
    zones = tuple(
        replace(
            zone,
            version=version_of("zone", zone.zone_id, zone_fingerprint(zone.polygon, zone.classes, queue=zone.queue)),
        )
        for zone in spec.zones
    )
    return replace(spec, lines=lines, zones=zones), new


def with_picture(camera: Camera, picture: PictureShape) -> Camera:
    """Return the camera after a worker has seen this displayed picture; the first one is that of its lines."""
    return replace(camera, picture=picture, drawn_on=camera.drawn_on or picture)


PICTURE_CHANGED: Final = "picture_changed"


def with_picture_warning(camera: Camera, observed: CameraObservation) -> CameraObservation:
    """Add a warning to what is observed while its lines and zones lie on another picture than they were drawn on."""
    drawn = bool(camera.spec.lines or camera.spec.zones)
    if not drawn or not has_turned(camera.drawn_on, camera.picture):
        return observed
    message = f"the picture is now {camera.picture}; lines and zones were drawn on {camera.drawn_on}"
    hint = f"draw them again: countline cameras set {camera.camera_id} --line NAME:x1,y1,x2,y2"
    others = tuple(each for each in observed.warnings if each.code != PICTURE_CHANGED)
    return replace(observed, warnings=(*others, CameraFault(PICTURE_CHANGED, message, hint)))

"""Sites, cameras and observations as messages of the contract, both ways."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import cameras_pb2
from countline_common.display import Orientation, PictureShape
from countline_common.times import from_timestamp, to_timestamp
from countline_control.cameras.domain import (
    OWN_FIELDS,
    Camera,
    CameraFault,
    CameraObservation,
    CameraSpec,
    EarlierTimeZone,
    GeoPosition,
    GroundPoint,
    LineSpec,
    MaskSpec,
    ObservedState,
    PlaybackMode,
    Point,
    Site,
    TransportMode,
    ZoneSpec,
)
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.cameras.lists.filters import CameraFilter
from countline_counting.spec import MaskKind

PLAYBACKS: Final = {
    PlaybackMode.UNSPECIFIED: cameras_pb2.PLAYBACK_UNSPECIFIED,
    PlaybackMode.LIVE: cameras_pb2.PLAYBACK_LIVE,
    PlaybackMode.REALTIME: cameras_pb2.PLAYBACK_REALTIME,
    PlaybackMode.FAST: cameras_pb2.PLAYBACK_FAST,
    PlaybackMode.LOOP: cameras_pb2.PLAYBACK_LOOP,
}
TRANSPORTS: Final = {
    TransportMode.UNSPECIFIED: cameras_pb2.RTSP_TRANSPORT_UNSPECIFIED,
    TransportMode.TCP: cameras_pb2.RTSP_TRANSPORT_TCP,
    TransportMode.UDP: cameras_pb2.RTSP_TRANSPORT_UDP,
}
MASK_KINDS: Final = {
    MaskKind.INCLUDE: cameras_pb2.MASK_KIND_INCLUDE,
    MaskKind.IGNORE: cameras_pb2.MASK_KIND_IGNORE,
}
STATES: Final = {
    ObservedState.UNSPECIFIED: cameras_pb2.OBSERVED_STATE_UNSPECIFIED,
    ObservedState.WAITING: cameras_pb2.OBSERVED_STATE_WAITING,
    ObservedState.PROBING: cameras_pb2.OBSERVED_STATE_PROBING,
    ObservedState.STARTING: cameras_pb2.OBSERVED_STATE_STARTING,
    ObservedState.RUNNING: cameras_pb2.OBSERVED_STATE_RUNNING,
    ObservedState.DEGRADED: cameras_pb2.OBSERVED_STATE_DEGRADED,
    ObservedState.OFFLINE: cameras_pb2.OBSERVED_STATE_OFFLINE,
    ObservedState.FAILED: cameras_pb2.OBSERVED_STATE_FAILED,
    ObservedState.FINISHED: cameras_pb2.OBSERVED_STATE_FINISHED,
}
WANTED: Final = {
    WantedStatus.UNSPECIFIED: cameras_pb2.CAMERA_STATUS_UNSPECIFIED,
    WantedStatus.ACTIVE: cameras_pb2.CAMERA_STATUS_ACTIVE,
    WantedStatus.INACTIVE: cameras_pb2.CAMERA_STATUS_INACTIVE,
    WantedStatus.PAUSED: cameras_pb2.CAMERA_STATUS_PAUSED,
    WantedStatus.RETIRED: cameras_pb2.CAMERA_STATUS_RETIRED,
}
_PLAYBACK_OF: Final = {message: mode for mode, message in PLAYBACKS.items()}
_TRANSPORT_OF: Final = {message: mode for mode, message in TRANSPORTS.items()}
_MASK_KIND_OF: Final = {message: kind for kind, message in MASK_KINDS.items()}
_STATE_OF: Final = {message: state for state, message in STATES.items()}
_WANTED_OF: Final = {message: status for status, message in WANTED.items()}


# Sites ---------------------------------------------------------------------------------------------------------------


def site_message(site: Site) -> cameras_pb2.Site:
    """Translate a site."""
    return cameras_pb2.Site(
        site_id=site.site_id,
        title=site.title,
        time_zone=site.time_zone,
        created_at=to_timestamp(site.created_at),
        earlier_time_zones=[
            cameras_pb2.EarlierTimeZone(time_zone=each.time_zone, until=each.until.isoformat())
            for each in site.earlier_time_zones
        ],
        revision=site.revision,
    )


def site_from_message(message: cameras_pb2.Site) -> Site:
    """Read a site as the service answers it."""
    earlier = [{"time_zone": each.time_zone, "until": each.until} for each in message.earlier_time_zones]
    return Site(
        message.site_id,
        message.title,
        message.time_zone,
        from_timestamp(message.created_at),
        earlier_time_zones_from_json(earlier),
        message.revision,
    )


def set_site_paths(message: cameras_pb2.Site) -> list[str]:
    """Return the update mask that an empty one stands for: every field that the message sets and that can change."""
    return [name for name in ("title", "time_zone") if getattr(message, name)]


def earlier_time_zones_json(site: Site) -> list[dict[str, str]]:
    """Return the earlier time zones of a site as they are stored."""
    return [{"time_zone": each.time_zone, "until": each.until.isoformat()} for each in site.earlier_time_zones]


def earlier_time_zones_from_json(values: Iterable[Mapping[str, str]]) -> tuple[EarlierTimeZone, ...]:
    """Read stored earlier time zones."""
    return tuple(EarlierTimeZone(each["time_zone"], date.fromisoformat(each["until"])) for each in values)


# Cameras -------------------------------------------------------------------------------------------------------------


def camera_message(camera: Camera, observed: CameraObservation | None = None) -> cameras_pb2.Camera:
    """Translate a camera, with what is observed of it if given."""
    return cameras_pb2.Camera(
        camera_id=camera.camera_id,
        site_id=camera.site_id,
        name=camera.name,
        stream_url=camera.stream_url,
        location=camera.location,
        position=None if camera.position is None else _position_message(camera.position),
        floor=camera.floor,
        status=WANTED.get(camera.status, cameras_pb2.CAMERA_STATUS_UNSPECIFIED),
        tags=camera.tags,
        spec=spec_message(camera.spec),
        observed=None if observed is None else observation_message(observed),
        revision=camera.revision,
        created_at=to_timestamp(camera.created_at),
        updated_at=to_timestamp(camera.updated_at),
        picture=None if camera.picture is None else picture_message(camera.picture),
    )


def camera_of(message: cameras_pb2.Camera) -> Camera:
    """Read a camera; what is observed is left out. A status that the contract does not define becomes `UNKNOWN`."""
    position = message.position
    return Camera(
        camera_id=message.camera_id,
        site_id=message.site_id,
        name=message.name,
        stream_url=message.stream_url,
        location=message.location,
        position=GeoPosition(position.latitude, position.longitude) if message.HasField("position") else None,
        floor=message.floor,
        status=_WANTED_OF.get(message.status, WantedStatus.UNKNOWN),
        tags=tuple(message.tags),
        spec=spec_of(message.spec),
        revision=message.revision,
        created_at=from_timestamp(message.created_at),
        updated_at=from_timestamp(message.updated_at),
        picture=_picture_of(message.picture) if message.HasField("picture") else None,
    )


def _position_message(position: GeoPosition) -> cameras_pb2.GeoPosition:
    return cameras_pb2.GeoPosition(latitude=position.latitude, longitude=position.longitude)


def filter_of(request: cameras_pb2.ListCamerasRequest) -> CameraFilter:
    """Read the filter of a list."""
    return CameraFilter(
        site_id=request.site_id,
        status=_WANTED_OF.get(request.status, WantedStatus.UNKNOWN),
        location=request.location,
        tag=request.tag,
        observed=_STATE_OF.get(request.observed, ObservedState.UNSPECIFIED),
        worker_id=request.worker_id,
        model=request.model,
        order_by=request.order_by,
    )


def picture_message(picture: PictureShape) -> cameras_pb2.Picture:
    """Translate a displayed picture."""
    width, height = picture.size_wh
    return cameras_pb2.Picture(width=width, height=height, orientation=picture.orientation.code)


def _picture_of(message: cameras_pb2.Picture) -> PictureShape:
    return PictureShape((message.width, message.height), Orientation.of_code(message.orientation))


def picture_json(picture: PictureShape | None) -> dict[str, Any] | None:
    """Return a picture as it is stored: protobuf's JSON."""
    return None if picture is None else MessageToDict(picture_message(picture), preserving_proto_field_name=True)


def picture_from_json(values: Mapping[str, Any] | None) -> PictureShape | None:
    """Read a stored picture."""
    return None if values is None else _picture_of(ParseDict(dict(values), cameras_pb2.Picture()))


def set_paths(message: cameras_pb2.Camera) -> list[str]:
    """Return the update mask that an empty one stands for: every field that the message sets."""
    own = [field.name for field, _ in message.ListFields() if field.name in OWN_FIELDS]
    return own + [f"spec.{field.name}" for field, _ in message.spec.ListFields()]


def spec_message(spec: CameraSpec) -> cameras_pb2.CameraSpec:
    """Translate a spec, credentials included."""
    return cameras_pb2.CameraSpec(
        model=spec.model,
        lines=[_line_message(line) for line in spec.lines],
        zones=[_zone_message(zone) for zone in spec.zones],
        processing_rate=spec.processing_rate,
        min_score=spec.min_score,
        anchor=None if spec.anchor is None else _point(spec.anchor),
        playback=PLAYBACKS.get(spec.playback, cameras_pb2.PLAYBACK_UNSPECIFIED),
        recorded_at=_timestamp(spec.recorded_at),
        rtsp_transport=TRANSPORTS.get(spec.rtsp_transport, cameras_pb2.RTSP_TRANSPORT_UNSPECIFIED),
        min_track_age_s=spec.min_track_age_s,
        min_track_score=spec.min_track_score,
        masks=[_mask_message(mask) for mask in spec.masks],
        ground_plane=None if spec.ground_plane is None else _ground_message(spec.ground_plane),
    )


def spec_of(message: cameras_pb2.CameraSpec) -> CameraSpec:
    """Read a spec; numbers that the contract does not define become `UNKNOWN`, or None for a mask's kind."""
    return CameraSpec(
        model=message.model,
        lines=tuple(
            LineSpec(line.line_id, _pairs(line.points), tuple(line.classes), line.version) for line in message.lines
        ),
        zones=tuple(
            ZoneSpec(zone.zone_id, _pairs(zone.polygon), tuple(zone.classes), zone.version, zone.queue)
            for zone in message.zones
        ),
        processing_rate=message.processing_rate,
        min_score=message.min_score,
        anchor=(message.anchor.x, message.anchor.y) if message.HasField("anchor") else None,
        playback=_PLAYBACK_OF.get(message.playback, PlaybackMode.UNKNOWN),
        recorded_at=from_timestamp(message.recorded_at) if message.HasField("recorded_at") else None,
        rtsp_transport=_TRANSPORT_OF.get(message.rtsp_transport, TransportMode.UNKNOWN),
        min_track_age_s=message.min_track_age_s,
        min_track_score=message.min_track_score,
        masks=tuple(
            MaskSpec(mask.mask_id, _pairs(mask.polygon), _MASK_KIND_OF.get(mask.kind)) for mask in message.masks
        ),
        ground_plane=_ground_of(message.ground_plane) if message.HasField("ground_plane") else None,
    )


def spec_json(spec: CameraSpec) -> dict[str, Any]:
    """Return a spec as it is stored: protobuf's JSON, with the field names of the contract."""
    return MessageToDict(spec_message(spec), preserving_proto_field_name=True)


def spec_from_json(values: Mapping[str, Any]) -> CameraSpec:
    """Read a stored spec. Fields that a newer release wrote are ignored, so that this one can read the rest."""
    return spec_of(ParseDict(dict(values), cameras_pb2.CameraSpec(), ignore_unknown_fields=True))


def _line_message(line: LineSpec) -> cameras_pb2.Line:
    return cameras_pb2.Line(
        line_id=line.line_id, points=_points(line.points), version=line.version, classes=line.classes
    )


def _zone_message(zone: ZoneSpec) -> cameras_pb2.Zone:
    return cameras_pb2.Zone(
        zone_id=zone.zone_id,
        polygon=_points(zone.polygon),
        version=zone.version,
        classes=zone.classes,
        queue=zone.queue,
    )


def _mask_message(mask: MaskSpec) -> cameras_pb2.Mask:
    kind = cameras_pb2.MASK_KIND_UNSPECIFIED if mask.kind is None else MASK_KINDS[mask.kind]
    return cameras_pb2.Mask(mask_id=mask.mask_id, polygon=_points(mask.polygon), kind=kind)


def _ground_message(points: Sequence[GroundPoint]) -> cameras_pb2.GroundPlane:
    return cameras_pb2.GroundPlane(
        points=[cameras_pb2.GroundPoint(image=_point(each.image), x_m=each.x_m, y_m=each.y_m) for each in points]
    )


def _ground_of(message: cameras_pb2.GroundPlane) -> tuple[GroundPoint, ...]:
    return tuple(GroundPoint((each.image.x, each.image.y), each.x_m, each.y_m) for each in message.points)


def _point(point: Point) -> cameras_pb2.Point:
    return cameras_pb2.Point(x=point[0], y=point[1])


def _points(points: Iterable[Point]) -> list[cameras_pb2.Point]:
    return [_point(each) for each in points]


def _pairs(points: Iterable[cameras_pb2.Point]) -> tuple[Point, ...]:
    return tuple((each.x, each.y) for each in points)


# Observations --------------------------------------------------------------------------------------------------------


def observation_message(observed: CameraObservation) -> cameras_pb2.CameraObservation:
    """Translate an observation."""
    return cameras_pb2.CameraObservation(
        state=STATES[observed.state],
        worker_id=observed.worker_id,
        epoch=observed.epoch,
        width=observed.width,
        height=observed.height,
        source_fps=observed.source_fps,
        processed_fps=observed.processed_fps,
        latency_s=observed.latency_s,
        frames_processed=observed.frames_processed,
        frames_dropped=observed.frames_dropped,
        error=None if observed.fault is None else _fault_message(observed.fault),
        last_frame_at=_timestamp(observed.last_frame_at),
        reported_at=_timestamp(observed.reported_at),
        progress=observed.progress,
        model=observed.model,
        follower_model=observed.follower_model,
        warnings=[_fault_message(each) for each in observed.warnings],
        orientation=observed.orientation.code,
        since=_timestamp(observed.since),
    )


def observation_of(message: cameras_pb2.CameraObservation) -> CameraObservation:
    """Read an observation."""
    return CameraObservation(
        state=_STATE_OF.get(message.state, ObservedState.UNSPECIFIED),
        worker_id=message.worker_id,
        epoch=message.epoch,
        width=message.width,
        height=message.height,
        source_fps=message.source_fps,
        processed_fps=message.processed_fps,
        latency_s=message.latency_s,
        frames_processed=message.frames_processed,
        frames_dropped=message.frames_dropped,
        fault=_fault_of(message.error) if message.HasField("error") else None,
        last_frame_at=from_timestamp(message.last_frame_at) if message.HasField("last_frame_at") else None,
        reported_at=from_timestamp(message.reported_at) if message.HasField("reported_at") else None,
        progress=message.progress,
        model=message.model,
        follower_model=message.follower_model,
        warnings=tuple(_fault_of(each) for each in message.warnings),
        orientation=Orientation.of_code(message.orientation),
        since=from_timestamp(message.since) if message.HasField("since") else None,
    )


def _fault_message(fault: CameraFault) -> cameras_pb2.CameraError:
    return cameras_pb2.CameraError(code=fault.code, message=fault.message, hint=fault.hint)


def _fault_of(message: cameras_pb2.CameraError) -> CameraFault:
    return CameraFault(message.code, message.message, message.hint)


def _timestamp(t: float | None) -> Timestamp | None:
    return None if t is None else to_timestamp(t)

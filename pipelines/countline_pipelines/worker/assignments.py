"""Turns assignments of the control-plane into plans of a data plane.

Pure, except that it reads a finite file to name its run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.display import Orientation, PictureShape
from countline_common.errors import InvalidInputError
from countline_common.times import from_timestamp
from countline_counting.errors import SpecError
from countline_counting.geometry.ground import GroundPlane
from countline_counting.geometry.segments import Points
from countline_counting.identity import FiniteFile, counted_file_key, file_run_name, recorded_file_key
from countline_counting.spec import DEFAULT_ANCHOR, CountingSpec, Line, Mask, MaskKind, Zone
from countline_pipelines.planes.interface import CameraPlan, FollowerPlan, unusable_spec
from countline_pipelines.sources import Playback, RtspTransport, SourceSpec, default_playback, source_address
from countline_pipelines.sources.content import content_of

_PLAYBACKS: Final = {
    cameras_pb2.PLAYBACK_LIVE: Playback.LIVE,
    cameras_pb2.PLAYBACK_REALTIME: Playback.REALTIME,
    cameras_pb2.PLAYBACK_FAST: Playback.FAST,
    cameras_pb2.PLAYBACK_LOOP: Playback.LOOP,
}

_MASKS: Final = {
    cameras_pb2.MASK_KIND_INCLUDE: MaskKind.INCLUDE,
    cameras_pb2.MASK_KIND_IGNORE: MaskKind.IGNORE,
}


@dataclass(frozen=True, slots=True)
class Ownership:
    """Site and time zone of a camera; every record of the camera carries them."""

    site_id: str
    time_zone: str
    assigned_at: float | None = None
    """When the control-plane gave the epoch out, Unix seconds by its clock; None for a file that is played once."""
    recording: str = ""
    """Key of a file that is played once (`recorded_file_key`); empty for a live camera."""


def ownership_of(assignment: workers_pb2.Assignment) -> Ownership:
    """Return the site and time zone of an assigned camera, and the time of the assignment."""
    assigned_at = from_timestamp(assignment.assigned_at) if assignment.HasField("assigned_at") else None
    return Ownership(assignment.camera.site_id, assignment.time_zone, assigned_at)


def plan_of(assignment: workers_pb2.Assignment, default_model: str) -> CameraPlan:
    """Return the plan for an assigned camera.

    Raises:
        InvalidInputError: this worker does not know the kind of address or mask, or cannot count with the geometry.
        NotFoundError: a finite file does not exist.
    """
    spec = assignment.camera.spec
    source = source_of(assignment.camera)
    plan = CameraPlan(
        camera_id=assignment.camera.camera_id,
        source=source,
        model=assignment.model or spec.model or default_model,
        counting=counting_of(spec),
        epoch=assignment.epoch,
        picture=_picture_of(assignment.camera),
        follower=_follower(assignment),
    )
    return with_run(plan) if source.playback.is_finite else plan


def _picture_of(camera: cameras_pb2.Camera) -> PictureShape | None:
    """Return the displayed picture on which lines and zones count, if there are any and it is known."""
    picture = camera.picture
    if not picture.width or not (camera.spec.lines or camera.spec.zones):
        return None
    return PictureShape((picture.width, picture.height), Orientation.of_code(picture.orientation))


def _follower(assignment: workers_pb2.Assignment) -> FollowerPlan | None:
    if not assignment.HasField("follower"):
        return None
    follower = assignment.follower
    return FollowerPlan(follower.trial_id, follower.model, follower.is_challenger)


def source_of(camera: cameras_pb2.Camera) -> SourceSpec:
    """Return the source of a camera, and how it is played.

    Raises:
        InvalidInputError: this worker does not know the kind of address.
    """
    spec = camera.spec
    url = source_address(camera.stream_url)
    recorded_at = spec.recorded_at if spec.HasField("recorded_at") else camera.created_at
    udp = spec.rtsp_transport == cameras_pb2.RTSP_TRANSPORT_UDP
    return SourceSpec(
        url=url,
        playback=_PLAYBACKS.get(spec.playback, default_playback(url)),
        transport=RtspTransport.UDP if udp else RtspTransport.TCP,
        recorded_at=from_timestamp(recorded_at),
        rate=spec.processing_rate,
    )


def counting_of(spec: cameras_pb2.CameraSpec) -> CountingSpec:
    """Return what a camera counts.

    Raises:
        InvalidInputError: this worker does not know the kind of a mask, or the geometry cannot be counted with.
    """
    try:
        return CountingSpec(
            lines=tuple(Line(p.line_id, _points(p.points), p.version, frozenset(p.classes)) for p in spec.lines),
            zones=tuple(
                Zone(p.zone_id, _points(p.polygon), p.version, frozenset(p.classes), p.queue) for p in spec.zones
            ),
            anchor=(spec.anchor.x, spec.anchor.y) if spec.HasField("anchor") else DEFAULT_ANCHOR,
            min_score=spec.min_score,
            min_track_age_s=spec.min_track_age_s,
            min_track_score=spec.min_track_score,
            masks=tuple(_mask(mask) for mask in spec.masks),
            ground=_ground(spec.ground_plane) if spec.ground_plane.points else None,
        )
    except SpecError as error:
        raise unusable_spec(error) from error


def _mask(mask: cameras_pb2.Mask) -> Mask:
    if mask.kind not in _MASKS:
        raise InvalidInputError(
            f"masks[{mask.mask_id}].kind: this worker does not know the kind {mask.kind}",
            hint="give INCLUDE or IGNORE, or update the worker",
        )
    return Mask(mask.mask_id, _points(mask.polygon), _MASKS[mask.kind])


def _ground(plane: cameras_pb2.GroundPlane) -> GroundPlane:
    return GroundPlane(tuple(((p.image.x, p.image.y), (p.x_m, p.y_m)) for p in plane.points))


def _points(points: Iterable[cameras_pb2.Point]) -> Points:
    return tuple((point.x, point.y) for point in points)


def with_run(plan: CameraPlan) -> CameraPlan:
    """Return the plan of a finite file with the hash of its content and the name of its run (`file_run_name`).

    Raises:
        NotFoundError: the file does not exist.
    """
    plan = replace(plan, content=content_of(plan.source))
    return replace(plan, run=file_run_name(_finite_file(plan), plan.model, plan.counting))


def counting_key(plan: CameraPlan) -> str:
    """Return the key under which this worker remembers that it counted a finite file by this plan to its end."""
    return counted_file_key(plan.camera_id, _finite_file(plan), plan.counting)


def recording_of(plan: CameraPlan) -> str:
    """Return the key of the file that a plan counts; empty for a live camera."""
    return recorded_file_key(_finite_file(plan)) if plan.source.playback.is_finite else ""


def _finite_file(plan: CameraPlan) -> FiniteFile:
    return FiniteFile(plan.content, plan.source.rate, plan.source.recorded_at)

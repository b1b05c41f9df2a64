"""From the control-plane's words to the plane's plans; pure, but that a finite file is read to name its run."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.errors import InvalidInputError
from countline_common.times import from_timestamp
from countline_counting.spec import MaskKind
from countline_pipelines.planes.interface import (
    CameraPlan,
    CountingPlan,
    FollowerPlan,
    LinePlan,
    MaskPlan,
    Points,
    ZonePlan,
)
from countline_pipelines.sources import Playback, RtspTransport, SourceSpec, default_playback, source_address
from countline_pipelines.sources.content import content_hash

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
    """What records say of a camera besides its plan."""

    site_id: str
    time_zone: str


def ownership_of(assignment: workers_pb2.Assignment) -> Ownership:
    """Site and zone of an assignment."""
    return Ownership(assignment.camera.site_id, assignment.time_zone)


def plan_of(assignment: workers_pb2.Assignment, default_model: str) -> CameraPlan:
    """The plan for an assigned camera.

    Raises:
        InvalidInputError: the kind of address, or of a mask, is not known.
        NotFoundError: a finite file is not there.
    """
    spec = assignment.camera.spec
    source = source_of(assignment.camera)
    plan = CameraPlan(
        camera_id=assignment.camera.camera_id,
        source=source,
        model=assignment.model or spec.model or default_model,
        counting=counting_of(spec),
        epoch=assignment.epoch,
        follower=_follower(assignment),
    )
    return with_run(plan) if source.playback.is_finite else plan


def _follower(assignment: workers_pb2.Assignment) -> FollowerPlan | None:
    if not assignment.HasField("follower"):
        return None
    told = assignment.follower
    return FollowerPlan(told.trial_id, told.model, told.is_challenger)


def source_of(camera: cameras_pb2.Camera) -> SourceSpec:
    """What is watched, and how.

    Raises:
        InvalidInputError: the kind of address is not known.
    """
    spec = camera.spec
    url = source_address(spec.source_url)
    recorded_at = spec.recorded_at if spec.HasField("recorded_at") else camera.created_at
    udp = spec.rtsp_transport == cameras_pb2.RTSP_TRANSPORT_UDP
    return SourceSpec(
        url=url,
        playback=_PLAYBACKS.get(spec.playback, default_playback(url)),
        transport=RtspTransport.UDP if udp else RtspTransport.TCP,
        recorded_at=from_timestamp(recorded_at),
        rate=spec.processing_rate,
    )


def counting_of(spec: cameras_pb2.CameraSpec) -> CountingPlan:
    """What is counted.

    Raises:
        InvalidInputError: the kind of a mask is not known.
    """
    return CountingPlan(
        lines=tuple(LinePlan(p.line_id, _points(p.points), p.version, tuple(p.classes)) for p in spec.lines),
        zones=tuple(ZonePlan(p.zone_id, _points(p.polygon), p.version, tuple(p.classes), p.queue) for p in spec.zones),
        anchor=(spec.anchor.x, spec.anchor.y) if spec.HasField("anchor") else (0.5, 1.0),
        min_score=spec.min_score,
        min_track_age_s=spec.min_track_age_s,
        min_track_score=spec.min_track_score,
        masks=tuple(_mask(mask) for mask in spec.masks),
        ground=tuple(((p.image.x, p.image.y), (p.x_m, p.y_m)) for p in spec.ground_plane.points),
    )


def _mask(mask: cameras_pb2.Mask) -> MaskPlan:
    if mask.kind not in _MASKS:
        raise InvalidInputError(
            f"masks[{mask.mask_id}].kind: this worker does not know the kind {mask.kind}",
            hint="give INCLUDE or IGNORE, or update the worker",
        )
    return MaskPlan(mask.mask_id, _points(mask.polygon), _MASKS[mask.kind])


def _points(points: Iterable[cameras_pb2.Point]) -> Points:
    return tuple((point.x, point.y) for point in points)


def with_run(plan: CameraPlan) -> CameraPlan:
    """The plan of a finite file with the name of its run.

    The name is made of what decides the tracks: the file's content, the model, the rate, the scores, the masks, and
    when it was recorded. Lines and zones are not in it: when one is added, the file is counted anew and the others'
    crossings keep their ids. When another version of the model takes over under way, the rest of the file has a name
    of its own, made of this one, that of the run before it, and the frame of the change.

    Raises:
        NotFoundError: the file is not there.
    """
    content = plan.source.url if plan.source.is_network else content_hash(Path(plan.source.url))
    plan = replace(plan, content=content)
    return replace(plan, run=_digest(_decisive(plan, plan.model)))


def counting_key(plan: CameraPlan) -> str:
    """Tells whether a finite file was counted in just this way: 16 hexadecimal digits of content, lines and zones.

    The model is not in it: a file that was counted to its end is not counted again because a new version has become the
    live one, since all of it would count twice.
    """
    return _digest((plan.camera_id, _decisive(plan), plan.counting))


def _decisive(plan: CameraPlan, *model: str) -> tuple[object, ...]:
    """What decides the tracks of a finite file."""
    source, counting = plan.source, plan.counting
    parts: tuple[object, ...] = (
        plan.content, *model, source.rate, source.recorded_at, counting.min_score, counting.anchor,
    )  # fmt: skip
    if counting.masks:  # not otherwise: what was counted before there were masks keeps its name
        parts = (*parts, counting.masks)
    return parts


def _digest(parts: tuple[object, ...]) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()

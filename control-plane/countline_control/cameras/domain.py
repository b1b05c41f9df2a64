"""The rules of sites and cameras, without IO: what can be stored, what a change changes, and which versions lines get.

They work on the messages of the contract, which are plain data. Every problem names the field, as a path below the
message that was sent, says what is wrong with it and what to write instead.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraSpec, Line, Mask, Playback, Point, RtspTransport, Site, Zone
from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.times import from_timestamp, to_timestamp
from countline_common.triton import ModelRef
from countline_control import names
from countline_control.cameras import sources
from countline_counting.geometry.ground import horizon_is_between, three_on_a_line
from countline_counting.geometry.polygons import polygon_crosses_itself
from countline_counting.limits import (
    GROUND_POINTS,
    MAX_CLASS_NAME,
    MAX_CLASSES,
    MAX_GROUND_M,
    MAX_LINES,
    MAX_MASKS,
    MAX_POINTS,
    MAX_RATE,
    MAX_TRACK_AGE_S,
    MAX_ZONES,
)

MAX_TITLE: Final = 200
DAY_S: Final = 86_400.0

ONCE: Final = (cameras_pb2.PLAYBACK_REALTIME, cameras_pb2.PLAYBACK_FAST)
"""Files that are played once."""
IMMUTABLE: Final = ("camera_id", "site_id")
OUTPUT_ONLY: Final = ("status", "revision", "created_at", "updated_at")
SPEC_FIELDS: Final = tuple(field.name for field in CameraSpec.DESCRIPTOR.fields)

Problems = list[FieldProblem]


def refuse(what: str, problems: Sequence[FieldProblem]) -> None:
    """Raise where there are problems.

    Raises:
        InvalidInputError: with each of them.
    """
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InvalidInputError(f"{what}: {first.field} {first.message}{more}", fields=tuple(problems))


def site_problems(site: Site) -> Problems:
    """What keeps a site from being stored."""
    found = _label_problems("site_id", site.site_id) + _title_problems(site.title)
    if not _is_time_zone(site.time_zone):
        message = f"{site.time_zone!r} is no time zone; give an IANA name such as Europe/Berlin"
        found.append(FieldProblem("time_zone", message))
    return found


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, such as `Europe`
        return False
    return bool(name)


def camera_problems(camera: Camera, now: float) -> Problems:
    """What keeps a camera from being stored; `now` in Unix seconds. Whether the site exists is not looked at."""
    return [
        *_label_problems("camera_id", camera.camera_id),
        *_label_problems("site_id", camera.site_id),
        *_title_problems(camera.title),
        *spec_problems(camera.spec, now),
    ]


def spec_problems(spec: CameraSpec, now: float) -> Problems:
    """What keeps a spec from being used."""
    return [
        *sources.problems(spec.source_url),
        *_model_problems("spec.model", spec.model),
        *_lines_problems(spec.lines),
        *_zones_problems(spec.zones),
        *_range_problems("spec.processing_rate", spec.processing_rate, MAX_RATE, "frames a second, 0 for every frame"),
        *_range_problems("spec.min_score", spec.min_score, 1.0, "0 for the model's own threshold"),
        *_masks_problems(spec.masks),
        *_range_problems("spec.min_track_age_s", spec.min_track_age_s, MAX_TRACK_AGE_S, "seconds, 0 for none"),
        *_range_problems("spec.min_track_score", spec.min_track_score, 1.0, "0 for none"),
        *_anchor_problems(spec),
        *_ground_problems(spec),
        *_playback_problems(spec),
        *_recorded_problems(spec, now),
        *_transport_problems(spec),
    ]


def _label_problems(field: str, value: str) -> Problems:
    return [] if names.is_label(value) else [FieldProblem(field, f"{value!r} is no id; {names.LABEL_HINT}")]


def _title_problems(title: str) -> Problems:
    if len(title) > MAX_TITLE:
        return [FieldProblem("title", f"has {len(title)} characters; {MAX_TITLE} is the most")]
    if not title.isprintable():
        return [FieldProblem("title", "contains a control character; leave it out")]
    return []


def _name_problems(field: str, name: str) -> Problems:
    if 0 < len(name.strip()) == len(name) <= MAX_CLASS_NAME and name.isprintable():
        return []
    return [FieldProblem(field, f"{name[:40]!r} is no name; give 1 to {MAX_CLASS_NAME} printable characters")]


def _model_problems(field: str, model: str) -> Problems:
    """Whether there is such a model is not looked at: it may be deployed later, and the worker says so until then."""
    try:
        if model:
            ModelRef.parse(model)
    except InvalidInputError as error:
        return [FieldProblem(field, f"{model[:40]!r} names no model; {error.hint}")]
    return []


def _range_problems(field: str, value: float, most: float, meaning: str) -> Problems:
    if 0.0 <= value <= most:  # also refuses NaN
        return []
    return [FieldProblem(field, f"{value:g} is not in 0..{most:g}; {meaning}")]


def _anchor_problems(spec: CameraSpec) -> Problems:
    return _point_problems("spec.anchor", spec.anchor, "the box") if spec.HasField("anchor") else []


def _point_problems(field: str, point: Point, of: str) -> Problems:
    if 0.0 <= point.x <= 1.0 and 0.0 <= point.y <= 1.0:
        return []
    message = f"({point.x:g}, {point.y:g}) lies outside; give fractions 0..1 of the width and height of {of}"
    return [FieldProblem(field, message)]


def _ground_problems(spec: CameraSpec) -> Problems:
    field, points = "spec.ground_plane.points", spec.ground_plane.points
    if not spec.HasField("ground_plane"):
        return []
    if len(points) != GROUND_POINTS:
        return [FieldProblem(field, f"has {len(points)} entries; give {GROUND_POINTS}, or no ground plane")]
    found = [
        bad for i, p in enumerate(points) for bad in _point_problems(f"{field}[{i}].image", p.image, "the picture")
    ]
    if not all(abs(metres) <= MAX_GROUND_M for p in points for metres in (p.x_m, p.y_m)):  # also refuses NaN
        found.append(FieldProblem(field, f"has a place that is not within {MAX_GROUND_M:g} m; choose another origin"))
    if found:
        return found
    image, ground = [(p.image.x, p.image.y) for p in points], [(p.x_m, p.y_m) for p in points]
    for where, given in (("in the picture", image), ("on the ground", ground)):
        if three_on_a_line(given):
            message = f"has three points on one line {where}; give four corners of an area, as large as can be"
            return [FieldProblem(field, message)]
    if horizon_is_between(image, ground):
        message = "has the horizon between the points; see that each stands beside its own place on the ground"
        return [FieldProblem(field, message)]
    return []


def _lines_problems(lines: Sequence[Line]) -> Problems:
    found = _too_many("spec.lines", len(lines), MAX_LINES)
    found += _id_problems("spec.lines", "line_id", [line.line_id for line in lines])
    for i, line in enumerate(lines):
        field = f"spec.lines[{i}]"
        found += _points_problems(f"{field}.points", line.points, at_least=2)
        if len(line.points) > 1 and len(set(_pairs(line.points))) < 2:
            message = "has both ends at the same point; give two points that lie apart"
            found.append(FieldProblem(f"{field}.points", message))
        found += _classes_problems(f"{field}.classes", line.classes)
    return found


def _zones_problems(zones: Sequence[Zone]) -> Problems:
    found = _too_many("spec.zones", len(zones), MAX_ZONES)
    found += _id_problems("spec.zones", "zone_id", [zone.zone_id for zone in zones])
    for i, zone in enumerate(zones):
        field = f"spec.zones[{i}]"
        found += _outline_problems(f"{field}.polygon", zone.polygon)
        found += _classes_problems(f"{field}.classes", zone.classes)
    return found


def _masks_problems(masks: Sequence[Mask]) -> Problems:
    found = _too_many("spec.masks", len(masks), MAX_MASKS)
    found += _id_problems("spec.masks", "mask_id", [mask.mask_id for mask in masks])
    for i, mask in enumerate(masks):
        found += _outline_problems(f"spec.masks[{i}].polygon", mask.polygon)
        if mask.kind not in (cameras_pb2.MASK_KIND_INCLUDE, cameras_pb2.MASK_KIND_IGNORE):
            found.append(FieldProblem(f"spec.masks[{i}].kind", "is not given; give INCLUDE or IGNORE"))
    return found


def _outline_problems(field: str, polygon: Sequence[Point]) -> Problems:
    bad = _points_problems(field, polygon, at_least=3)
    if not bad and polygon_crosses_itself(tuple(_pairs(polygon))):
        message = "crosses or touches itself; list the corners in the order of the outline"
        return [FieldProblem(field, message)]
    return bad


def _too_many(field: str, number: int, most: int) -> Problems:
    return [FieldProblem(field, f"has {number} entries; {most} is the most")] if number > most else []


def _id_problems(field: str, name: str, ids: Sequence[str]) -> Problems:
    found = []
    for i, value in enumerate(ids):
        if not names.is_geometry_id(value):
            found.append(FieldProblem(f"{field}[{i}].{name}", f"{value!r} is no id; {names.GEOMETRY_HINT}"))
        elif value in ids[:i]:
            found.append(FieldProblem(f"{field}[{i}].{name}", f"{value!r} is there twice; give each an id of its own"))
    return found


def _points_problems(field: str, points: Sequence[Point], at_least: int) -> Problems:
    if not at_least <= len(points) <= MAX_POINTS:
        return [FieldProblem(field, f"has {len(points)} points; give {at_least} to {MAX_POINTS}")]
    found: Problems = []
    for i, point in enumerate(points):
        found += _point_problems(f"{field}[{i}]", point, "the picture")
    return found


def _classes_problems(field: str, classes: Sequence[str]) -> Problems:
    found = _too_many(field, len(classes), MAX_CLASSES)
    for i, name in enumerate(classes):
        found += _name_problems(f"{field}[{i}]", name)
    return found


def _playback_problems(spec: CameraSpec) -> Problems:
    if spec.playback not in Playback.values():
        return [FieldProblem("spec.playback", f"{spec.playback} is no playback; see countline.v1.Playback")]
    is_file = _is_file(spec)
    if is_file and spec.playback == cameras_pb2.PLAYBACK_LIVE:
        return [FieldProblem("spec.playback", "a file is not live; give REALTIME, FAST or LOOP")]
    if not is_file and spec.playback not in (cameras_pb2.PLAYBACK_UNSPECIFIED, cameras_pb2.PLAYBACK_LIVE):
        return [FieldProblem("spec.playback", "only files can be played so; a stream is LIVE")]
    return []


def _recorded_problems(spec: CameraSpec, now: float) -> Problems:
    if not spec.HasField("recorded_at"):
        return []
    if not plays_once(spec):
        return [FieldProblem("spec.recorded_at", "is only for files that are played once; leave it out")]
    if not 0.0 <= from_timestamp(spec.recorded_at) <= now + DAY_S:
        return [FieldProblem("spec.recorded_at", "lies before 1970 or in the future; give when the recording began")]
    return []


def _transport_problems(spec: CameraSpec) -> Problems:
    if spec.rtsp_transport not in RtspTransport.values():
        return [FieldProblem("spec.rtsp_transport", f"{spec.rtsp_transport} is no transport; give TCP or UDP")]
    if spec.rtsp_transport and not sources.scheme(spec.source_url).startswith("rtsp"):
        return [FieldProblem("spec.rtsp_transport", "is only for rtsp:// and rtsps://; leave it out")]
    return []


def _pairs(points: Iterable[Point]) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in points]


def plays_once(spec: CameraSpec) -> bool:
    """Whether a source comes to an end: a file that is not looped."""
    if spec.playback == cameras_pb2.PLAYBACK_UNSPECIFIED:
        return _is_file(spec)
    return spec.playback in ONCE


def with_defaults(spec: CameraSpec, created_at: float) -> CameraSpec:
    """The spec with what its source implies filled in, so that no reader has to guess."""
    filled = CameraSpec()
    filled.CopyFrom(spec)
    if filled.playback == cameras_pb2.PLAYBACK_UNSPECIFIED:
        filled.playback = cameras_pb2.PLAYBACK_REALTIME if _is_file(filled) else cameras_pb2.PLAYBACK_LIVE
    if plays_once(filled) and not filled.HasField("recorded_at"):
        filled.recorded_at.CopyFrom(to_timestamp(created_at))
    return filled


def for_readers(camera: Camera) -> Camera:
    """The camera with the passwords in its address hidden."""
    shown = Camera()
    shown.CopyFrom(camera)
    shown.spec.source_url = sources.masked(camera.spec.source_url)
    return shown


def mask_problems(paths: Sequence[str]) -> Problems:
    """What keeps an update mask from being followed."""
    return [FieldProblem("update_mask", problem) for path in paths if (problem := _path_problem(path))]


def _path_problem(path: str) -> str:
    head, _, field = path.partition(".")
    if path in ("*", "title", "spec") or (head == "spec" and field in SPEC_FIELDS):
        return ""
    if path in IMMUTABLE:
        return f"{path} cannot be changed; delete the camera and create it again"
    if path in OUTPUT_ONLY:
        return f"{path} is set by the service; leave it out"
    if head == "spec" and field.partition(".")[0] in SPEC_FIELDS:
        return f"{path} lies too deep; name spec.{field.partition('.')[0]} and send it whole"
    return f"{path!r} is no field of a camera"


def paths_of(camera: Camera) -> list[str]:
    """The mask that stands for an empty one: every field that the message sets."""
    paths = ["title"] if camera.title else []
    return paths + [f"spec.{field.name}" for field, _ in camera.spec.ListFields()]


def changed(stored: Camera, update: Camera, paths: Sequence[str]) -> Camera:
    """The stored camera with the fields that `paths` name taken from `update`; the paths have been checked."""
    result = Camera()
    result.CopyFrom(stored)
    every = ("title", "spec")
    mask = FieldMask(paths=every if "*" in paths else paths)
    given = Camera()
    given.CopyFrom(update)
    given.spec.SetInParent()  # else what the mask names below it would be left as it is, not cleared
    mask.MergeMessage(given, result, replace_message_field=True, replace_repeated_field=True)
    _forget_what_fits_no_more(result.spec, stored.spec, mask.paths)
    return result


def _forget_what_fits_no_more(spec: CameraSpec, stored: CameraSpec, paths: Sequence[str]) -> None:
    """Where a stream becomes a file or the other way, how the old one was played means nothing."""
    if _is_file(spec) == _is_file(stored):
        return
    for name in ("playback", "recorded_at", "rtsp_transport"):
        if f"spec.{name}" not in paths and "spec" not in paths:
            FieldMask(paths=[name]).MergeMessage(CameraSpec(), spec, replace_message_field=True)


def _is_file(spec: CameraSpec) -> bool:
    return sources.scheme(spec.source_url) == sources.FILE_SCHEME


def url_with_secrets(new: str, stored: str) -> str:
    """The address to store when a reader's address with `***` may have come back.

    Raises:
        InvalidInputError: there is no password to keep, or it is not for this host and user.
    """
    if not sources.has_mask(new):
        return new
    kept = sources.with_stored_secrets(new, stored) if stored else None
    if kept is None:
        message = "has *** for a password, but none is stored for this host and user; write the password itself"
        refuse("the camera cannot be stored", [FieldProblem(sources.FIELD, message)])
    return kept or ""


@dataclass(frozen=True, slots=True)
class GeometryVersion:
    """The last version of a line or zone, kept for ever: a series of counts belongs to one version."""

    version: int
    fingerprint: str


Versions = dict[tuple[str, str], GeometryVersion]
"""By (`line` or `zone`, id)."""


def versioned(spec: CameraSpec, known: Versions) -> tuple[CameraSpec, Versions]:
    """The spec with the version of each line and zone set, and the versions that are new.

    Args:
        spec: its own versions are ignored.
        known: also of those that were removed: who draws one again goes on with its version where it is the same, and
            with the next one where it is not.
    """
    result = CameraSpec()
    result.CopyFrom(spec)
    new: Versions = {}
    for line in result.lines:
        line.version = _version("line", line.line_id, _fingerprint(line.points, line.classes), known, new)
    for zone in result.zones:
        zone.version = _version("zone", zone.zone_id, _zone_fingerprint(zone), known, new)
    return result, new


def _version(kind: str, key: str, fingerprint: str, known: Versions, new: Versions) -> int:
    last = known.get((kind, key))
    if last is None or last.fingerprint != fingerprint:
        last = new[kind, key] = GeometryVersion(last.version + 1 if last else 1, fingerprint)
    return last.version


def _zone_fingerprint(zone: Zone) -> str:
    # A zone that becomes a queue tells of waiting times from then on: another series. Other zones keep their versions.
    fingerprint = _fingerprint(zone.polygon, zone.classes)
    return hashlib.sha256(f"queue {fingerprint}".encode()).hexdigest()[:32] if zone.queue else fingerprint


def _fingerprint(points: Iterable[Point], classes: Iterable[str]) -> str:
    # Adding 0.0 makes one zero of the two that floats have.
    text = repr(([(x + 0.0, y + 0.0) for x, y in _pairs(points)], sorted(set(classes))))
    return hashlib.sha256(text.encode()).hexdigest()[:32]

"""What keeps a site, a camera or an update mask from being stored.

Every problem names the field by its path below the message that the caller sent, says what is wrong with it, and what
to write instead.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.texts import name_problem
from countline_common.stream_addresses import scheme
from countline_common.time_zones import find_time_zone
from countline_common.triton import ModelRef
from countline_control import names
from countline_control.cameras import sources
from countline_control.cameras.domain import (
    OWN_FIELDS,
    SPEC_FIELDS,
    Camera,
    GeoPosition,
    GroundPoint,
    LineSpec,
    MaskSpec,
    PlaybackMode,
    Point,
    Site,
    TransportMode,
    ZoneSpec,
    is_file,
    plays_once,
)
from countline_control.cameras.lifecycle import WantedStatus
from countline_counting.geometry.ground import horizon_is_between, three_on_a_line
from countline_counting.geometry.polygons import polygon_crosses_itself
from countline_counting.limits import (
    GROUND_POINTS,
    LINE_POINTS,
    MAX_CLASS_NAME,
    MAX_CLASSES,
    MAX_GROUND_M,
    MAX_LINES,
    MAX_MASKS,
    MAX_POINTS,
    MAX_RATE,
    MAX_TRACK_AGE_S,
    MAX_ZONES,
    OUTLINE_POINTS,
)

MAX_TITLE: Final = 200
MAX_FLOOR: Final = 20
MAX_TAGS: Final = 20
DAY_S: Final = 86_400.0

IMMUTABLE: Final = ("camera_id", "site_id")
OUTPUT_ONLY: Final = ("details", "observed", "created_at", "updated_at", "picture")

Problems = list[FieldProblem]


def refuse(what: str, problems: Sequence[FieldProblem]) -> None:
    """Raise if there are problems.

    Raises:
        InvalidInputError: carries all of them.
    """
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InvalidInputError(f"{what}: {first.field}: {first.message}{more}", fields=tuple(problems))


def site_problems(site: Site) -> Problems:
    """Check a new site."""
    found = _label_problems("site_id", site.site_id) + _title_problems(site.title)
    if find_time_zone(site.time_zone) is None:
        message = f"{site.time_zone!r} is not a time zone; give an IANA name such as Europe/Berlin"
        found.append(FieldProblem("time_zone", message))
    return found


def site_mask_problems(paths: Sequence[str]) -> Problems:
    """Check the paths of an update mask of a site. `revision` is compared and not changed."""
    known = ("*", "title", "time_zone", "revision")
    return [FieldProblem("update_mask", f"{path!r} cannot be changed") for path in paths if path not in known]


def first_day(text: str) -> date | None:
    """Return the first day of a new time zone; None for an empty text.

    Raises:
        InvalidInputError: the text is not a date.
    """
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        problem = FieldProblem("time_zone_from", f"{text[:40]!r} is not a date; write it as 2026-03-01")
    raise InvalidInputError(f"the site cannot be changed: time_zone_from {problem.message}", fields=(problem,))


def camera_problems(camera: Camera, now: float) -> Problems:
    """Check a camera, except whether its site exists; `now` in Unix seconds."""
    return [
        *_label_problems("camera_id", camera.camera_id),
        *_label_problems("site_id", camera.site_id),
        *_camera_name_problems(camera.name),
        *_text_problems("location", camera.location, MAX_TITLE),
        *_text_problems("floor", camera.floor, MAX_FLOOR),
        *_position_problems(camera.position),
        *_status_problems(camera.status),
        *_tags_problems(camera.tags),
        *sources.problems(camera.stream_url),
        *_spec_problems(camera, now),
    ]


def _spec_problems(camera: Camera, now: float) -> Problems:
    spec = camera.spec
    return [
        *_model_problems("spec.model", spec.model),
        *_lines_problems(spec.lines),
        *_zones_problems(spec.zones),
        *_range_problems("spec.processing_rate", spec.processing_rate, MAX_RATE, "frames a second, 0 for every frame"),
        *_range_problems("spec.min_score", spec.min_score, 1.0, "0 for the model's own threshold"),
        *_masks_problems(spec.masks),
        *_range_problems("spec.min_track_age_s", spec.min_track_age_s, MAX_TRACK_AGE_S, "seconds, 0 for none"),
        *_range_problems("spec.min_track_score", spec.min_track_score, 1.0, "0 for none"),
        *_anchor_problems(spec.anchor),
        *_ground_problems(spec.ground_plane),
        *_playback_problems(camera),
        *_recorded_problems(camera, now),
        *_transport_problems(camera),
    ]


def mask_problems(paths: Sequence[str]) -> Problems:
    """Check the paths of an update mask of a camera. `revision` is compared and not changed."""
    return [FieldProblem("update_mask", problem) for path in paths if (problem := _path_problem(path))]


def _path_problem(path: str) -> str:
    head, _, field = path.partition(".")
    if path in ("*", "spec", "revision", *OWN_FIELDS) or (head == "spec" and field in SPEC_FIELDS):
        return ""
    if path in IMMUTABLE:
        return f"{path} cannot be changed; delete the camera and create it again"
    if path in OUTPUT_ONLY:
        return f"{path} is set by the service; leave it out"
    if head == "spec" and field.partition(".")[0] in SPEC_FIELDS:
        return f"{path} is too deep; name spec.{field.partition('.')[0]} and send the whole field"
    return f"{path!r} is not a field of a camera"


def url_with_secrets(new: str, stored: str) -> str:
    """Return the address to store. A reader's address comes back with `***`: keep the stored password then.

    Raises:
        InvalidInputError: no password is stored for this host and user.
    """
    if not sources.has_mask(new):
        return new
    kept = sources.with_stored_secrets(new, stored) if stored else None
    if kept is None or (sources.has_mask(kept) and kept != stored):
        message = "has *** for a password, but none is stored for this host and user; write the password itself"
        refuse("the camera cannot be stored", [FieldProblem(sources.FIELD, message)])
    return kept or ""


# Single fields -------------------------------------------------------------------------------------------------------


def _label_problems(field: str, value: str) -> Problems:
    return [] if names.is_label(value) else [FieldProblem(field, f"{value!r} is not an id; {names.LABEL_HINT}")]


def _title_problems(title: str) -> Problems:
    return _text_problems("title", title, MAX_TITLE)


def _camera_name_problems(name: str) -> Problems:
    if not name.strip():
        return [FieldProblem("name", "is empty; give the camera a name, such as Main entrance")]
    return _text_problems("name", name, MAX_TITLE)


def _text_problems(field: str, text: str, most: int) -> Problems:
    problem = name_problem(text, most)
    return [FieldProblem(field, problem)] if problem else []


def _position_problems(position: GeoPosition | None) -> Problems:
    if position is None:
        return []
    limits = (("latitude", position.latitude, 90.0), ("longitude", position.longitude, 180.0))
    return [
        FieldProblem(f"position.{name}", f"{value:g} is not in -{most:g}..{most:g}; give degrees, WGS 84")
        for name, value, most in limits
        if not -most <= value <= most  # also refuses NaN
    ]


def _status_problems(status: WantedStatus) -> Problems:
    if status is WantedStatus.UNKNOWN:
        return [FieldProblem("status", "is unknown; give active, inactive, paused or retired")]
    return []


def _tags_problems(tags: Sequence[str]) -> Problems:
    found = _too_many("tags", len(tags), MAX_TAGS)
    for i, tag in enumerate(tags):
        if not names.is_geometry_id(tag):
            found.append(FieldProblem(f"tags[{i}]", f"{tag[:40]!r} is not a tag; {names.GEOMETRY_HINT}"))
        elif tag in tags[:i]:
            found.append(FieldProblem(f"tags[{i}]", f"{tag!r} is given twice; leave one out"))
    return found


def _name_problems(field: str, name: str) -> Problems:
    if 0 < len(name.strip()) == len(name) <= MAX_CLASS_NAME and name.isprintable():
        return []
    return [FieldProblem(field, f"{name[:40]!r} is not a name; give 1 to {MAX_CLASS_NAME} printable characters")]


def _model_problems(field: str, model: str) -> Problems:
    """Check the form only: the model may be deployed later, and the worker reports its absence until then."""
    try:
        if model:
            ModelRef.parse(model)
    except InvalidInputError as error:
        return [FieldProblem(field, f"{model[:40]!r} is not a model; {error.hint}")]
    return []


def _range_problems(field: str, value: float, most: float, meaning: str) -> Problems:
    if 0.0 <= value <= most:  # also refuses NaN
        return []
    return [FieldProblem(field, f"{value:g} is not in 0..{most:g}; {meaning}")]


def _playback_problems(camera: Camera) -> Problems:
    spec = camera.spec
    if spec.playback is PlaybackMode.UNKNOWN:
        return [FieldProblem("spec.playback", "is unknown; give LIVE, REALTIME, FAST or LOOP")]
    if is_file(camera) and spec.playback is PlaybackMode.LIVE:
        return [FieldProblem("spec.playback", "a file is not live; give REALTIME, FAST or LOOP")]
    if not is_file(camera) and spec.playback not in (PlaybackMode.UNSPECIFIED, PlaybackMode.LIVE):
        return [FieldProblem("spec.playback", "is for files only; a stream is LIVE")]
    return []


def _recorded_problems(camera: Camera, now: float) -> Problems:
    spec = camera.spec
    if spec.recorded_at is None:
        return []
    if not plays_once(camera):
        return [FieldProblem("spec.recorded_at", "is only for files that are played once; leave it out")]
    if not 0.0 <= spec.recorded_at <= now + DAY_S:
        return [FieldProblem("spec.recorded_at", "is before 1970 or in the future; give the start of the recording")]
    return []


def _transport_problems(camera: Camera) -> Problems:
    spec = camera.spec
    if spec.rtsp_transport is TransportMode.UNKNOWN:
        return [FieldProblem("spec.rtsp_transport", "is unknown; give TCP or UDP")]
    if spec.rtsp_transport and not scheme(camera.stream_url).startswith("rtsp"):
        return [FieldProblem("spec.rtsp_transport", "is only for rtsp:// and rtsps://; leave it out")]
    return []


# Geometry ------------------------------------------------------------------------------------------------------------


def _anchor_problems(anchor: Point | None) -> Problems:
    return _point_problems("spec.anchor", anchor, "the box") if anchor is not None else []


def _point_problems(field: str, point: Point, of: str) -> Problems:
    x, y = point
    if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0:
        return []
    return [FieldProblem(field, f"({x:g}, {y:g}) lies outside; give fractions 0..1 of the width and height of {of}")]


def _ground_problems(points: Sequence[GroundPoint] | None) -> Problems:
    field = "spec.ground_plane.points"
    if points is None:
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
    image, ground = [p.image for p in points], [(p.x_m, p.y_m) for p in points]
    for where, given in (("in the picture", image), ("on the ground", ground)):
        if three_on_a_line(given):
            message = f"has three points on one line {where}; give four corners of an area, as large as can be"
            return [FieldProblem(field, message)]
    if horizon_is_between(image, ground):
        message = "has the horizon between the points; see that each stands beside its own place on the ground"
        return [FieldProblem(field, message)]
    return []


def _lines_problems(lines: Sequence[LineSpec]) -> Problems:
    found = _too_many("spec.lines", len(lines), MAX_LINES)
    found += _id_problems("spec.lines", "line_id", [line.line_id for line in lines])
    for i, line in enumerate(lines):
        field = f"spec.lines[{i}]"
        found += _points_problems(f"{field}.points", line.points, at_least=LINE_POINTS)
        if len(line.points) > 1 and len(set(line.points)) < 2:
            message = "has both ends at the same point; give two points that lie apart"
            found.append(FieldProblem(f"{field}.points", message))
        found += _classes_problems(f"{field}.classes", line.classes)
    return found


def _zones_problems(zones: Sequence[ZoneSpec]) -> Problems:
    found = _too_many("spec.zones", len(zones), MAX_ZONES)
    found += _id_problems("spec.zones", "zone_id", [zone.zone_id for zone in zones])
    for i, zone in enumerate(zones):
        field = f"spec.zones[{i}]"
        found += _outline_problems(f"{field}.polygon", zone.polygon)
        found += _classes_problems(f"{field}.classes", zone.classes)
    return found


def _masks_problems(masks: Sequence[MaskSpec]) -> Problems:
    found = _too_many("spec.masks", len(masks), MAX_MASKS)
    found += _id_problems("spec.masks", "mask_id", [mask.mask_id for mask in masks])
    for i, mask in enumerate(masks):
        found += _outline_problems(f"spec.masks[{i}].polygon", mask.polygon)
        if mask.kind is None:
            found.append(FieldProblem(f"spec.masks[{i}].kind", "is not given; give INCLUDE or IGNORE"))
    return found


def _outline_problems(field: str, polygon: Sequence[Point]) -> Problems:
    bad = _points_problems(field, polygon, at_least=OUTLINE_POINTS)
    if not bad and polygon_crosses_itself(tuple(polygon)):
        message = "crosses or touches itself; list the corners in the order of the outline"
        return [FieldProblem(field, message)]
    return bad


def _too_many(field: str, number: int, most: int) -> Problems:
    return [FieldProblem(field, f"has {number} entries; {most} is the limit")] if number > most else []


def _id_problems(field: str, name: str, ids: Sequence[str]) -> Problems:
    found = []
    for i, value in enumerate(ids):
        if not names.is_geometry_id(value):
            found.append(FieldProblem(f"{field}[{i}].{name}", f"{value!r} is not an id; {names.GEOMETRY_HINT}"))
        elif value in ids[:i]:
            found.append(FieldProblem(f"{field}[{i}].{name}", f"{value!r} is used twice; give each one its own id"))
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

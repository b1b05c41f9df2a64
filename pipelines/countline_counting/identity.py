"""Names that must never change by accident: ids of events, names of runs, keys of counted files, and fingerprints.

A crossing counts once because its id is computed: a file that is counted again gives the same ids, and the database
keeps one row for each. So every recipe here is fixed, and tests hold its values. To change a recipe, give it a new tag.

Format. A recipe has a tag, which names it and its version, and a list of fields. Each field is text; the tag is the
first one. The name is BLAKE2b over the fields as netstrings without commas (`LENGTH:BYTES`, length in bytes of UTF-8),
written in hexadecimal: 32 digits for an event and a fingerprint, 16 for a run and a key. So ("a", "bc") and ("ab", "c")
differ.

- Whole numbers are written in decimal.
- Floats are written exactly, as C99 and `float.hex()` do: 0.5 is `0x1.0000000000000p-1`. Minus zero is written as zero.
- A list is its length, then its items. Points are x, y, x, y, ...
- Sets (classes) and lists whose order means nothing (lines, zones, masks) are sorted.

No recipe uses `repr()`, the name of a class or the order of its attributes, so code may be renamed freely.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from countline_counting.geometry.segments import Points
from countline_counting.spec import CountingSpec, Line, Mask, Zone

COUNTING_RULE_VERSION: Final = 8
"""Version of the counting rule: of tracking, of the numbers in `rules`, and of what counts.

Increase it when the same frames may give other tracks or other events. A finite file that is counted with another
version of the rule has a run of another name, so old and new events are never mixed in one run.
"""

_EVENT_TAG: Final = "countline.event.1"
_FILE_RUN_TAG: Final = "countline.run.file.1"
_RECORDING_RUN_TAG: Final = "countline.run.recording.1"
_REST_RUN_TAG: Final = "countline.run.rest.1"
_RECORDED_FILE_TAG: Final = "countline.recorded.1"
_COUNTED_TAG: Final = "countline.counted.1"
_LINE_TAG: Final = "countline.line.1"
_ZONE_TAG: Final = "countline.zone.1"

_EVENT_BYTES: Final = 16
_FINGERPRINT_BYTES: Final = 16
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Identity:
    """Camera, epoch and run. Track ids are unique within one identity."""

    camera_id: str
    epoch: int
    """Grows each time the camera is assigned to a worker; 0 for a finite file or a job."""
    run: str
    """New at each start of the camera's tracker. The run of a finite file has a computed name, so that counting the
    file again gives the same ids."""


def event_id(identity: Identity, kind: str, name: str, version: int, track: int, sequence: int) -> str:
    """Return the id of an event, 32 hexadecimal digits.

    Fields: camera, epoch, run, kind, name, version, track, sequence.

    Args:
        identity: of the run that decided the event.
        kind: `line`, `zone` or `trajectory`.
        name: id of the line or zone; empty for a trajectory.
        version: of the line or zone; 0 for a trajectory.
        track: number of the track in its run.
        sequence: number of the event among those of this kind, place and track, from 0.
    """
    whose = (identity.camera_id, str(identity.epoch), identity.run)
    return _digest(_EVENT_TAG, (*whose, kind, name, str(version), str(track), str(sequence)), _EVENT_BYTES)


@dataclass(frozen=True, slots=True)
class FiniteFile:
    """A video file that is played once, and how it is looked at."""

    content: str
    """Hash of the file's bytes; the address of a file that comes over a network."""
    rate: float
    """Frames a second that are looked at; 0 for every frame."""
    recorded_at: float
    """Capture time of the first frame, Unix seconds. `countline count` uses 0."""


def file_run_name(file: FiniteFile, model: str, spec: CountingSpec) -> str:
    """Return the name of the run of a finite file, 16 hexadecimal digits.

    The name has every input that decides the tracks. Fields: version of the counting rule, content, rate, recorded_at,
    min_score, anchor x and y, masks (kind and polygon of each), model.

    Lines, zones, `min_track_age_s`, `min_track_score` and the ground plane are not in the name: they select among the
    tracks' events. When a line is added, the file is counted again under the same name, and the crossings of the other
    lines keep their ids. The id of a mask is not in the name either, because it changes no track.

    Args:
        file: the file.
        model: the model artifact. `NAME@VERSION`, or the name that the camera is given where the version is open; a
            version is never given to another file. `file:HASH` for a model file that has no version.
        spec: for its min_score, anchor and masks.
    """
    return _digest(_FILE_RUN_TAG, (str(COUNTING_RULE_VERSION), *_tracks_of(file, spec), model), _NAME_BYTES)


def counted_file_key(camera_id: str, file: FiniteFile, spec: CountingSpec) -> str:
    """Return the key under which a worker remembers that it counted a file to its end, 16 hexadecimal digits.

    Fields: camera, the fields of `file_run_name` without model and rule version, min_track_age_s, min_track_score,
    ground plane (pairs of points; an empty list for none), lines (id, version, points, classes), zones (id, version,
    polygon, classes, queue).

    Model and version of the counting rule are not in the key. A file that was counted to its end is not counted again
    because a new model becomes live or the software is updated: every event of it would count twice.
    """
    selection = (_float(spec.min_track_age_s), _float(spec.min_track_score), *_ground(spec))
    lines = _sorted_list(_line(line) for line in spec.lines)
    zones = _sorted_list(_zone(zone) for zone in spec.zones)
    return _digest(_COUNTED_TAG, (camera_id, *_tracks_of(file, spec), *selection, *lines, *zones), _NAME_BYTES)


def recorded_file_key(file: FiniteFile) -> str:
    """Return the key by which runs over the same file are known to be such, 16 hexadecimal digits.

    Fields: content, recorded_at. Every run over the file has this key, whatever model, settings and version of the
    counting rule it has. A run with a later version of the rule supersedes the earlier ones.
    """
    return _digest(_RECORDED_FILE_TAG, (file.content, _float(file.recorded_at)), _NAME_BYTES)


def recording_run_name(content: str, *, tracked: bool, fps: float, size_wh: tuple[int, int], spec: CountingSpec) -> str:
    """Return the name of the run of recorded boxes (`countline replay`), 16 hexadecimal digits.

    Fields: version of the counting rule, content, `tracks` or `detections`, fps, width, height, min_score, anchor x and
    y, masks.

    Args:
        content: hash of the recording's bytes.
        tracked: whether the ids of the recording are used instead of the tracker.
        fps: frames a second of a recording that has no times; 0 for one that has.
        size_wh: size of the picture in pixels.
        spec: for its min_score, anchor and masks.
    """
    kind = "tracks" if tracked else "detections"
    how = (content, kind, _float(fps), str(size_wh[0]), str(size_wh[1]), *_detection_fields(spec))
    return _digest(_RECORDING_RUN_TAG, (str(COUNTING_RULE_VERSION), *how), _NAME_BYTES)


def rest_run_name(name: str, before: str, ordinal: int) -> str:
    """Return the name of the run in which another version of a model counts the rest of a finite file, 16 digits.

    Fields: name, before, ordinal. The same change at the same frame gives the same name.

    Args:
        name: of the run of the whole file, counted by the new version.
        before: name of the run that the new version takes over from.
        ordinal: number of the first decoded frame that the new version looked at.
    """
    return _digest(_REST_RUN_TAG, (name, before, str(ordinal)), _NAME_BYTES)


def line_fingerprint(points: Points, classes: Iterable[str]) -> str:
    """Return a fingerprint of what a line counts, 32 hexadecimal digits; a line with another one has a new version.

    Fields: points, classes.
    """
    return _digest(_LINE_TAG, (*_points(points), *_classes(frozenset(classes))), _FINGERPRINT_BYTES)


def zone_fingerprint(polygon: Points, classes: Iterable[str], *, queue: bool) -> str:
    """Return a fingerprint of what a zone counts, 32 hexadecimal digits; a zone with another one has a new version.

    Fields: polygon, classes, queue. A zone that becomes a queue reports waiting times, which is another series.
    """
    fields = (*_points(polygon), *_classes(frozenset(classes)), "queue" if queue else "")
    return _digest(_ZONE_TAG, fields, _FINGERPRINT_BYTES)


def part_run_name(name: str, part: int) -> str:
    """Return the name of a part of a finite file; a new part begins where the size of the picture changes.

    The first part has the name of the file's run; the next ones are `NAME.1`, `NAME.2`, ...
    """
    return f"{name}.{part}" if part else name


def live_run_name(started_ms: int, random_bits: int) -> str:
    """Return the name of a run of a live camera, 17 hexadecimal digits: names sort by time.

    Args:
        started_ms: Unix time in milliseconds, 11 digits.
        random_bits: 24 random bits, 6 digits, so that two processes give different names.
    """
    return f"{started_ms:011x}{random_bits:06x}"


def _digest(tag: str, fields: Iterable[str], size_bytes: int) -> str:
    digest = hashlib.blake2b(digest_size=size_bytes)
    for field in (tag, *fields):
        data = field.encode()
        digest.update(b"%d:%b" % (len(data), data))
    return digest.hexdigest()


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number, so it cannot be part of a name")
    return (float(value) + 0.0).hex()  # adding 0.0 makes one zero of the two that floats have


def _tracks_of(file: FiniteFile, spec: CountingSpec) -> tuple[str, ...]:
    return (file.content, _float(file.rate), _float(file.recorded_at), *_detection_fields(spec))


def _detection_fields(spec: CountingSpec) -> tuple[str, ...]:
    anchor = (_float(spec.anchor[0]), _float(spec.anchor[1]))
    return (_float(spec.min_score), *anchor, *_sorted_list(_mask(mask) for mask in spec.masks))


def _mask(mask: Mask) -> tuple[str, ...]:
    return (mask.kind.value, *_points(mask.polygon))


def _line(line: Line) -> tuple[str, ...]:
    return (line.id, str(line.version), *_points(line.points), *_classes(line.classes))


def _zone(zone: Zone) -> tuple[str, ...]:
    queue = "queue" if zone.queue else ""
    return (zone.id, str(zone.version), *_points(zone.polygon), *_classes(zone.classes), queue)


def _ground(spec: CountingSpec) -> tuple[str, ...]:
    pairs = spec.ground.points if spec.ground is not None else ()
    return (str(len(pairs)), *(_float(value) for image, ground in pairs for value in (*image, *ground)))


def _points(points: Points) -> tuple[str, ...]:
    return (str(len(points)), *(_float(value) for point in points for value in point))


def _classes(names: frozenset[str]) -> tuple[str, ...]:
    return (str(len(names)), *sorted(names))


def _sorted_list(items: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the number of items, then the fields of each; the lists in an item say where it ends."""
    rows = sorted(tuple(item) for item in items)
    return (str(len(rows)), *(field for row in rows for field in row))

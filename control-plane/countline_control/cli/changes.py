"""Applies the changes of `cameras add` and `cameras set` to a spec."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import CameraSpec, Line, Mask, Playback, RtspTransport, Zone
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.times import parse_rfc3339, to_timestamp
from countline_control.cli.geometry import parse_anchor, parse_ground, parse_line, parse_mask, parse_queue, parse_zone

_Item = TypeVar("_Item", Line, Zone, Mask)

_SCALARS: Final = (
    "model",
    "processing_rate",
    "min_score",
    "min_track_age_s",
    "min_track_score",
    "playback",
    "rtsp_transport",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes that a command line asks for; None and empty mean no change."""

    lines: tuple[str, ...] = ()
    """To add, or to replace by name."""
    removed_lines: frozenset[str] = frozenset()
    zones: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    """Zones in which objects wait, to add or to replace by name."""
    removed_zones: frozenset[str] = frozenset()
    include_masks: tuple[str, ...] = ()
    ignore_masks: tuple[str, ...] = ()
    removed_masks: frozenset[str] = frozenset()
    model: str | None = None
    processing_rate: float | None = None
    min_score: float | None = None
    min_track_age_s: float | None = None
    min_track_score: float | None = None
    anchor: str | None = None
    ground: tuple[str, ...] | None = None
    """Four reference points; an empty tuple removes the ground plane."""
    playback: Playback.ValueType | None = None
    rtsp_transport: RtspTransport.ValueType | None = None
    recorded_at: str | None = None


def changed_spec(stored: CameraSpec, changes: Changes) -> tuple[CameraSpec, list[str]]:
    """Return the spec with the changes, and the paths below Camera that they touch.

    Raises:
        InvalidInputError: the text of a line, zone, mask, anchor, reference point or time is wrong.
        NotFoundError: a line, zone or mask to remove does not exist.
    """
    spec = CameraSpec()
    spec.CopyFrom(stored)
    touched = _set_scalars(spec, changes)
    if changes.lines or changes.removed_lines:
        new = {line.line_id: line for line in map(parse_line, changes.lines)}
        lines = _merged({line.line_id: line for line in stored.lines}, new, changes.removed_lines, "line")
        del spec.lines[:]
        spec.lines.extend(lines)
        touched.append("lines")
    if changes.zones or changes.queues or changes.removed_zones:
        zones = _merged_zones(stored, changes)
        del spec.zones[:]
        spec.zones.extend(zones)
        touched.append("zones")
    if changes.include_masks or changes.ignore_masks or changes.removed_masks:
        masks = _merged_masks(stored, changes)
        del spec.masks[:]
        spec.masks.extend(masks)
        touched.append("masks")
    if changes.anchor is not None:
        spec.anchor.CopyFrom(parse_anchor(changes.anchor))
        touched.append("anchor")
    if changes.ground is not None:
        spec.ClearField("ground_plane")
        if changes.ground:
            spec.ground_plane.CopyFrom(parse_ground(changes.ground))
        touched.append("ground_plane")
    if changes.recorded_at is not None:
        spec.recorded_at.CopyFrom(parse_time(changes.recorded_at))
        touched.append("recorded_at")
    return spec, [f"spec.{name}" for name in touched]


def _set_scalars(spec: CameraSpec, changes: Changes) -> list[str]:
    touched = []
    for name in _SCALARS:
        value = getattr(changes, name)
        if value is not None:
            setattr(spec, name, value)
            touched.append(name)
    return touched


def _merged_zones(stored: CameraSpec, changes: Changes) -> list[Zone]:
    given = [*map(parse_zone, changes.zones), *map(parse_queue, changes.queues)]
    new = {zone.zone_id: zone for zone in given}
    return _merged({zone.zone_id: zone for zone in stored.zones}, new, changes.removed_zones, "zone")


def _merged_masks(stored: CameraSpec, changes: Changes) -> list[Mask]:
    given = [parse_mask(text, cameras_pb2.MASK_KIND_INCLUDE) for text in changes.include_masks]
    given += [parse_mask(text, cameras_pb2.MASK_KIND_IGNORE) for text in changes.ignore_masks]
    new = {mask.mask_id: mask for mask in given}
    return _merged({mask.mask_id: mask for mask in stored.masks}, new, changes.removed_masks, "mask")


def _merged(stored: Mapping[str, _Item], new: Mapping[str, _Item], removed: frozenset[str], what: str) -> list[_Item]:
    unknown = sorted(removed - stored.keys())
    if unknown:
        known = ", ".join(stored) or "none"
        raise NotFoundError(f"the camera has no {what} {unknown[0]!r}", hint=f"it has: {known}")
    kept = {name: item for name, item in stored.items() if name not in removed}
    return list({**kept, **new}.values())


def parse_time(text: str) -> Timestamp:
    """Return a time with an offset.

    Raises:
        InvalidInputError: the text is none.
    """
    try:
        moment = parse_rfc3339(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInputError(
            f"{text!r} is not a time", hint="write RFC 3339 with an offset, such as 2026-03-01T12:00:00+01:00"
        )
    return to_timestamp(moment.timestamp())

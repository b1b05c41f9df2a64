"""Formats a camera for the terminal."""

import time
from collections.abc import Iterable, Sequence
from typing import Final

from rich.table import Table

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraObservation, Mask, Point
from countline_common.cli.terminal import Styled, Terminal
from countline_common.http.rest_json import enum_word
from countline_common.times import from_timestamp, rfc3339
from countline_control.cli.geometry import write_ground, write_points
from countline_counting.coverage import keeps_up, wanted_fps

_COLOURS: Final = {
    cameras_pb2.OBSERVED_STATE_RUNNING: "green",
    cameras_pb2.OBSERVED_STATE_FINISHED: "green",
    cameras_pb2.OBSERVED_STATE_PROBING: "yellow",
    cameras_pb2.OBSERVED_STATE_STARTING: "yellow",
    cameras_pb2.OBSERVED_STATE_DEGRADED: "yellow",
    cameras_pb2.OBSERVED_STATE_OFFLINE: "yellow",
    cameras_pb2.OBSERVED_STATE_WAITING: "yellow",
    cameras_pb2.OBSERVED_STATE_FAILED: "red",
}

_COUNTING: Final = {cameras_pb2.OBSERVED_STATE_RUNNING, cameras_pb2.OBSERVED_STATE_DEGRADED}


COLUMNS: Final = ("CAMERA", "NAME", "SITE", "STATUS", "OBSERVED", "FPS", "LINES", "SOURCE")
MORE_COLUMNS: Final = ("WORKER", "MODEL", "LATENCY", "DROPPED", "SINCE", "LOCATION", "TAGS", "REVISION")
"""Columns that `-o wide` adds."""


def row(camera: Camera) -> tuple[str | Styled, ...]:
    """Return the row of a camera in `cameras list`."""
    observed = camera.observed
    names = [line.line_id for line in camera.spec.lines] + [f"({zone.zone_id})" for zone in camera.spec.zones]
    return (
        camera.camera_id,
        camera.name,
        camera.site_id,
        _wanted(camera),
        _with_warnings(_state(observed), observed),
        _rate(camera) if observed.state in _COUNTING else "",
        ", ".join(names),
        camera.stream_url,
    )


def more_of_row(camera: Camera) -> tuple[str, ...]:
    """Return the cells of `MORE_COLUMNS`."""
    observed = camera.observed
    return (
        observed.worker_id,
        observed.model or camera.spec.model,
        f"{observed.latency_s * 1e3:.0f} ms" if observed.state in _COUNTING else "",
        str(observed.frames_dropped) if observed.frames_processed else "",
        rfc3339(from_timestamp(observed.since)) if observed.HasField("since") else "",
        _where(camera),
        ", ".join(camera.tags),
        str(camera.revision),
    )


def _rate(camera: Camera) -> str | Styled:
    """Return the frames counted in a second; with those that should be if the worker drops many of them."""
    observed = camera.observed
    wanted = wanted_fps(observed.source_fps, camera.spec.processing_rate)
    counted = f"{observed.processed_fps:.1f}"
    if keeps_up(observed.processed_fps, wanted):
        return counted
    return Styled(f"{counted} of {wanted:.1f}", style="yellow")


def _wanted(camera: Camera) -> Styled:
    is_active = camera.status == cameras_pb2.CAMERA_STATUS_ACTIVE
    return Styled(
        enum_word(cameras_pb2.CameraStatus.DESCRIPTOR, camera.status), style="default" if is_active else "dim"
    )


def _state(status: CameraObservation) -> Styled:
    if not status.state:
        return Styled("")
    word = enum_word(cameras_pb2.ObservedState.DESCRIPTOR, status.state)
    text = Styled(word, style=_COLOURS.get(status.state, "default"))
    return text.append(f": {status.error.message}", style="default") if status.error.message else text


def _with_warnings(state: Styled, status: CameraObservation) -> Styled:
    for warning in status.warnings:
        state.append("; warning: ", style="yellow").append(warning.message, style="default")
    return state


def print_camera(camera: Camera) -> None:
    """Print the configuration and the status of a camera."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in [*_facts(camera), *_observed_facts(camera.observed)]:
        if value:
            grid.add_row(name, value)
    Terminal().print(grid)


def _facts(camera: Camera) -> list[tuple[str, str]]:
    spec = camera.spec
    playback = enum_word(cameras_pb2.Playback.DESCRIPTOR, spec.playback)
    facts = [
        ("camera", camera.camera_id),
        ("name", camera.name),
        ("site", camera.site_id),
        ("location", _where(camera)),
        ("tags", ", ".join(camera.tags)),
        ("status", enum_word(cameras_pb2.CameraStatus.DESCRIPTOR, camera.status)),
        ("source", f"{camera.stream_url} ({playback})"),
        ("model", spec.model or "default"),
        ("rate", f"{spec.processing_rate:g} frames/s" if spec.processing_rate else "every frame"),
        ("min score", f"{spec.min_score:g}" if spec.min_score else ""),
        ("min track age", f"{spec.min_track_age_s:g} s" if spec.min_track_age_s else ""),
        ("min track score", f"{spec.min_track_score:g}" if spec.min_track_score else ""),
        ("ground", write_ground(spec.ground_plane)),
        ("anchor", f"{spec.anchor.x:g},{spec.anchor.y:g}" if spec.HasField("anchor") else ""),
        ("recorded at", rfc3339(from_timestamp(spec.recorded_at)) if spec.HasField("recorded_at") else ""),
    ]
    lines = [_geometry(line.line_id, line.points, line.classes, line.version) for line in spec.lines]
    zones = [
        ("queue" if zone.queue else "zone", _geometry(zone.zone_id, zone.polygon, zone.classes, zone.version))
        for zone in spec.zones
    ]
    masks = [(f"{_mask_word(mask)} mask", f"{mask.mask_id}:{write_points(mask.polygon)}") for mask in spec.masks]
    geometry = [*(("line", text) for text in lines), *zones, *masks]
    return [*facts, *geometry, ("revision", str(camera.revision))]


def _where(camera: Camera) -> str:
    parts = [camera.location, f"floor {camera.floor}" if camera.floor else ""]
    if camera.HasField("position"):
        parts.append(f"{camera.position.latitude:g}, {camera.position.longitude:g}")
    return "; ".join(part for part in parts if part)


def _mask_word(mask: Mask) -> str:
    return enum_word(cameras_pb2.MaskKind.DESCRIPTOR, mask.kind)


def _geometry(name: str, points: Sequence[Point], classes: Iterable[str], version: int) -> str:
    of = ",".join(classes)
    return f"{name}:{write_points(points)}{':' + of if of else ''}  (version {version})"


def _observed_facts(status: CameraObservation) -> list[tuple[str, str | Styled]]:
    facts: list[tuple[str, str | Styled]] = [
        ("observed", _state(status)),
        ("since", rfc3339(from_timestamp(status.since)) if status.HasField("since") else ""),
        ("hint", status.error.hint),
        ("worker", status.worker_id),
    ]
    if status.model:
        trial = f", on trial with {status.follower_model}" if status.follower_model else ""
        facts.append(("counted with", f"{status.model}{trial}"))
    if status.width:
        facts.append(("picture", f"{status.width} x {status.height}, {status.source_fps:.1f} frames/s"))
    if status.frames_processed:
        facts.append(("processed", f"{status.frames_processed} frames, {status.processed_fps:.1f} frames/s"))
        facts.append(("dropped", f"{status.frames_dropped} frames"))
        facts.append(("latency", f"{status.latency_s * 1e3:.0f} ms (p95)"))
    facts += [("warning", f"{each.message}; {each.hint}") for each in status.warnings]
    if status.progress:
        facts.append(("progress", f"{status.progress:.0%}"))
    if status.HasField("reported_at"):
        facts.append(("reported", f"{max(0.0, time.time() - from_timestamp(status.reported_at)):.0f} s ago"))
    return facts

"""What a change of a camera means for counting.

The rules are those of the workers: what changes while the source stays open (`CameraPlan.goes_over_to` of the data
plane), and what begins a new version of a line or zone (`cameras.domain.versioned`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from countline_control.cameras.domain import (
    Camera,
    CameraSpec,
    LineSpec,
    Site,
    ZoneSpec,
    plays_once,
)
from countline_control.cameras.lifecycle import WantedStatus

REOPEN_S: Final = 8.0
"""Longest time in which a source that answers is closed and opened: a worker gives an attempt up after it. The next key
frame may take longer."""


class Effect(StrEnum):
    """Kinds of consequences; programs read them."""

    START = "start"
    STOP = "stop"
    NEW_RUN = "new_run"
    NEW_VERSION = "new_version"
    REMOVED = "removed"
    RECOUNT = "recount"
    RULE = "rule"
    """What counts changes, and no new version of a line marks it."""
    NO_GAP = "no_gap"
    HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Consequence:
    """One consequence of a change."""

    effect: Effect
    text: str
    lost_s: float | None = 0.0
    """Most seconds of coverage that are lost; None: until somebody makes the camera active again, or for ever."""


def camera_consequences(
    before: Camera | None, after: Camera | None, *, new_password: bool = False
) -> tuple[Consequence, ...]:
    """Return what a change means.

    Args:
        before: None for a camera that is created.
        after: None for a camera that is deleted.
        new_password: the address changes where readers see `***`.
    """
    if after is None:
        return (*_deleted(before),)
    if before is None:
        return (*_created(after),)
    return (
        *_status(before, after),
        *_drawings("line", before.spec.lines, after.spec.lines),
        *_drawings("zone", before.spec.zones, after.spec.zones),
        *_rules(before.spec, after.spec),
        *_running(before, after, new_password=new_password),
    )


def site_consequences(before: Site | None, after: Site) -> tuple[Consequence, ...]:
    """Return what a change of a site means."""
    if before is None or before.time_zone == after.time_zone:
        return ()
    text = f"days and months of all its counts are cut in {after.time_zone}, those of the past too"
    earlier = ", ".join(f"{each.time_zone} before {each.until}" for each in before.earlier_time_zones)
    return (Consequence(Effect.HISTORY, f"{text}; its earlier zones are dropped: {earlier}" if earlier else text),)


def _created(camera: Camera) -> Iterator[Consequence]:
    if camera.status in (WantedStatus.ACTIVE, WantedStatus.UNSPECIFIED):
        yield Consequence(Effect.START, "a worker starts it; coverage begins with its first picture")
    else:
        yield Consequence(Effect.STOP, f"it is not counted: it is {camera.status.value}", None)


def _deleted(camera: Camera | None) -> Iterator[Consequence]:
    if camera is not None and camera.status is WantedStatus.ACTIVE:
        yield Consequence(Effect.STOP, "counting stops for good", None)
    yield Consequence(Effect.HISTORY, "its counts and its history stay")


def _status(before: Camera, after: Camera) -> Iterator[Consequence]:
    if before.status is after.status:
        return
    if after.status is WantedStatus.ACTIVE:
        yield Consequence(Effect.START, "a worker starts it; coverage begins with its first picture")
    elif after.status is WantedStatus.RETIRED:
        yield Consequence(Effect.STOP, "it is over: it cannot become active again; its counts stay", None)
    elif before.status is WantedStatus.ACTIVE:
        yield Consequence(Effect.STOP, "counting stops; coverage is lost until it is active again", None)


def _drawings(
    what: str, before: Sequence[LineSpec] | Sequence[ZoneSpec], after: Sequence[LineSpec] | Sequence[ZoneSpec]
) -> Iterator[Consequence]:
    old, new = ({_id(item): item for item in items} for items in (before, after))
    for name, item in new.items():
        if name not in old:
            version = f" with version {item.version}" if item.version else ""
            yield Consequence(Effect.NEW_VERSION, f"{what} {name} begins to count{version}")
        elif _shape(item) != _shape(old[name]) or item.version > old[name].version:
            # The versions are equal where the plan was made without the service. A turned picture changes them alone.
            version = f"version {item.version}" if item.version > old[name].version else "a new version"
            kept = f"the counts of version {old[name].version} stay apart"
            yield Consequence(Effect.NEW_VERSION, f"{what} {name} counts with {version}; {kept}")
    for name in old.keys() - new.keys():
        yield Consequence(Effect.REMOVED, f"{what} {name} stops counting; its counts stay")


def _id(item: LineSpec | ZoneSpec) -> str:
    return item.line_id if isinstance(item, LineSpec) else item.zone_id


def _shape(item: LineSpec | ZoneSpec) -> Any:
    return replace(item, version=0)


def _rules(before: CameraSpec, after: CameraSpec) -> Iterator[Consequence]:
    names = {
        "masks": "masks",
        "anchor": "anchor",
        "min_score": "min_score",
        "min_track_age_s": "min_track_age",
        "min_track_score": "min_track_score",
    }
    changed = [shown for name, shown in names.items() if getattr(before, name) != getattr(after, name)]
    if changed:
        text = f"{', '.join(changed)}: other objects count from now on, and no new version of the lines marks it"
        yield Consequence(Effect.RULE, text)


def _running(before: Camera, after: Camera, *, new_password: bool) -> Iterator[Consequence]:
    """Yield what happens to the source and the run of a camera that is active before and after."""
    if not before.status is after.status is WantedStatus.ACTIVE:
        return
    if new_password or _source(before) != _source(after):
        if plays_once(after):
            yield Consequence(Effect.RECOUNT, "the file is counted from its first frame, in a new run")
        else:
            text = f"the source is closed and opened: a new run, tracks end, up to {REOPEN_S:g} s of coverage are lost"
            yield Consequence(Effect.NEW_RUN, text, REOPEN_S)
    elif _counting(before.spec) != _counting(after.spec) and plays_once(after):
        yield Consequence(Effect.RECOUNT, "the file is counted again from its first frame")
    elif before.spec.model != after.spec.model:
        yield _model(after)
    elif _counting(before.spec) != _counting(after.spec):
        yield Consequence(Effect.NO_GAP, "the source stays open: the run goes on, no coverage is lost")


def _model(after: Camera) -> Consequence:
    if plays_once(after):
        return Consequence(Effect.NEW_RUN, "the rest of the file is counted with the other model, in a new run")
    text = (
        "the other model takes over in a new run: no coverage is lost on a CPU; "
        f"a DeepStream worker opens the source again, which loses up to {REOPEN_S:g} s"
    )
    return Consequence(Effect.NEW_RUN, text, REOPEN_S)


def _source(camera: Camera) -> tuple[object, ...]:
    spec = camera.spec
    return camera.stream_url, spec.playback, spec.rtsp_transport, spec.recorded_at, spec.processing_rate


def _counting(spec: CameraSpec) -> CameraSpec:
    """Return the spec without what belongs to the source and the model."""
    empty = CameraSpec()
    return replace(
        spec,
        model="",
        processing_rate=empty.processing_rate,
        playback=empty.playback,
        recorded_at=empty.recorded_at,
        rtsp_transport=empty.rtsp_transport,
        lines=tuple(replace(line, version=0) for line in spec.lines),
        zones=tuple(replace(zone, version=0) for zone in spec.zones),
    )

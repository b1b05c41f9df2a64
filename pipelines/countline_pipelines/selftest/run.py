"""Counts the cases and compares the results with the true counts. Each case runs in several equivalent forms."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Direction, Event, Visit
from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec, Line, Mask, MaskKind, Zone
from countline_counting.tracking.scale import scale_of_recording
from countline_pipelines.selftest.scene import SIZE_WH, Case, Spot, frames_of

DATED_S: Final = 0.15
"""A crossing is dated this near to the true time at which the path meets the line."""

Counts = Mapping[str, tuple[int, int]]
"""(in, out) by line, (entries, exits) by zone."""


@dataclass(frozen=True, slots=True)
class Form:
    """A way to change a scene that changes its counts in a known way."""

    name: str
    place: Callable[[Spot, tuple[int, int]], Spot]
    """Maps a point of the picture, before `scale`."""
    scale: int = 1
    later_s: float = 0.0
    swaps: bool = False
    """Whether in and out are swapped."""
    overturns: bool = False
    """Whether the picture is upside down."""


FORMS = (
    Form("as it is", lambda spot, _: spot),
    Form("left for right", lambda spot, size_wh: (size_wh[0] - spot[0], spot[1]), swaps=True),
    Form("upside down", lambda spot, size_wh: (spot[0], size_wh[1] - spot[1]), swaps=True, overturns=True),
    Form("twice the size", lambda spot, _: spot, scale=2),
    Form("at another time", lambda spot, _: spot, later_s=1.5e9),
)


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """The result of one case."""

    case: Case
    counted: Counts
    """Counts of the scene as written."""
    failed_forms: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failed_forms


def run_cases(cases: Iterable[Case], forms: tuple[Form, ...] = FORMS) -> list[CaseOutcome]:
    """Count every case in every form."""
    return [_run(case, forms) for case in cases]


def _run(case: Case, forms: tuple[Form, ...]) -> CaseOutcome:
    forms = tuple(form for form in forms if not (case.upright and form.overturns))
    counted = {form.name: _count(case, form) for form in forms}
    wanted = {form.name: _expected(case, form) for form in forms}
    failed = tuple(
        form.name
        for form in forms
        if counted[form.name][0] != wanted[form.name] or not _is_dated(case, form, counted[form.name][1])
    )
    return CaseOutcome(case, counted[forms[0].name][0], failed)


def _is_dated(case: Case, form: Form, times: Sequence[float]) -> bool:
    """Return whether the crossings happened when the case has them, to within `DATED_S`."""
    started = case.start_t + form.later_s
    return not case.met_at or all(
        abs(t - started - met) <= DATED_S for t, met in zip(sorted(times), case.met_at, strict=True)
    )


def _expected(case: Case, form: Form) -> Counts:
    return {
        name: (pair[1], pair[0]) if form.swaps and name in case.lines else pair for name, pair in case.expect.items()
    }


def count(case: Case, form: Form) -> Counts:
    """Count one case in one form."""
    return _count(case, form)[0]


def _count(case: Case, form: Form) -> tuple[Counts, list[float]]:
    """Return the counts, and the times of the crossings."""
    totals: dict[str, list[int]] = {name: [0, 0] for name in (*case.lines, *case.zones)}
    frames = [_changed(frame, form) for frame in frames_of(case)]
    identity, spec = Identity("selftest", 0, case.name), _spec(case, form)
    if case.score_scale is None:
        events = _events_of_tracks(identity, spec, frames)
    else:
        events = _events_of_detections(identity, spec, [_detections(frame, case.score_scale) for frame in frames])
    for event in events:
        if isinstance(event, Crossing):
            totals[event.line_id][0 if event.direction is Direction.IN else 1] += 1
        elif isinstance(event, Visit):
            totals[event.zone_id][0] += not event.born_inside
            totals[event.zone_id][1] += not event.lost_inside
    times = [event.t for event in events if isinstance(event, Crossing)]
    return {name: (pair[0], pair[1]) for name, pair in totals.items()}, times


def _events_of_tracks(identity: Identity, spec: CountingSpec, frames: Sequence[TrackedFrame]) -> list[Event]:
    counter = CameraCounter(identity, spec, tracked=True)
    return [event for frame in frames for event in counter.update_tracked(frame).events] + list(counter.flush())


def _events_of_detections(identity: Identity, spec: CountingSpec, frames: Sequence[DetectionFrame]) -> list[Event]:
    """Count as `countline replay` does."""
    counter, scale = CameraCounter(identity, spec), scale_of_recording(frames)
    return [event for frame in frames for event in counter.update(scale.applied(frame)).events] + list(counter.flush())


def _detections(frame: TrackedFrame, score_scale: tuple[float, float]) -> DetectionFrame:
    scores = score_scale[0] + score_scale[1] * frame.scores
    table = np.column_stack([frame.xyxy_px, scores, frame.classes]).astype(np.float32)
    return DetectionFrame(frame.camera_id, frame.index, frame.t, frame.size_wh, table)


def _spec(case: Case, form: Form) -> CountingSpec:
    return CountingSpec(
        lines=tuple(Line(name, _placed(points, form), classes=case.classes) for name, points in case.lines.items()),
        zones=tuple(Zone(name, _placed(points, form)) for name, points in case.zones.items()),
        masks=tuple(Mask(name, _placed(points, form), MaskKind.IGNORE) for name, points in case.masks.items()),
        anchor=case.anchor,
        min_track_age_s=case.min_track_age_s,
        min_track_score=case.min_track_score,
    )


def _placed(points: Iterable[Spot], form: Form) -> tuple[Spot, ...]:
    placed = [form.place(point, SIZE_WH) for point in points]
    return tuple((x / SIZE_WH[0], y / SIZE_WH[1]) for x, y in placed)


def _changed(frame: TrackedFrame, form: Form) -> TrackedFrame:
    """Move the objects. Boxes stay upright, because objects stand on their bottom edge."""
    boxes = frame.xyxy_px.copy()
    for i, (x1, y1, x2, y2) in enumerate(frame.xyxy_px.tolist()):
        x, y = form.place(((x1 + x2) / 2, y2), frame.size_wh)
        boxes[i] = (x - (x2 - x1) / 2, y - (y2 - y1), x + (x2 - x1) / 2, y)
    size_wh = (frame.size_wh[0] * form.scale, frame.size_wh[1] * form.scale)
    return replace(frame, xyxy_px=boxes * form.scale, size_wh=size_wh, t=frame.t + form.later_s)

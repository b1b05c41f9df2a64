"""One camera from one start of its tracker to its end: tracking, healing and counting put together.

The way of a frame: in order? -> tracks -> fragments healed -> sights of objects -> lines and zones -> events.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from countline_counting import rules
from countline_counting.events import Crossing, Event, OccupancySample, Visit
from countline_counting.explain.explainer import Explainer, Journal
from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.geometry.ground import travel
from countline_counting.identity import Identity, event_id
from countline_counting.objects.clock import Arrival, RunningClock
from countline_counting.objects.intake import Intake
from countline_counting.objects.sightings import Sightings
from countline_counting.rule.lines import TIME_SLACK_S, LineCounter, Pass, Sights
from countline_counting.rule.objection import age_of, gates, objection
from countline_counting.rule.reasons import Reason
from countline_counting.rule.zones import Stay, ZoneCounter
from countline_counting.spec import CountingSpec, Line, Zone
from countline_counting.tracking import Tracker, TrackerSettings
from countline_counting.trajectories.paths import Path, Trajectory
from countline_counting.trajectories.simplification import Paths


class PictureSizeError(ValueError):
    """The picture's size changed; that begins a new run, with a counter of its own."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What one frame led to."""

    tracked: TrackedFrame
    """The objects of the frame; ids are those of healed tracks, as events name them."""
    events: tuple[Event, ...]


class CameraCounter:
    """Counts one camera in one run; a restart or another picture size is a new run, and a new counter.

    Args:
        identity: whose tracks these are.
        spec: lines, zones and anchor.
        tracking: settings of the tracker.
        tracked: whether frames come as tracks (`update_tracked`); they are healed all the same.
        journal: gets the reason of each crossing, and of each near-crossing that is none.
        trajectories: whether to say where each object was; that takes about a third as long as the rest.
        labels: class names of the model, which resolve those of the spec; empty for a model without names.

    Raises:
        UnknownClassError: the spec names a class that the model does not have.
    """

    def __init__(
        self,
        identity: Identity,
        spec: CountingSpec,
        tracking: TrackerSettings | None = None,
        tracked: bool = False,
        journal: Journal | None = None,
        trajectories: bool = False,
        labels: Sequence[str] = (),
    ) -> None:
        self._identity = identity
        self._spec = spec
        self._labels = labels
        self._classes = spec.resolve(labels)
        self._tracking = tracking or TrackerSettings()
        self._tracked = tracked
        self._keeps_paths = trajectories
        self._size_wh: tuple[int, int] | None = None
        self._lines: list[LineCounter] = []
        self._zones: list[ZoneCounter] = []
        self._undelivered: list[Event] = []
        self._explainer = Explainer(journal, self._track_of) if journal is not None else None
        self._begin()

    def _begin(self) -> None:
        self._clock = RunningClock()
        self._tracker = Tracker(self._tracking)
        self._sightings = Sightings(self._spec.anchor, trusted=self._tracked)
        self._sightings.explainer = self._explainer
        self._young: list[tuple[Line, int, Pass]] = []
        """Passes (line, slot, pass) whose objects were not seen for long enough yet."""
        self._paths = Paths() if self._keeps_paths else None

    def update(self, frame: DetectionFrame) -> FrameResult:
        """Take the detections of the next frame.

        Raises:
            PictureSizeError: the picture has another size than before.
        """
        if self._tracked:
            raise ValueError("this counter was made for tracks, not for detections")
        events = self._admit(frame.t, frame.size_wh)
        if events is None:
            return FrameResult(_no_objects(frame), ())
        tracks = self._tracker.update(self._intake.detections(frame), frame.t)
        tracked = TrackedFrame(frame.camera_id, frame.index, frame.t, frame.size_wh, *tracks)
        return self._count(tracked, events)

    def update_tracked(self, frame: TrackedFrame) -> FrameResult:
        """Take the tracks of the next frame.

        Raises:
            PictureSizeError: the picture has another size than before.
        """
        events = self._admit(frame.t, frame.size_wh)
        if events is None:
            return FrameResult(_no_objects(frame), ())
        return self._count(self._intake.tracks(frame), events)

    def flush(self) -> tuple[Event, ...]:
        """Decide all that is open, for no frame will come any more; the counter begins anew after this."""
        events = self._take_undelivered()
        for sights in self._sightings.settle_all():
            events += self._see(sights)
        for slot in self._sightings.living():
            events += self._end(slot)
        events += self._occupancy()
        self._begin()
        return _in_order(events)

    def begin_paths(self) -> None:
        """Say where objects are from the next frame on."""
        self._keeps_paths = True
        self._paths = self._paths or Paths()

    def end_paths(self) -> None:
        """Say no more where objects are; the paths until now come with the next frame's events."""
        if self._paths is not None:
            for slot in self._sightings.living():
                self._undelivered += self._trajectories(self._paths.end(slot))
        self._keeps_paths, self._paths = False, None

    def state_size(self) -> int:
        """Return how many objects and tracks are held, those out of sight included; bounded by what is in the scene."""
        return len(self._tracker) + self._sightings.held()

    def reconfigure(self, spec: CountingSpec) -> None:
        """Count other lines and zones from now on; those that are the same keep their state.

        A pass that the old version of a line still holds back is decided now and comes with the next frame's events.

        Raises:
            UnknownClassError: the spec names a class that the model does not have; the old spec stays.
        """
        classes = spec.resolve(self._labels)
        anchor_moved = spec.anchor != self._spec.anchor
        gone = [counter for counter in self._lines if anchor_moved or counter.line not in spec.lines]
        ended_zones = [counter for counter in self._zones if anchor_moved or counter.zone not in spec.zones]
        for slot in self._sightings.living():
            self._undelivered += self._end_at(slot, gone, ended_zones)
            if anchor_moved and self._paths is not None:  # the path of another point of the box is another path
                self._undelivered += self._trajectories(self._paths.end(slot))
        for zone in ended_zones:
            if zone.said:  # else its last sample would hold for ever
                self._undelivered.append(OccupancySample(zone.zone.id, zone.zone.version, self._clock.t, 0))
        kept_lines = {counter.line: counter for counter in self._lines if counter not in gone}
        kept_zones = {counter.zone: counter for counter in self._zones if counter not in ended_zones}
        self._spec, self._classes = spec, classes
        self._sightings.anchor = spec.anchor
        if self._size_wh is not None:
            self._draw(self._size_wh, kept_lines, kept_zones)

    def _draw(self, size_wh: tuple[int, int], lines: dict[Line, LineCounter], zones: dict[Zone, ZoneCounter]) -> None:
        """Put lines, zones and masks into the picture; those of `lines` and `zones` go on."""
        explainer = self._explainer
        watch = explainer.watch if explainer is not None else None
        self._lines = [lines.get(line) or LineCounter(line, size_wh, watch) for line in self._spec.lines]
        self._zones = [zones.get(zone) or ZoneCounter(zone, size_wh) for zone in self._spec.zones]
        self._intake = Intake(self._spec, size_wh, explainer)
        if explainer is not None:
            explainer.watch_lines((counter.line, counter.path) for counter in self._lines)

    def _track_of(self, slot: int) -> int:
        return int(self._sightings.objects["number"][slot])

    def _admit(self, t: float, size_wh: tuple[int, int]) -> list[Event] | None:
        """Return what is to be said before the frame is counted; None where it came too late to be."""
        if self._size_wh is None:
            self._size_wh = size_wh
            self._draw(size_wh, {}, {})
        elif size_wh != self._size_wh:
            raise PictureSizeError(f"the picture was {self._size_wh} and is {size_wh} now")
        arrival = self._clock.admit(t)
        if arrival is Arrival.LATE:
            return None
        events = self._take_undelivered()
        if arrival is Arrival.RESET:
            numbers_given = self._sightings.objects.next_number
            events += self.flush()
            self._sightings.objects.next_number = numbers_given  # the run goes on: no number names two objects
            self._clock.admit(t)
        return events

    def _count(self, frame: TrackedFrame, events: list[Event]) -> FrameResult:
        for slot in self._sightings.expired(self._clock.running_s):
            events += self._end(slot)
        for sights in self._sightings.take(frame, self._clock.running_s):
            events += self._see(sights)
        for line in self._lines:
            events += self._crossings(line.line, line.decide(frame.t))
        if self._young:
            young, self._young = self._young, []
            for line_, slot, made in young:
                events += self._crossings(line_, [(slot, made)])
        events += self._occupancy()
        return FrameResult(self._sightings.named(frame), _in_order(events))

    def _see(self, sights: Sights) -> list[Event]:
        events: list[Event] = []
        for line in self._lines:
            events += self._crossings(line.line, line.see(sights))
        for zone in self._zones:
            events += self._visits(zone.zone, zone.see(sights))
        if self._paths is not None:
            events += self._trajectories(self._paths.take(sights, self._clock.period_s, self._clock.t))
        return events

    def _end(self, slot: int) -> list[Event]:
        events = self._end_at(slot, self._lines, self._zones)
        if self._paths is not None:
            events += self._trajectories(self._paths.end(slot))
        self._sightings.forget(slot)
        return events

    def _end_at(self, slot: int, lines: Iterable[LineCounter], zones: Iterable[ZoneCounter]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            last = line.end(slot)
            passes = [made for of, young, made in self._young if young == slot and of == line.line]
            passes += [last] if last else []
            self._young = [entry for entry in self._young if entry[1] != slot or entry[0] != line.line]
            events += self._crossings(line.line, [(slot, made) for made in passes], at_end=True)
        for zone in zones:
            stay = zone.end(slot)
            events += self._visits(zone.zone, [(slot, stay)] if stay else [])
        return events

    def _crossings(self, line: Line, passes: Iterable[tuple[int, Pass]], *, at_end: bool = False) -> list[Event]:
        """Return the passes of objects that count; `at_end`: the object will not grow older."""
        objects, events = self._sightings.objects, list[Event]()
        for slot, made in passes:
            judged = objects.class_of(slot), age_of(objects, slot), objects.score_of(slot)
            counted = self._classes.of(line)
            reason = objection(self._spec, counted, *judged)
            waits = self._clock.t - made.t < rules.DECIDE_LATEST_S - TIME_SLACK_S and not at_end
            if reason is Reason.TOO_YOUNG and waits:
                self._young.append((line, slot, made))
                continue
            name = event_id(self._identity, "line", line.id, line.version, self._track_of(slot), made.sequence)
            if self._explainer is not None:
                self._explainer.judged(line, slot, made, tuple(gates(self._spec, counted, *judged)), reason, name)
            if reason is None:
                events.append(self._crossing(name, line, slot, made))
        return events

    def _crossing(self, name: str, line: Line, slot: int, made: Pass) -> Crossing:
        objects = self._sightings.objects
        assert self._size_wh is not None
        moving = travel(objects["history"][slot], made.t, self._spec.ground, self._size_wh)
        return Crossing(
            id=name,
            line_id=line.id,
            line_version=line.version,
            track=self._track_of(slot),
            sequence=made.sequence,
            t=made.t,
            decided_at=self._clock.t,
            frame=made.frame,
            direction=made.direction,
            class_id=objects.class_of(slot),
            score=objects.score_of(slot),
            stitched=bool(objects["stitched"][slot]),
            speed_m_per_s=moving.speed_m_per_s,
            heading_deg=moving.heading_deg,
        )

    def _visits(self, zone: Zone, stays: Iterable[tuple[int, Stay]]) -> list[Event]:
        objects, events = self._sightings.objects, list[Event]()
        for slot, stay in stays:
            class_id, track = objects.class_of(slot), int(objects["number"][slot])
            if not self._classes.counts(zone, class_id):
                continue
            name = event_id(self._identity, "zone", zone.id, zone.version, track, stay.sequence)
            events.append(
                Visit(
                    id=name,
                    zone_id=zone.id,
                    zone_version=zone.version,
                    track=track,
                    sequence=stay.sequence,
                    entered_at=stay.entered_at,
                    left_at=None if stay.lost_inside else stay.left_at,
                    dwell_s=stay.left_at - stay.entered_at,
                    class_id=class_id,
                    decided_at=self._clock.t,
                    born_inside=stay.born_inside,
                    lost_inside=stay.lost_inside,
                    stitched=bool(objects["stitched"][slot]),
                    queue=zone.queue,
                )
            )
        return events

    def _trajectories(self, parts: Iterable[tuple[int, Path]]) -> list[Event]:
        assert self._size_wh is not None
        objects = self._sightings.objects
        return [
            Trajectory(
                id=event_id(self._identity, "trajectory", "", 0, int(objects["number"][slot]), path.part),
                track=int(objects["number"][slot]),
                class_id=objects.class_of(slot),
                score=objects.score_of(slot),
                stitched=bool(objects["stitched"][slot]),
                picture_wh=self._size_wh,
                path=path,
            )
            for slot, path in parts
        ]

    def _occupancy(self) -> list[Event]:
        """Return a sample for each zone whose occupancy is not what was said last."""
        events: list[Event] = []
        for zone in self._zones:
            slots = zone.inside()
            classes = self._classes.of(zone.zone)
            count = sum(classes is None or self._sightings.objects.class_of(slot) in classes for slot in slots)
            if zone.said != count:
                zone.said = count
                events.append(OccupancySample(zone.zone.id, zone.zone.version, self._clock.t, count))
        return events

    def _take_undelivered(self) -> list[Event]:
        events, self._undelivered = self._undelivered, []
        return events


def _no_objects(frame: DetectionFrame | TrackedFrame) -> TrackedFrame:
    none = np.zeros(0, dtype=np.int64)
    return TrackedFrame(frame.camera_id, frame.index, frame.t, frame.size_wh, none, np.zeros((0, 4)), np.zeros(0), none)


def _in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sort by time and name, so that equal input gives equal output whatever order things were found in."""

    def key(event: Event) -> tuple[float, int, str, int]:
        if isinstance(event, Crossing):
            return event.t, 0, event.line_id, event.track
        if isinstance(event, Visit):
            return event.entered_at, 1, event.zone_id, event.track
        if isinstance(event, Trajectory):
            return event.path.start, 3, "", event.track
        return event.t, 2, event.zone_id, 0

    return tuple(sorted(events, key=key))

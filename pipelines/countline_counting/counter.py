"""One camera from one start of its tracker to its end: tracking, healing and counting put together.

The way of a frame: in order? -> tracks -> fragments healed -> sights of objects -> lines and zones -> events.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from countline_counting.events import Crossing, Event, Identity, OccupancySample, Visit
from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.objects.clock import Arrival, RunningClock
from countline_counting.objects.intake import Intake
from countline_counting.objects.sightings import Sightings
from countline_counting.objects.sights import Sights
from countline_counting.paths import Trajectory
from countline_counting.rule.crossings import CrossingJudge
from countline_counting.rule.facts import LinesDrawn, Listener
from countline_counting.rule.lines import LineCounter
from countline_counting.rule.passes import Pass
from countline_counting.rule.visits import occupancy_change, visits_of
from countline_counting.rule.zones import Stay, ZoneCounter
from countline_counting.spec import CountingSpec, Line, Zone
from countline_counting.tracking import Tracker, TrackerSettings
from countline_counting.trajectories.simplification import Paths, trajectories_of
from countline_counting.trajectories.table import Ended


class PictureSizeError(ValueError):
    """The picture has another size than before; this needs a new run, with a new counter."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What counting found in one frame."""

    tracked: TrackedFrame
    """The objects of the frame. Ids are those of healed tracks, as in events."""
    events: tuple[Event, ...]


class CameraCounter:
    """Counts one camera in one run. A restart or another picture size is a new run and needs a new counter.

    Args:
        identity: whose tracks these are.
        spec: lines, zones and anchor.
        tracking: settings of the tracker.
        tracked: whether frames come as tracks (`update_tracked`). The counter heals them too.
        listener: receives facts about everything near a line; counting is the same with it and without.
        trajectories: whether to emit where each object was; that takes about a third as long as the rest.
    """

    def __init__(
        self,
        identity: Identity,
        spec: CountingSpec,
        tracking: TrackerSettings | None = None,
        tracked: bool = False,
        listener: Listener | None = None,
        trajectories: bool = False,
    ) -> None:
        self._identity = identity
        self._spec = spec
        self._tracking = tracking or TrackerSettings()
        self._tracked = tracked
        self._listener = listener
        self._keeps_paths = trajectories
        self._size_wh = (0, 0)
        """(0, 0) before the first frame."""
        self._lines: list[LineCounter] = []
        self._zones: list[ZoneCounter] = []
        self._undelivered: list[Event] = []
        self._begin()

    def _begin(self) -> None:
        self._clock = RunningClock()
        self._tracker = Tracker(self._tracking)
        self._sightings = Sightings(self._spec.anchor, trusted=self._tracked, listener=self._listener)
        self._judge = CrossingJudge(self._identity, self._sightings.objects, self._listener)
        self._paths = Paths() if self._keeps_paths else None

    def update(self, frame: DetectionFrame) -> FrameResult:
        """Count the detections of the next frame.

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
        """Count the tracks of the next frame.

        Raises:
            PictureSizeError: the picture has another size than before.
        """
        events = self._admit(frame.t, frame.size_wh)
        if events is None:
            return FrameResult(_no_objects(frame), ())
        return self._count(self._intake.tracks(frame), events)

    def flush(self) -> tuple[Event, ...]:
        """Decide everything that is open, because no more frames come; then begin anew."""
        events = self._take_undelivered()
        for sights in self._sightings.settle_all():
            events += self._see(sights)
        for row in self._sightings.living():
            events += self._end(row)
        events += self._occupancy()
        self._begin()
        return _in_order(events)

    def begin_paths(self) -> None:
        """Emit trajectories from the next frame on."""
        self._keeps_paths = True
        self._paths = self._paths or Paths()

    def end_paths(self) -> None:
        """Stop emitting trajectories. The paths until now come with the next frame's events."""
        if self._paths is not None:
            for row in self._sightings.living():
                self._undelivered += self._trajectories(self._paths.end(row))
        self._keeps_paths, self._paths = False, None

    def state_size(self) -> int:
        """Return how many objects and tracks are held, those out of sight included; bounded by what is in the scene."""
        return len(self._tracker) + self._sightings.held()

    def reconfigure(self, spec: CountingSpec) -> None:
        """Count other lines and zones from now on; unchanged lines and zones keep their state.

        Passes that the replaced lines hold back are decided now and come with the next frame's events.
        """
        anchor_moved = spec.anchor != self._spec.anchor
        ended_lines = [counter for counter in self._lines if anchor_moved or counter.line not in spec.lines]
        ended_zones = [counter for counter in self._zones if anchor_moved or counter.zone not in spec.zones]
        for row in self._sightings.living():
            self._undelivered += self._end_at(row, ended_lines, ended_zones)
            if anchor_moved and self._paths is not None:  # the path of another point of the box is another path
                self._undelivered += self._trajectories(self._paths.end(row))
        for zone in ended_zones:
            if zone.reported:  # without this sample, the last one would hold for ever
                self._undelivered.append(OccupancySample(zone.zone.id, zone.zone.version, self._clock.t, 0))
        kept_lines = {counter.line: counter for counter in self._lines if counter not in ended_lines}
        kept_zones = {counter.zone: counter for counter in self._zones if counter not in ended_zones}
        self._spec = spec
        self._sightings.anchor = spec.anchor
        if self._size_wh != (0, 0):
            self._draw(kept_lines, kept_zones)

    def _draw(self, lines: dict[Line, LineCounter], zones: dict[Zone, ZoneCounter]) -> None:
        """Make the counters of lines and zones and the masks for the picture's size; `lines` and `zones` are kept."""
        spec, size_wh, listener = self._spec, self._size_wh, self._listener
        self._lines = [lines.get(line) or LineCounter(line, size_wh, listener) for line in spec.lines]
        self._zones = [zones.get(zone) or ZoneCounter(zone, size_wh) for zone in spec.zones]
        self._intake = Intake(spec, size_wh, listener)
        if listener is not None:
            listener(LinesDrawn(spec, tuple(counter.path for counter in self._lines)))

    def _admit(self, t: float, size_wh: tuple[int, int]) -> list[Event] | None:
        """Return the events that come before those of the frame; None if the frame came too late to be counted."""
        if self._size_wh == (0, 0):
            self._size_wh = size_wh
            self._draw({}, {})
        elif size_wh != self._size_wh:
            raise PictureSizeError(f"the picture was {self._size_wh} and is {size_wh} now")
        arrival = self._clock.admit(t)
        if arrival is Arrival.LATE:
            return None
        events = self._take_undelivered()
        if arrival is Arrival.RESET:
            next_number = self._sightings.objects.next_number
            events += self.flush()
            self._sightings.objects.next_number = next_number  # the run goes on: no number names two objects
            self._clock.admit(t)
        return events

    def _count(self, frame: TrackedFrame, events: list[Event]) -> FrameResult:
        for row in self._sightings.expired(self._clock.running_s):
            events += self._end(row)
        for sights in self._sightings.take(frame, self._clock.running_s):
            events += self._see(sights)
        for line in self._lines:
            events += self._crossings(line.line, line.decide(frame.t))
        events += self._judge.judge_young(self._spec, self._size_wh, self._clock.t)
        events += self._occupancy()
        return FrameResult(self._sightings.named(frame), _in_order(events))

    def _see(self, sights: Sights) -> list[Event]:
        events: list[Event] = []
        for line in self._lines:
            events += self._crossings(line.line, line.see(sights))
        for zone in self._zones:
            events += self._visits(zone, zone.see(sights))
        if self._paths is not None:
            events += self._trajectories(self._paths.take(sights, self._clock.period_s, self._clock.t))
        return events

    def _end(self, row: int) -> list[Event]:
        events = self._end_at(row, self._lines, self._zones)
        if self._paths is not None:
            events += self._trajectories(self._paths.end(row))
        self._sightings.forget(row)
        return events

    def _end_at(self, row: int, lines: Iterable[LineCounter], zones: Iterable[ZoneCounter]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            last = line.end(row)
            passes = self._judge.take_young(line.line, row) + ([last] if last else [])
            events += self._crossings(line.line, [(row, made) for made in passes], at_end=True)
        for zone in zones:
            stay = zone.end(row)
            events += self._visits(zone, [(row, stay)] if stay else [])
        return events

    def _crossings(self, line: Line, passes: Iterable[tuple[int, Pass]], *, at_end: bool = False) -> list[Crossing]:
        return self._judge.judge(self._spec, self._size_wh, line, passes, self._clock.t, at_end=at_end)

    def _visits(self, zone: ZoneCounter, stays: Iterable[tuple[int, Stay]]) -> list[Visit]:
        return visits_of(self._identity, self._sightings.objects, zone.zone, stays, self._clock.t)

    def _trajectories(self, ended: Ended) -> list[Trajectory]:
        return trajectories_of(self._identity, self._sightings.objects, self._size_wh, ended)

    def _occupancy(self) -> list[OccupancySample]:
        changes = (occupancy_change(zone, self._sightings.objects, self._clock.t) for zone in self._zones)
        return [sample for sample in changes if sample is not None]

    def _take_undelivered(self) -> list[Event]:
        events, self._undelivered = self._undelivered, []
        return events


def _no_objects(frame: DetectionFrame | TrackedFrame) -> TrackedFrame:
    none = np.zeros(0, dtype=np.int64)
    return TrackedFrame(frame.camera_id, frame.index, frame.t, frame.size_wh, none, np.zeros((0, 4)), np.zeros(0), none)


def _in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sort by time and name, so that equal input gives equal output in whatever order events were found."""

    def key(event: Event) -> tuple[float, int, str, int]:
        if isinstance(event, Crossing):
            return event.t, 0, event.line_id, event.track
        if isinstance(event, Visit):
            return event.entered_at, 1, event.zone_id, event.track
        if isinstance(event, Trajectory):
            return event.path.start, 3, "", event.track
        return event.t, 2, event.zone_id, 0

    return tuple(sorted(events, key=key))

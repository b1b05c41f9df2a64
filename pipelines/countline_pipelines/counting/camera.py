"""One camera from one start of its tracker to its end: tracking, healing and counting put together.

The way of a frame: in order? -> tracks -> fragments healed -> sights of objects -> lines and zones -> events.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline_pipelines.counting.boxes import without_duplicates
from countline_pipelines.counting.clock import Arrival, RunningClock
from countline_pipelines.counting.events import Crossing, Event, Identity, OccupancySample, Visit, event_id
from countline_pipelines.counting.lines import LineCounter, Pass, Sights
from countline_pipelines.counting.paths import Path, Trajectory
from countline_pipelines.counting.sightings import Sightings
from countline_pipelines.counting.spec import CountingSpec, Line, Zone
from countline_pipelines.counting.trajectories import Paths
from countline_pipelines.counting.zones import Stay, ZoneCounter
from countline_pipelines.tracking import Tracker, TrackerSettings
from countline_pipelines.types import DetectionFrame, TrackedFrame


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
    """

    def __init__(
        self,
        identity: Identity,
        spec: CountingSpec,
        tracking: TrackerSettings | None = None,
        tracked: bool = False,
    ) -> None:
        self._identity = identity
        self._spec = spec
        self._tracking = tracking or TrackerSettings()
        self._tracked = tracked
        self._size_wh: tuple[int, int] | None = None
        self._lines: list[LineCounter] = []
        self._zones: list[ZoneCounter] = []
        self._undelivered: list[Event] = []
        self._begin()

    def _begin(self) -> None:
        self._clock = RunningClock()
        self._tracker = Tracker(self._tracking)
        self._sightings = Sightings(self._spec.anchor, trusted=self._tracked)
        self._paths = Paths()

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
        tracks = self._tracker.update(usable(frame.detections, self._spec.min_score), frame.t)
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
        return self._count(_at_least(frame, self._spec.min_score), events)

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

    def state_size(self) -> int:
        """Return how many objects and tracks are held, those out of sight included; bounded by what is in the scene."""
        return len(self._tracker) + self._sightings.held()

    def reconfigure(self, spec: CountingSpec) -> None:
        """Count other lines and zones from now on; those that are the same keep their state.

        A pass that the old version of a line still holds back is decided now and comes with the next frame's events.
        """
        anchor_moved = spec.anchor != self._spec.anchor
        gone = [counter for counter in self._lines if anchor_moved or counter.line not in spec.lines]
        ended_zones = [counter for counter in self._zones if anchor_moved or counter.zone not in spec.zones]
        for slot in self._sightings.living():
            self._undelivered += self._end_at(slot, gone, ended_zones)
            if anchor_moved:  # the path of another point of the box is another path
                self._undelivered += self._trajectory(slot, self._paths.end(slot))
        for zone in ended_zones:
            if zone.said:  # else its last sample would hold for ever
                self._undelivered.append(OccupancySample(zone.zone.id, zone.zone.version, self._clock.t, 0))
        kept_lines = {counter.line: counter for counter in self._lines if counter not in gone}
        kept_zones = {counter.zone: counter for counter in self._zones if counter not in ended_zones}
        self._spec = spec
        self._sightings.anchor = spec.anchor
        if self._size_wh is not None:
            self._lines = [kept_lines.get(line) or LineCounter(line, self._size_wh) for line in spec.lines]
            self._zones = [kept_zones.get(zone) or ZoneCounter(zone, self._size_wh) for zone in spec.zones]

    def _admit(self, t: float, size_wh: tuple[int, int]) -> list[Event] | None:
        """Return what is to be said before the frame is counted; None where it came too late to be."""
        if self._size_wh is None:
            self._size_wh = size_wh
            self._lines = [LineCounter(line, size_wh) for line in self._spec.lines]
            self._zones = [ZoneCounter(zone, size_wh) for zone in self._spec.zones]
        elif size_wh != self._size_wh:
            raise PictureSizeError(f"the picture was {self._size_wh} and is {size_wh} now")
        arrival = self._clock.admit(t)
        if arrival is Arrival.LATE:
            return None
        events = self._take_undelivered()
        if arrival is Arrival.RESET:
            events += self.flush()
            self._clock.admit(t)
        return events

    def _count(self, frame: TrackedFrame, events: list[Event]) -> FrameResult:
        for slot in self._sightings.expired(self._clock.running_s):
            events += self._end(slot)
        for sights in self._sightings.take(frame, self._clock.running_s):
            events += self._see(sights)
        for line in self._lines:
            events += self._crossings(line.line, line.decide(frame.t))
        events += self._occupancy()
        return FrameResult(self._sightings.named(frame), _in_order(events))

    def _see(self, sights: Sights) -> list[Event]:
        events: list[Event] = []
        for line in self._lines:
            events += self._crossings(line.line, line.see(sights))
        for zone in self._zones:
            events += self._visits(zone.zone, zone.see(sights))
        for slot, part in self._paths.take(sights, self._clock.period_s):
            events += self._trajectory(slot, part)
        return events

    def _end(self, slot: int) -> list[Event]:
        events = self._end_at(slot, self._lines, self._zones)
        events += self._trajectory(slot, self._paths.end(slot))
        self._sightings.forget(slot)
        return events

    def _end_at(self, slot: int, lines: Iterable[LineCounter], zones: Iterable[ZoneCounter]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            last = line.end(slot)
            events += self._crossings(line.line, [(slot, last)] if last else [])
        for zone in zones:
            stay = zone.end(slot)
            events += self._visits(zone.zone, [(slot, stay)] if stay else [])
        return events

    def _crossings(self, line: Line, passes: Iterable[tuple[int, Pass]]) -> list[Event]:
        objects, events = self._sightings.objects, list[Event]()
        for slot, made in passes:
            class_id, track = objects.class_of(slot), int(objects["number"][slot])
            if line.classes is not None and class_id not in line.classes:
                continue
            name = event_id(self._identity, "line", line.id, line.version, track, made.sequence)
            events.append(
                Crossing(
                    id=name,
                    line_id=line.id,
                    line_version=line.version,
                    track=track,
                    sequence=made.sequence,
                    t=made.t,
                    decided_at=self._clock.t,
                    frame=made.frame,
                    direction=made.direction,
                    class_id=class_id,
                    score=objects.score_of(slot),
                    stitched=bool(objects["stitched"][slot]),
                )
            )
        return events

    def _visits(self, zone: Zone, stays: Iterable[tuple[int, Stay]]) -> list[Event]:
        objects, events = self._sightings.objects, list[Event]()
        for slot, stay in stays:
            class_id, track = objects.class_of(slot), int(objects["number"][slot])
            if zone.classes is not None and class_id not in zone.classes:
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

    def _trajectory(self, slot: int, path: Path | None) -> list[Event]:
        if path is None:
            return []
        assert self._size_wh is not None
        objects = self._sightings.objects
        track = int(objects["number"][slot])
        return [
            Trajectory(
                id=event_id(self._identity, "trajectory", "", 0, track, path.part),
                track=track,
                class_id=objects.class_of(slot),
                score=objects.score_of(slot),
                stitched=bool(objects["stitched"][slot]),
                picture_wh=self._size_wh,
                path=path,
            )
        ]

    def _occupancy(self) -> list[Event]:
        """Return a sample for each zone whose occupancy is not what was said last."""
        events: list[Event] = []
        for zone in self._zones:
            slots = zone.inside()
            classes = zone.zone.classes
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


def usable(detections: NDArray[np.float32], min_score: float) -> NDArray[np.float64]:
    """Return the (M, 6) detections of (N, 6) that are sound boxes of enough score, one for each object."""
    table = detections.astype(np.float64)
    sound = (table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1]) & (table[:, 4] >= min_score)  # refuses NaN too
    table = table[sound & np.isfinite(table).all(axis=1)]
    single: NDArray[np.float64] = table[
        without_duplicates(table[:, :4], table[:, 5].astype(np.int64), (-table[:, 4]).tolist)
    ]
    return single


def _at_least(frame: TrackedFrame, min_score: float) -> TrackedFrame:
    keep = frame.scores >= min_score
    if keep.all():
        return frame
    return TrackedFrame(
        frame.camera_id,
        frame.index,
        frame.t,
        frame.size_wh,
        frame.ids[keep],
        frame.xyxy_px[keep],
        frame.scores[keep],
        frame.classes[keep],
    )


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

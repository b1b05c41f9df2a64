"""One camera from one start of its tracker to its end: tracking, healing and counting put together.

The way of a frame: in order? -> tracks -> fragments healed -> sights of objects -> lines and zones -> events.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from countline_counting.events import Crossing, Event, Visit
from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.geometry.segments import Floats
from countline_counting.identity import Identity
from countline_counting.objects.clock import Arrival, RunningClock
from countline_counting.objects.intake import Intake
from countline_counting.objects.sightings import Sightings
from countline_counting.objects.sights import Sights
from countline_counting.paths import Trajectory
from countline_counting.rule.facts import Listener
from countline_counting.rule.places import CountedPlaces
from countline_counting.spec import CountingSpec
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
        listener: receives facts about everything near a line. Counting is the same with it and without.
        trajectories: whether to emit where each object was; that takes about a third as long as the rest.
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
        listener: Listener | None = None,
        trajectories: bool = False,
        labels: Sequence[str] = (),
    ) -> None:
        self._identity = identity
        self._spec = spec
        self._labels = labels
        self._classes = spec.resolve(labels)
        self._tracking = tracking or TrackerSettings()
        self._tracked = tracked
        self._listener = listener
        self._keeps_paths = trajectories
        self._places: CountedPlaces | None = None
        """None before the first frame, which gives the size of the picture."""
        self._undelivered: list[Event] = []
        self._begin()

    def _begin(self) -> None:
        self._clock = RunningClock()
        self._tracker = Tracker(self._tracking)
        self._sightings = Sightings(
            self._spec.anchor, trusted=self._tracked, listener=self._listener, tracking=self._tracking
        )
        self._paths = Paths() if self._keeps_paths else None
        if self._places is not None:
            self._places.begin(self._sightings.objects)

    def update(self, frame: DetectionFrame) -> FrameResult:
        """Count the detections of the next frame.

        Raises:
            PictureSizeError: the picture has another size than before.
        """
        if self._tracked:
            raise ValueError("this counter was made for tracks, not for detections")
        places = self._placed(frame.size_wh)
        events = self._admit(frame.t)
        if events is None:
            return FrameResult(_no_objects(frame), ())
        tracks = self._tracker.update(self._intake.detections(frame), frame.t, frame.size_wh)
        tracked = TrackedFrame(frame.camera_id, frame.index, frame.t, frame.size_wh, *tracks)
        return self._count(places, tracked, events, self._tracker.estimates, self._tracker.noise_ratio)

    def update_tracked(self, frame: TrackedFrame) -> FrameResult:
        """Count the tracks of the next frame.

        Raises:
            PictureSizeError: the picture has another size than before.
        """
        places = self._placed(frame.size_wh)
        events = self._admit(frame.t)
        if events is None:
            return FrameResult(_no_objects(frame), ())
        return self._count(places, self._intake.tracks(frame), events)

    def flush(self) -> tuple[Event, ...]:
        """Decide everything that is open, because no more frames come; then begin again."""
        events = self._take_undelivered()
        if self._places is not None:
            events += self._see(self._places, self._sightings.settle_all())
            for row in self._sightings.objects.living():
                events += self._end(self._places, row)
            events += self._places.occupancy(self._clock.t)
        self._begin()
        return _in_order(events)

    def begin_paths(self) -> None:
        """Emit trajectories from the next frame on."""
        if self._paths is None:
            self._catch_up()
        self._keeps_paths = True
        self._paths = self._paths or Paths()

    def end_paths(self) -> None:
        """Stop emitting trajectories. The paths until now come with the next frame's events."""
        self._catch_up()
        self._undelivered += self._end_all_paths()
        self._keeps_paths, self._paths = False, None

    def reconfigure(self, spec: CountingSpec) -> None:
        """Count other lines and zones from now on; unchanged lines and zones keep their state.

        Passes that the replaced lines hold back are decided now and come with the next frame's events.

        Raises:
            UnknownClassError: the spec names a class that the model does not have; the old spec stays.
        """
        classes = spec.resolve(self._labels)
        self._catch_up()
        if spec.anchor != self._spec.anchor:  # the path of another point of the box is another path
            self._undelivered += self._end_all_paths()
        self._spec, self._classes = spec, classes
        self._sightings.showing.anchor = spec.anchor
        if self._places is not None:
            self._undelivered += self._draw(self._places)

    def _catch_up(self) -> None:
        """Count what is held back, because sights from now on go to other lines, or to paths that did not take them."""
        if self._places is not None:
            self._undelivered += self._see(self._places, self._sightings.release_all())

    def _placed(self, size_wh: tuple[int, int]) -> CountedPlaces:
        """Return the lines and zones in pictures of this size."""
        if self._places is None:
            self._places = CountedPlaces(self._identity, size_wh, self._sightings.objects, self._listener)
            self._draw(self._places)
        elif size_wh != self._places.size_wh:
            raise PictureSizeError(f"the picture was {self._places.size_wh} and is {size_wh} now")
        return self._places

    def _draw(self, places: CountedPlaces) -> list[Event]:
        self._intake = Intake(self._spec, places.size_wh, self._listener)
        return places.redraw(self._spec, self._classes, self._clock.t)

    def _admit(self, t: float) -> list[Event] | None:
        """Return the events that come before those of the frame; None if the frame came too late to be counted."""
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

    def _count(
        self,
        places: CountedPlaces,
        frame: TrackedFrame,
        events: list[Event],
        estimates: Floats | None = None,
        noise_ratio: float = 0.0,
    ) -> FrameResult:
        """Apply the rules to one frame; the last two are as in `Sightings.take`."""
        now = self._clock.t
        for row in self._sightings.expired(self._clock.running_s):
            events += self._end(places, row)
        events += self._see(places, self._sightings.take(frame, self._clock.running_s, estimates, noise_ratio))
        overdue = places.overdue(now) if self._sightings.seen_until < now else set()
        events += self._see(places, self._sightings.release(overdue))
        events += places.decide(now, self._sightings.seen_until, overdue)
        events += places.occupancy(self._clock.t)
        return FrameResult(self._sightings.named(frame), _in_order(events))

    def _see(self, places: CountedPlaces, shown: Iterable[Sights]) -> list[Event]:
        events: list[Event] = []
        for sights in shown:
            events += places.see(sights, self._clock.t)
            if self._paths is not None:
                events += self._trajectories(self._paths.take(sights, self._clock.period_s))
        return events

    def _end(self, places: CountedPlaces, row: int) -> list[Event]:
        events = self._see(places, self._sightings.release([row]))
        events += places.end(row, self._clock.t)
        if self._paths is not None:
            events += self._trajectories(self._paths.end(row))
        self._sightings.forget(row)
        return events

    def _end_all_paths(self) -> list[Event]:
        if self._paths is None:
            return []
        ended = [part for row in self._sightings.objects.living() for part in self._paths.end(row)]
        return self._trajectories(ended)

    def _trajectories(self, ended: Ended) -> list[Event]:
        if self._places is None:
            return []
        return list(trajectories_of(self._identity, self._sightings.objects, self._places.size_wh, ended))

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

"""The lines and zones of one camera, drawn into pictures of one size: sights of objects in, events out."""

from collections.abc import Container, Iterable

from countline_counting.events import Crossing, Event, OccupancySample, Visit
from countline_counting.identity import Identity
from countline_counting.objects.sights import Sights
from countline_counting.objects.table import Objects
from countline_counting.rule.crossings import CrossingJudge
from countline_counting.rule.facts import LinesDrawn, Listener
from countline_counting.rule.lines import LineCounter
from countline_counting.rule.passes import Pass
from countline_counting.rule.visits import occupancy_change, visits_of
from countline_counting.rule.zones import Stay, ZoneCounter
from countline_counting.spec import CountingSpec, Line, ResolvedClasses


class CountedPlaces:
    """Applies the rules to every object at every line and zone of a spec.

    Args:
        identity: whose tracks these are.
        size_wh: size of the picture in pixels.
        objects: the table that rows refer to.
        listener: receives facts about everything near a line.
    """

    def __init__(
        self, identity: Identity, size_wh: tuple[int, int], objects: Objects, listener: Listener | None
    ) -> None:
        self.size_wh = size_wh
        self._identity = identity
        self._objects = objects
        self._listener = listener
        self._judge = CrossingJudge(identity, size_wh, objects, listener)
        self._lines: list[LineCounter] = []
        self._zones: list[ZoneCounter] = []
        self._spec = CountingSpec()
        self._classes = ResolvedClasses({})

    def begin(self, objects: Objects) -> None:
        """Count the objects of another table from now on; those of the table before have ended."""
        self._objects = objects
        self._judge = CrossingJudge(self._identity, self.size_wh, objects, self._listener)

    def redraw(self, spec: CountingSpec, classes: ResolvedClasses, now: float) -> list[Event]:
        """Count the lines and zones of another spec; unchanged ones keep their state.

        Args:
            spec: what to count from now on.
            classes: the classes of its lines and zones.
            now: capture time of the newest frame.

        Returns:
            The events by which the replaced lines and zones end.
        """
        anchor_moved = spec.anchor != self._spec.anchor
        lines = [counter for counter in self._lines if anchor_moved or counter.line not in spec.lines]
        zones = [counter for counter in self._zones if anchor_moved or counter.zone not in spec.zones]
        events: list[Event] = []
        for row in self._objects.living():
            events += self._end_at(row, lines, zones, now)
        for zone in zones:
            if zone.reported:  # without this sample, the last one would hold for ever
                events.append(OccupancySample(zone.zone.id, zone.zone.version, now, 0))
        kept_lines = {counter.line: counter for counter in self._lines if counter not in lines}
        kept_zones = {counter.zone: counter for counter in self._zones if counter not in zones}
        size_wh, listener = self.size_wh, self._listener
        self._lines = [kept_lines.get(line) or LineCounter(line, size_wh, listener) for line in spec.lines]
        self._zones = [kept_zones.get(zone) or ZoneCounter(zone, size_wh) for zone in spec.zones]
        self._spec, self._classes = spec, classes
        if listener is not None:
            listener(LinesDrawn(spec, tuple(counter.path for counter in self._lines)))
        return events

    def see(self, sights: Sights, now: float) -> list[Event]:
        """Take the sights of one moment."""
        events: list[Event] = []
        for line in self._lines:
            if passes := line.see(sights):
                events += self._crossings(line.line, passes, now)
        for zone in self._zones:
            if stays := zone.see(sights):
                events += self._visits(zone, stays, now)
        return events

    def overdue(self, now: float) -> set[int]:
        """Return the rows of the objects whose passes must be decided now, even if later sights are held back."""
        return set[int]().union(*(line.overdue(now) for line in self._lines))

    def decide(self, now: float, seen_until: float, overdue: Container[int] = ()) -> list[Event]:
        """Decide the passes that became certain by the passing of time, and those whose objects grew old enough.

        Args:
            now: capture time of the newest frame.
            seen_until: until when all sights were taken.
            overdue: rows of objects of which all sights until now were taken.
        """
        events: list[Event] = []
        for line in self._lines:
            if passes := [*line.decide(seen_until), *line.decide(now, overdue)]:
                events += self._crossings(line.line, passes, now)
        for line_, row, made in self._judge.take_all_young():
            events += self._crossings(line_, [(row, made)], now)
        return events

    def end(self, row: int, now: float) -> list[Event]:
        """End an object."""
        return self._end_at(row, self._lines, self._zones, now)

    def occupancy(self, now: float) -> list[OccupancySample]:
        """Return a sample for each zone that holds another number of objects than it reported last."""
        samples = []
        for zone in self._zones:
            sample = occupancy_change(zone, self._objects, self._classes.of(zone.zone), now)
            if sample is not None:
                samples.append(sample)
        return samples

    def _end_at(self, row: int, lines: Iterable[LineCounter], zones: Iterable[ZoneCounter], now: float) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            last = line.end(row)
            passes = self._judge.take_young(line.line, row) + ([last] if last else [])
            if passes:
                events += self._crossings(line.line, [(row, made) for made in passes], now, at_end=True)
        for zone in zones:
            stay = zone.end(row)
            if stay is not None:
                events += self._visits(zone, [(row, stay)], now)
        return events

    def _crossings(
        self, line: Line, passes: Iterable[tuple[int, Pass]], now: float, *, at_end: bool = False
    ) -> list[Crossing]:
        return self._judge.judge(self._spec, self._classes.of(line), line, passes, now, at_end=at_end)

    def _visits(self, zone: ZoneCounter, stays: Iterable[tuple[int, Stay]], now: float) -> list[Visit]:
        return visits_of(self._identity, self._objects, zone.zone, self._classes.of(zone.zone), stays, now)

"""The summary of a count, which `countline count` and `countline replay` print."""

from collections.abc import Callable, Iterable
from typing import Any

from countline_counting.events import Crossing, Direction, Event, OccupancySample, Visit
from countline_counting.rule.flows import Flow, Flows
from countline_counting.rule.series import Series
from countline_counting.spec import CountingSpec
from countline_pipelines.offline.reports.zones import ZoneSummary

ClassName = Callable[[int], str]


class Summary:
    """Adds up events.

    Args:
        spec: what is counted; the result contains every line and zone of it, zeros included.
        class_name: returns the name of a class, or its number if it has no name.
    """

    def __init__(self, spec: CountingSpec, class_name: ClassName = str) -> None:
        self._class_name = class_name
        self._series = {line.id: Series() for line in spec.lines}
        self._by_class: dict[str, dict[str, dict[Direction, int]]] = {line.id: {} for line in spec.lines}
        self._flows = Flows()
        self._zones = {zone.id: ZoneSummary(zone, class_name) for zone in spec.zones}
        self.crossings: list[Crossing] = []

    def add(self, events: Iterable[Event]) -> None:
        """Add events."""
        for event in events:
            if isinstance(event, Crossing | Visit):
                self._flows.add(event)
            if isinstance(event, Crossing):
                self._add_crossing(event)
            elif isinstance(event, Visit | OccupancySample):
                self._zones[event.zone_id].add(event)

    def end_run(self, events: Iterable[Event], t: float) -> None:
        """Add the events that were decided at the end of a run.

        Args:
            events: that flushing the counter returned.
            t: end of the run.
        """
        events = list(events)
        self.add(event for event in events if not isinstance(event, Visit | OccupancySample))
        of_zones = [event for event in events if isinstance(event, Visit | OccupancySample)]
        for visit in of_zones:
            if isinstance(visit, Visit):
                self._flows.add(visit)
        self._flows.end_run()
        for series in self._series.values():
            series.end_run()
        for name, zone in self._zones.items():
            zone.end_run([event for event in of_zones if event.zone_id == name], t)

    def _add_crossing(self, event: Crossing) -> None:
        self.crossings.append(event)
        self._series[event.line_id].add(event)
        by_class = self._by_class[event.line_id]
        name = self._class_name(event.class_id)
        by_class.setdefault(name, dict.fromkeys(Direction, 0))[event.direction] += 1

    def as_dict(self, *, frames: int, duration_s: float) -> dict[str, Any]:
        """Return the summary, ready for JSON.

        Args:
            frames: number of counted frames.
            duration_s: capture time from the first frame to the last, one frame period included.
        """
        crossings = sorted(self.crossings, key=lambda event: (event.t, event.line_id, event.track))
        return {
            "frames": frames,
            "duration_s": round(duration_s, 6),
            "lines": {name: self._line(name, series) for name, series in self._series.items()},
            "zones": {name: zone.as_dict() for name, zone in self._zones.items()},
            "flows": [self._flow(flow) for flow in self._flows.total()],
            "events": [self._event(event) for event in crossings],
        }

    def _line(self, name: str, series: Series) -> dict[str, Any]:
        by_class = {class_name: _in_out(counts) for class_name, counts in sorted(self._by_class[name].items())}
        return {**_in_out(series.counts), "net": series.net, "u_turns": series.u_turns, "by_class": by_class}

    def _flow(self, flow: Flow) -> dict[str, Any]:
        return {
            "origin": flow.origin,
            "destination": flow.destination,
            "class": self._class_name(flow.class_id),
            "count": flow.count,
            "mean_s": None if flow.mean_s is None else round(flow.mean_s, 3),
        }

    def _event(self, event: Crossing) -> dict[str, Any]:
        return {
            "id": event.id,
            "t": event.t,
            "decided_at": event.decided_at,
            "frame": event.frame,
            "line": event.line_id,
            "direction": event.direction.value,
            "track": event.track,
            "class": self._class_name(event.class_id),
            "score": round(event.score, 4),
            "stitched": event.stitched,
            "heading_deg": None if event.heading_deg is None else round(event.heading_deg, 1) % 360,
            "speed_m_per_s": None if event.speed_m_per_s is None else round(event.speed_m_per_s, 3),
        }


def _in_out(counts: dict[Direction, int]) -> dict[str, int]:
    return {direction.value: counts[direction] for direction in Direction}

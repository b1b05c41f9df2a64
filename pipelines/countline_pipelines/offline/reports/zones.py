"""The report on zones: occupancy over time, and how long objects stayed.

Occupancy is the same as live: an object counts from the moment its entry is certain until its exit is certain, or until
it was unseen for three seconds. The mean weighs each number by the time for which it held; a number that held for no
time does not count. A stay has the times at which the path met the outline. Of an object that was first or last seen
inside, the stay is the observed part. In a queue, every object inside waits from entry to exit: the length of the queue
is the occupancy, and the waiting times are the stays.
"""

from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Any

from countline_counting.events import OccupancySample, Visit
from countline_counting.spec import Zone


class ZoneSummary:
    """Adds up the visits and samples of one zone over all runs.

    Args:
        zone: to report on.
        class_name: returns the name of a class.
    """

    def __init__(self, zone: Zone, class_name: Callable[[int], str]) -> None:
        self._zone = zone
        self._class_name = class_name
        self._visits: list[Visit] = []
        self._since: tuple[float, int] | None = None
        self._seconds: dict[int, float] = {}
        """Seconds for which the zone held a number of objects, by that number."""
        self._now: int | None = None

    def add(self, event: Visit | OccupancySample) -> None:
        """Add a visit or a sample."""
        if isinstance(event, Visit):
            self._visits.append(event)
        else:
            self._hold(event.t)
            self._since = event.t, event.count

    def end_run(self, events: Sequence[Visit | OccupancySample], t: float) -> None:
        """Add the events of the end of a run. Afterwards the number of objects inside is unknown.

        Args:
            events: of the end. The sample of an empty zone among them says nothing about its occupancy.
            t: end of the run.
        """
        self._hold(t)
        self._now = None if self._since is None else self._since[1]
        self._since = None
        self._visits += [event for event in events if isinstance(event, Visit)]

    def _hold(self, until: float) -> None:
        if self._since is not None:
            since, count = self._since
            self._now = count
            if until > since:
                self._seconds[count] = self._seconds.get(count, 0.0) + until - since

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, ready for JSON; None for values without observations."""
        visits, dwells = self._visits, [visit.dwell_s for visit in self._visits]
        levels = self._levels()
        found: dict[str, Any] = {
            "now": self._now,
            **levels,
            "visits": len(visits),
            "entries": sum(not visit.born_inside for visit in visits),
            "born_inside": sum(visit.born_inside for visit in visits),
            "exits": sum(not visit.lost_inside for visit in visits),
            "lost_inside": sum(visit.lost_inside for visit in visits),
            "dwell_s": {**_mean_and_max(dwells), "median": round(median(dwells), 3) if dwells else None},
        }
        if self._zone.queue:
            found["queue_length"] = {"mean": levels["mean"], "max": levels["max"]}
            found["waiting_s"] = _mean_and_max(dwells)
        found["stays"] = [self._stay(visit) for visit in sorted(visits, key=lambda v: (v.entered_at, v.track))]
        return found

    def _levels(self) -> dict[str, float | None]:
        if not self._seconds:
            return {"min": None, "max": None, "mean": None}
        total_s = sum(self._seconds.values())
        mean = sum(count * seconds for count, seconds in sorted(self._seconds.items())) / total_s
        return {"min": min(self._seconds), "max": max(self._seconds), "mean": round(mean, 4)}

    def _stay(self, visit: Visit) -> dict[str, Any]:
        return {
            "id": visit.id,
            "track": visit.track,
            "class": self._class_name(visit.class_id),
            "entered_at": visit.entered_at,
            "left_at": visit.left_at,
            "dwell_s": round(visit.dwell_s, 6),
            "born_inside": visit.born_inside,
            "lost_inside": visit.lost_inside,
        }


def _mean_and_max(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "mean": round(fmean(values), 3) if values else None,
        "max": round(max(values), 3) if values else None,
    }

"""Origins and destinations of objects among lines and zones.

The origin of an object is the first line or zone that it met, and its destination is the last one. An object meets a
line, with a direction, when it crosses it. It meets a zone when it comes in or is first seen inside. An object that met
one line or zone once has a destination and no origin. With lines across the arms of a junction, the counts by origin
and destination are its turning movements.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from countline_counting.events import Crossing, Visit


class Meeting(NamedTuple):
    """One object at one line or zone. Meetings sort by time, and by name at the same time."""

    t: float
    """When the object crossed, or came in."""
    name: str
    """`line:gate:in`, `zone:yard`."""
    left_at: float
    """When the object crossed, or was last inside."""
    class_id: int


def meeting(event: Crossing | Visit) -> Meeting:
    """Return the meeting that an event describes."""
    if isinstance(event, Crossing):
        return Meeting(event.t, f"line:{event.line_id}:{event.direction.value}", event.t, event.class_id)
    return Meeting(event.entered_at, f"zone:{event.zone_id}", event.entered_at + event.dwell_s, event.class_id)


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """Objects of one class that went from one line or zone to another."""

    origin: str
    """Empty for objects that met only one line or zone."""
    destination: str
    class_id: int
    count: int
    mean_s: float | None
    """Mean time from leaving the origin to reaching the destination; 0 if one lies in the other, None without an
    origin."""


class Flows:
    """Adds up the flows of a camera, run by run. The events of a run may come in any order."""

    def __init__(self) -> None:
        self._ways: dict[int, tuple[Meeting, Meeting, int]] = {}
        """By track of the present run: first meeting, last meeting, number of meetings."""
        self._ended: dict[tuple[str, str, int], list[float]] = defaultdict(list)

    def add(self, event: Crossing | Visit) -> None:
        """Add a counted event."""
        met = meeting(event)
        first, last, count = self._ways.get(event.track, (met, met, 0))
        self._ways[event.track] = min(first, met), max(last, met), count + 1

    def end_run(self) -> None:
        """End the run, because track numbers of the next run name other objects."""
        for first, last, count in self._ways.values():
            origin = first.name if count > 1 else ""
            self._ended[origin, last.name, last.class_id].append(max(0.0, last.t - first.left_at))
        self._ways.clear()

    def total(self) -> tuple[Flow, ...]:
        """Return the flows of the ended runs, ordered by names."""
        return tuple(
            Flow(origin, destination, class_id, len(times), sum(times) / len(times) if origin else None)
            for (origin, destination, class_id), times in sorted(self._ended.items())
        )


def matrix(flows: Iterable[tuple[str, str, int]]) -> tuple[list[str], list[str], list[list[int]]]:
    """Return (origin, destination, count) as a table: names of rows, names of columns, counts.

    Rows are origins and columns are destinations. Pairs without objects have 0.
    """
    cells: dict[tuple[str, str], int] = defaultdict(int)
    for origin, destination, count in flows:
        cells[origin, destination] += count
    rows = sorted({origin for origin, _ in cells})
    columns = sorted({destination for _, destination in cells})
    return rows, columns, [[cells.get((row, column), 0) for column in columns] for row in rows]

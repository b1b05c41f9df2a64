"""Where do objects come from and where do they go to? Origins and destinations among lines and zones.

The origin of an object is the first line or zone that it met, its destination the last one. It meets a line, with a
direction, when it crosses it, and a zone when it comes in (or is first seen inside). An object that met one thing once
has a destination and no origin. With two lines or more across the arms of a junction, counts by origin and destination
are its turning movements.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from countline_counting.events import Crossing, Visit


class Meeting(NamedTuple):
    """One object at one line or zone; in the order of time, and at one moment in that of names."""

    t: float
    """When it crossed, or came in."""
    name: str
    """`line:gate:in`, `zone:yard`."""
    left_at: float
    """When it crossed, or was last inside."""
    class_id: int


def meeting(event: Crossing | Visit) -> Meeting:
    """Return what an event says of where an object was."""
    if isinstance(event, Crossing):
        return Meeting(event.t, f"line:{event.line_id}:{event.direction.value}", event.t, event.class_id)
    return Meeting(event.entered_at, f"zone:{event.zone_id}", event.entered_at + event.dwell_s, event.class_id)


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """Objects of one class that went from one line or zone to another."""

    origin: str
    """Empty for objects that met one thing alone."""
    destination: str
    class_id: int
    count: int
    mean_s: float | None
    """Mean time from leaving the origin to reaching the destination, 0 where the one lies in the other; None without an
    origin."""


class Flows:
    """Adds up flows over the events of a camera, run by run; they may come in any order."""

    def __init__(self) -> None:
        self._ways: dict[int, tuple[Meeting, Meeting, int]] = {}
        """By track of the present run: first and last meeting, and how many there were."""
        self._ended: dict[tuple[str, str, int], list[float]] = defaultdict(list)

    def add(self, event: Crossing | Visit) -> None:
        """Add what was counted."""
        met = meeting(event)
        first, last, count = self._ways.get(event.track, (met, met, 0))
        self._ways[event.track] = min(first, met), max(last, met), count + 1

    def end_run(self) -> None:
        """Number objects anew from now on: the tracks of another run are others."""
        for first, last, count in self._ways.values():
            origin = first.name if count > 1 else ""
            self._ended[origin, last.name, last.class_id].append(max(0.0, last.t - first.left_at))
        self._ways.clear()

    def total(self) -> tuple[Flow, ...]:
        """Return the flows of the runs that have ended, in the order of names."""
        return tuple(
            Flow(origin, destination, class_id, len(times), sum(times) / len(times) if origin else None)
            for (origin, destination, class_id), times in sorted(self._ended.items())
        )


def matrix(flows: Iterable[tuple[str, str, int]]) -> tuple[list[str], list[str], list[list[int]]]:
    """Return (origin, destination, count) as a table: names of its rows, names of its columns, and the counts.

    Rows are origins and columns destinations; pairs that were not met have 0.
    """
    cells: dict[tuple[str, str], int] = defaultdict(int)
    for origin, destination, count in flows:
        cells[origin, destination] += count
    rows = sorted({origin for origin, _ in cells})
    columns = sorted({destination for _, destination in cells})
    return rows, columns, [[cells.get((row, column), 0) for column in columns] for row in rows]

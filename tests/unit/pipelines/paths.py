"""Trajectories for tests of counting: a box is named by where it stands."""

from collections.abc import Iterable, Sequence

import numpy as np

from countline_pipelines.counting import CameraCounter, CountingSpec, Crossing, Event, Identity, Line, Zone
from countline_pipelines.types import TrackedFrame

SIZE = (1280, 720)
HEIGHT = 80.0
IDENTITY = Identity("camera", 0, "run")

Spot = tuple[int, float, float]
"""Track id and the bottom-centre of its box in pixels."""


def norm(*points):
    return tuple((x / SIZE[0], y / SIZE[1]) for x, y in points)


GATE = Line("gate", norm((300, 360), (900, 360)))
ROOM = Zone("room", norm((400, 200), (800, 200), (800, 500), (400, 500)))


def spec(*, lines: Sequence[Line] = (GATE,), zones: Sequence[Zone] = (), anchor=(0.5, 1.0)) -> CountingSpec:
    return CountingSpec(tuple(lines), tuple(zones), anchor)


def tracked(index: int, t: float, spots: Iterable[Spot], class_id: int = 0, size=SIZE) -> TrackedFrame:
    spots = list(spots)
    boxes = [[x - 20, y - HEIGHT, x + 20, y] for _, x, y in spots]
    return TrackedFrame(
        "camera",
        index,
        t,
        size,
        np.array([track for track, _, _ in spots], dtype=np.int64),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.full(len(spots), 0.9),
        np.full(len(spots), class_id, dtype=np.int64),
    )


def events_of(frames: Iterable[tuple[float, Sequence[Spot]]], counting: CountingSpec | None = None) -> list[Event]:
    counter = CameraCounter(IDENTITY, counting or spec(), tracked=True)
    found: list[Event] = []
    for index, (t, spots) in enumerate(frames):
        found += counter.update_tracked(tracked(index, t, spots)).events
    return [*found, *counter.flush()]


def crossed(events: Iterable[Event]) -> list[Crossing]:
    return [event for event in events if isinstance(event, Crossing)]


def crossings(frames, counting=None) -> list[Crossing]:
    return crossed(events_of(frames, counting))


def totals(frames, counting=None) -> tuple[int, int]:
    """In and out."""
    directions = [event.direction.value for event in crossings(frames, counting)]
    return directions.count("in"), directions.count("out")


def heights(ys: Sequence[float], fps: float = 10.0, x: float = 600.0, track: int = 1):
    """One object that stands at these heights, frame by frame."""
    return [(i / fps, [(track, x, y)]) for i, y in enumerate(ys)]


def ramp(start: float, end: float, steps: int) -> list[float]:
    return np.linspace(start, end, steps).tolist()

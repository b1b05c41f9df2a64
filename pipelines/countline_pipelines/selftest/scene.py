"""Scenes of a few lines of text, and the frames that they produce.

A mover follows waypoints (second, x, y) at even speed. It can jitter, be hidden, jump for single frames, and get new
ids. Everything is computed from the case alone, so a case is the same on every machine.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from countline_counting.frames import TrackedFrame

SIZE_WH = (1280, 720)
GATE = ((300.0, 360.0), (900.0, 360.0))
"""The line of most cases: level, in the middle; downwards is in."""

Spot = tuple[float, float]
Waypoint = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Mover:
    """One object."""

    path: Sequence[Waypoint]
    """(second, x, y) of its bottom-centre; the mover exists from the first to the last."""
    size_wh: tuple[float, float] = (40.0, 80.0)
    jitter_px: float = 0.0
    """Uniform noise of its position, in both directions."""
    box_noise: float = 0.0
    """Standard deviation of the place and of the size of its box along each axis, as a share of that size."""
    jumps: Sequence[tuple[float, float, float]] = ()
    """(second, dx, dy): one frame at or after that second shows it elsewhere."""
    hidden: Sequence[tuple[float, float]] = ()
    """Spans of seconds in which it is not detected."""
    new_id_at: Sequence[float] = ()
    """Seconds at which it gets a new id."""
    new_id_every_s: float = 0.0
    class_ids: Sequence[int] = (0,)
    """Its classes, frame by frame, repeated."""
    doubled: bool = False
    """Whether a second box with its own id lies on it."""
    doubled_class: int | None = None
    """Class of the second box; None for the same class."""
    doubled_share: float = 1.0
    """How much of the height the second box has; 1 for the same box, a pixel beside the first."""
    doubled_below: bool = False
    """Whether the second box is cut short from the top, not from the bottom."""
    cut: bool = False
    """Whether the picture's border cuts its box off; otherwise boxes may lie outside."""
    feet_hidden: Sequence[tuple[float, float]] = ()
    """(second, share): how much of its height something in the picture hides from below. The share changes evenly."""
    score: float = 0.9
    fps: float = 0.0
    """Detection rate, lower than the camera's; 0 for every frame."""


@dataclass(frozen=True, slots=True)
class Case:
    """One scene with its true counts."""

    name: str
    remark: str
    """What the case tests, and which methods get it wrong."""
    movers: Sequence[Mover]
    expect: Mapping[str, tuple[int, int]]
    """True (in, out) by line; for a zone (entries, exits)."""
    lines: Mapping[str, Sequence[Spot]] = field(default_factory=lambda: {"gate": GATE})
    zones: Mapping[str, Sequence[Spot]] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    """Numbers of the classes that the lines count, as text; empty for every class."""
    anchor: tuple[float, float] = (0.5, 1.0)
    """The point of a box that is tested against lines, zones and masks."""
    masks: Mapping[str, Sequence[Spot]] = field(default_factory=dict)
    """Ignore masks."""
    min_track_age_s: float = 0.0
    min_track_score: float = 0.0
    upright: bool = False
    """Whether the scene has another meaning upside down: boxes always stand on their bottom edge."""
    fps: float = 10.0
    start_t: float = 0.0
    stalls: Sequence[tuple[float, float]] = ()
    """(second, length): no frame arrives for this time while the clock goes on; the movers wait."""
    disorder: str = ""
    """`late`, `doubled` or `swapped` frames."""
    score_scale: tuple[float, float] | None = None
    """The scene is given as detections, to be tracked, whose scores are `a + b * score`; None for tracks."""
    met_at: Sequence[float] = ()
    """True times of the crossings in seconds; empty if the case does not test when they happened."""


@dataclass(slots=True)
class _MoverState:
    """The state of a mover: its random numbers and its current id."""

    mover: Mover
    noise: random.Random
    first_id: int
    frames: int = 0
    jumped: set[int] = field(default_factory=set)

    def box(self, second: float) -> tuple[float, float, float, float] | None:
        """Return the box at that second; None when it cannot be seen."""
        mover = self.mover
        x, y = (self._along(second, axis) + self.noise.uniform(-1, 1) * mover.jitter_px for axis in (1, 2))
        for number, (at, dx, dy) in enumerate(mover.jumps):
            if second >= at - 1e-9 and number not in self.jumped:
                self.jumped.add(number)
                x, y = x + dx, y + dy
        absent = not mover.path[0][0] - 1e-9 <= second <= mover.path[-1][0] + 1e-9
        if absent or any(begin <= second < end for begin, end in mover.hidden) or self._skipped(second):
            return None
        width, height = mover.size_wh
        if mover.cut:
            return max(0, x - width / 2), max(0, y - height), min(SIZE_WH[0], x + width / 2), min(SIZE_WH[1], y)
        left, top, right, bottom = self._noisy((x - width / 2, y - height, x + width / 2, y))
        return left, top, right, bottom - self._hidden_share(second) * (bottom - top)

    def _hidden_share(self, second: float) -> float:
        points = self.mover.feet_hidden
        return float(np.interp(second, [at for at, _ in points], [share for _, share in points])) if points else 0.0

    def second_box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return the second box on the object."""
        x1, y1, x2, y2 = box
        share = self.mover.doubled_share
        if share == 1.0:
            return x1 + 1, y1 + 1, x2 + 1, y2 + 1
        if self.mover.doubled_below:
            return x1, y2 - share * (y2 - y1), x2, y2
        return x1, y1, x2, y1 + share * (y2 - y1)

    def _noisy(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        share = self.mover.box_noise
        if not share:
            return box
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        left, top = left + self.noise.gauss(0, share) * width, top + self.noise.gauss(0, share) * height
        wide, high = (size * max(0.1, 1 + self.noise.gauss(0, share)) for size in (width, height))
        return left, top, left + wide, top + high

    def _along(self, second: float, axis: int) -> float:
        path = self.mover.path
        return float(np.interp(second, [point[0] for point in path], [point[axis] for point in path]))

    def _skipped(self, second: float) -> bool:
        fps = self.mover.fps
        return bool(fps) and abs(second * fps - round(second * fps)) > 1e-6

    def id_at(self, second: float) -> int:
        """Return the id at that second."""
        mover = self.mover
        changes = sum(second >= at - 1e-9 for at in mover.new_id_at)
        if mover.new_id_every_s:
            changes += int((second - mover.path[0][0]) / mover.new_id_every_s + 1e-9)
        return self.first_id + changes

    def class_id(self) -> int:
        """Return the class of the next box."""
        self.frames += 1
        return self.mover.class_ids[(self.frames - 1) % len(self.mover.class_ids)]


def frames_of(case: Case) -> Iterator[TrackedFrame]:
    """Play a case: yield its frames in the order in which they arrive."""
    states = [
        _MoverState(mover, random.Random(f"{case.name}/{i}"), 1 + 1000 * i)  # noqa: S311  (a scene, not a secret)
        for i, mover in enumerate(case.movers)
    ]
    seconds = max(mover.path[-1][0] for mover in case.movers)
    frames = [_frame(case, states, i) for i in range(round(seconds * case.fps) + 1)]
    yield from _disordered(frames, case.disorder)


def _frame(case: Case, states: Sequence[_MoverState], index: int) -> TrackedFrame:
    second = index / case.fps
    rows: list[tuple[int, float, float, float, float, float, int]] = []
    for state in states:
        box = state.box(second)
        if box is None:
            continue
        class_id = state.class_id()
        rows.append((state.id_at(second), *box, state.mover.score, class_id))
        if state.mover.doubled:
            other = state.mover.doubled_class
            rows.append(
                (
                    state.id_at(second) + 500,
                    *state.second_box(box),
                    state.mover.score,
                    class_id if other is None else other,
                )
            )
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    waited_s = sum(length for at, length in case.stalls if second >= at)
    return TrackedFrame(
        camera_id="selftest",
        index=index,
        t=case.start_t + second + waited_s,
        size_wh=SIZE_WH,
        ids=table[:, 0].astype(np.int64),
        xyxy_px=table[:, 1:5],
        scores=table[:, 5],
        classes=table[:, 6].astype(np.int64),
    )


def _disordered(frames: Sequence[TrackedFrame], disorder: str) -> Iterator[TrackedFrame]:
    if disorder == "swapped":
        for i in range(0, len(frames), 2):
            yield from reversed(frames[i : i + 2])
        return
    for i, frame in enumerate(frames):
        yield frame
        if disorder == "doubled":
            yield frame
        if disorder == "late" and i >= 3:
            yield frames[i - 3]

"""The rules of nvdsanalytics: its key file, and when a track crosses a line or is in a region.

As in the published library of 9.1. That older ones, which are closed, do the same is an assumption.
"""

import configparser
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Point = tuple[float, float]

_MODES = {"loose": (1000, 3, None), "balanced": (3000, 10, 0.5), "strict": (6000, 20, 0.8)}
"""Smallest squared move in pixels, frames that a track must be older than, cosine with the direction."""
_WINDOW_FRAMES = 50
_FORGET_NS = 8_000_000_000
_KINDS = ("roi-filtering", "overcrowding", "line-crossing", "direction-detection")


class AnalyticsConfigError(Exception):
    """The file is none that the plugin would start with."""


@dataclass(frozen=True)
class CountLine:
    """One label with its one direction, in pixels of the frame."""

    label: str
    direction: tuple[Point, Point]
    ends: tuple[Point, Point]
    mode: str
    extended: bool
    classes: frozenset[int]


@dataclass(frozen=True)
class Region:
    """A polygon in pixels of the frame."""

    label: str
    corners: tuple[Point, ...]
    inverse: bool
    classes: frozenset[int]


@dataclass
class Config:
    """What the file says, by stream; coordinates in its own space."""

    size_wh: tuple[int, int]
    window_frames: int
    lines: dict[int, list[CountLine]] = field(default_factory=dict)
    regions: dict[int, list[Region]] = field(default_factory=dict)


def load(path: Path) -> Config:
    """Read a key file.

    Raises:
        AnalyticsConfigError: it is not there, is malformed or lacks what is needed.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # labels are written in both cases
    try:
        if not parser.read(path):
            raise AnalyticsConfigError(f"cannot read config-file {path}")
        general = parser["property"]
        size = int(general["config-width"]), int(general["config-height"])
        config = Config(size, int(general.get("obj-cnt-win-in-ms", str(_WINDOW_FRAMES))))
        for name in parser.sections():
            _add_group(config, name, dict(parser[name]))
    except (configparser.Error, KeyError, ValueError) as error:
        raise AnalyticsConfigError(f"{path}: {error}") from error
    return config


def _add_group(config: Config, name: str, keys: dict[str, str]) -> None:
    kind, _, number = name.rpartition("-stream-")
    if kind not in _KINDS or keys.get("enable", "0") not in {"1", "true"}:
        return
    stream = int(number)
    if kind == "line-crossing":
        config.lines.setdefault(stream, []).extend(_lines(keys))
    elif kind == "roi-filtering":
        config.regions.setdefault(stream, []).extend(_regions(keys))


def _lines(keys: dict[str, str]) -> Iterator[CountLine]:
    for key, value in keys.items():
        if not key.startswith("line-crossing-"):
            continue
        points = _points(value)
        if len(points) != 4:
            raise ValueError(f"{key} takes 8 numbers, has {2 * len(points)}")
        mode = keys.get("mode", "loose")
        if mode not in _MODES:
            raise ValueError(f"mode {mode} is none of {', '.join(_MODES)}")
        yield CountLine(
            key.removeprefix("line-crossing-"),
            (points[0], points[1]),
            (points[2], points[3]),
            mode,
            keys.get("extended", "1") in {"1", "true"},
            _classes(keys),
        )


def _regions(keys: dict[str, str]) -> Iterator[Region]:
    inverse = keys.get("inverse-roi", "0") in {"1", "true"}
    for key, value in keys.items():
        if key.startswith("roi-"):
            yield Region(key.removeprefix("roi-"), tuple(_points(value)), inverse, _classes(keys))


def _points(text: str) -> list[Point]:
    numbers = [int(part) for part in text.split(";") if part.strip()]
    if len(numbers) % 2:
        raise ValueError(f"an odd count of coordinates: {text}")
    return [(float(x), float(y)) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]


def _classes(keys: dict[str, str]) -> frozenset[int]:
    """Empty for all."""
    wanted = {int(part) for part in keys.get("class-id", "-1").split(";") if part.strip()}
    return frozenset() if -1 in wanted else frozenset(wanted)


@dataclass
class _Track:
    points: deque[Point]
    frames: int = 0
    seen_ns: int = 0
    fired: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Seen:
    """One object of a frame: its id, class and the bottom centre of its box in pixels."""

    object_id: int
    class_id: int
    foot: Point


@dataclass
class FrameResult:
    """What the metadata of a frame says."""

    crossed: dict[int, list[str]] = field(default_factory=dict)
    """Labels by object id."""
    inside: dict[int, list[str]] = field(default_factory=dict)
    now: Counter[str] = field(default_factory=Counter)
    total: dict[str, int] = field(default_factory=dict)
    in_regions: dict[str, int] = field(default_factory=dict)


class StreamRules:
    """The state of one pad index, from its first frame to a reload of the file: a removed camera leaves its totals."""

    def __init__(self, config: Config, stream: int, frame_wh: tuple[int, int]) -> None:
        scale = frame_wh[0] / config.size_wh[0], frame_wh[1] / config.size_wh[1]
        self._lines = [_scaled_line(line, scale) for line in config.lines.get(stream, ())]
        self._regions = [_scaled_region(region, scale) for region in config.regions.get(stream, ())]
        self._window = config.window_frames
        self._tracks: dict[int, _Track] = {}
        self._totals = {line.label: 0 for line in self._lines}

    @property
    def has_rules(self) -> bool:
        return bool(self._lines or self._regions)

    def frame(self, pts_ns: int, objects: Iterable[Seen]) -> FrameResult:
        """Look at one frame."""
        result = FrameResult(now=Counter({line.label: 0 for line in self._lines}))
        result.in_regions = {region.label: 0 for region in self._regions}
        for each in objects:
            self._look_at(each, pts_ns, result)
        for label, count in result.now.items():
            self._totals[label] += count
        result.total = dict(self._totals)
        self._tracks = {key: track for key, track in self._tracks.items() if pts_ns - track.seen_ns <= _FORGET_NS}
        return result

    def _look_at(self, each: Seen, pts_ns: int, result: FrameResult) -> None:
        track = self._tracks.setdefault(each.object_id, _Track(deque(maxlen=max(1, self._window))))
        before = _oldest(track.points)
        track.points.append(each.foot)
        track.frames, track.seen_ns = track.frames + 1, pts_ns
        for line in self._lines:
            if (
                _is_meant(line.classes, each.class_id)
                and before is not None
                and _crosses(line, track, before, each.foot)
            ):
                track.fired.add(line.label)
                result.now[line.label] += 1
                result.crossed.setdefault(each.object_id, []).append(line.label)
        for region in self._regions:
            if _is_meant(region.classes, each.class_id) and _contains(region.corners, each.foot) != region.inverse:
                result.in_regions[region.label] += 1
                result.inside.setdefault(each.object_id, []).append(region.label)


def _is_meant(classes: frozenset[int], class_id: int) -> bool:
    return not classes or class_id in classes


def _oldest(points: deque[Point]) -> Point | None:
    """The mean of the four oldest positions, of the two oldest of a young track."""
    if not points:
        return None
    chosen = list(points)[: 4 if len(points) >= 4 else 2]
    return sum(x for x, _ in chosen) / len(chosen), sum(y for _, y in chosen) / len(chosen)


def _crosses(line: CountLine, track: _Track, before: Point, now: Point) -> bool:
    least, age, cosine = _MODES[line.mode]
    move = now[0] - before[0], now[1] - before[1]
    if line.label in track.fired or track.frames <= age or move[0] ** 2 + move[1] ** 2 <= least:
        return False
    along = line.direction[1][0] - line.direction[0][0], line.direction[1][1] - line.direction[0][1]
    wanted = _cross(_vector(*line.ends), along)
    old, new = (_cross(_vector(*line.ends), _vector(line.ends[0], point)) for point in (before, now))
    if old * new >= 0 or new * wanted <= 0:
        return False
    if cosine is not None and _cosine(move, along) < cosine:
        return False
    return line.extended or _touches(line.ends, before, now)


def _vector(start: Point, end: Point) -> Point:
    return end[0] - start[0], end[1] - start[1]


def _cross(one: Point, other: Point) -> float:
    return one[0] * other[1] - one[1] * other[0]


def _cosine(one: Point, other: Point) -> float:
    return (one[0] * other[0] + one[1] * other[1]) / (math.hypot(*one) * math.hypot(*other) or 1.0)


def _touches(ends: tuple[Point, Point], before: Point, now: Point) -> bool:
    """Whether both ends of the line lie on different sides of the movement."""
    move = _vector(before, now)
    return _cross(move, _vector(before, ends[0])) * _cross(move, _vector(before, ends[1])) <= 0


def _contains(corners: tuple[Point, ...], point: Point) -> bool:
    """By casting a ray to the right."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (y1 > point[1]) != (y2 > point[1]) and point[0] < x1 + (point[1] - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside


def _scaled(points: Iterable[Point], scale: tuple[float, float]) -> tuple[Point, ...]:
    return tuple((x * scale[0], y * scale[1]) for x, y in points)


def _scaled_line(line: CountLine, scale: tuple[float, float]) -> CountLine:
    direction, ends = _scaled(line.direction, scale), _scaled(line.ends, scale)
    return CountLine(
        line.label, (direction[0], direction[1]), (ends[0], ends[1]), line.mode, line.extended, line.classes
    )


def _scaled_region(region: Region, scale: tuple[float, float]) -> Region:
    return Region(region.label, _scaled(region.corners, scale), region.inverse, region.classes)

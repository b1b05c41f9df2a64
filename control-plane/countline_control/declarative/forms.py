"""The forms in which a file writes values, both ways. Drawings have the grammar of the command line."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from countline_common.times import parse_rfc3339, rfc3339
from countline_control.cameras.domain import (
    GeoPosition,
    GroundPoint,
    LineSpec,
    MaskSpec,
    Point,
    ZoneSpec,
)
from countline_control.declarative.documents import FileReader, read_node
from countline_counting import text as grammar
from countline_counting.errors import GrammarError
from countline_counting.spec import MaskKind

Plain = str | float | list[str] | None
"""A value of YAML."""


@dataclass(frozen=True, slots=True)
class ValueForm:
    """How one kind of value is read and written."""

    read: Callable[[str], Any]
    """Of one text. Raises `ValueError` with what is wrong."""
    write: Callable[[Any], str | float]
    """Of one value."""
    is_list: bool = False
    """A field holds several of them, as a tuple."""

    def value_of(self, reader: FileReader, node: yaml.Node, what: str) -> Any:
        """Read a node; None, with a problem, if that is not possible."""
        if not self.is_list:
            return self._one(reader, node, what)
        if not isinstance(node, yaml.SequenceNode):
            reader.report(node, f"{what} must be a list")
            return None
        values = [self._one(reader, item, what) for item in node.value]
        return None if None in values else tuple(values)

    def _one(self, reader: FileReader, node: yaml.Node, what: str) -> Any:
        try:
            return read_node(node, self.read)
        except GrammarError as error:
            reader.report(node, f"{what}: {error}; {error.hint}")
        except ValueError as error:
            reader.report(node, f"{what}: {error}")
        return None

    def plain(self, value: Any) -> Plain:
        """Return a value as YAML writes it."""
        if value is None:
            return None
        return [str(self.write(item)) for item in value] if self.is_list else self.write(value)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is not a number")
    return value


def _time(text: str) -> float:
    try:
        moment = parse_rfc3339(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"{text[:40]!r} is not a time; write RFC 3339 with an offset, such as 2026-03-01T12:00:00+01:00"
        )
    return moment.timestamp()


def _position(text: str) -> GeoPosition:
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError:
        message = f"{text[:40]!r} is not a position; write LATITUDE,LONGITUDE in degrees, such as 52.52,13.405"
        raise ValueError(message) from None
    return GeoPosition(latitude, longitude)


def _line(text: str) -> LineSpec:
    drawing = grammar.read_line(text, "line")
    return LineSpec(drawing.name, drawing.points, drawing.classes)


def _zone(text: str) -> ZoneSpec:
    drawing = grammar.read_zone(text, "zone")
    return ZoneSpec(drawing.name, drawing.points, drawing.classes)


def _queue(text: str) -> ZoneSpec:
    drawing = grammar.read_zone(text, "queue")
    return ZoneSpec(drawing.name, drawing.points, drawing.classes, queue=True)


def _mask(kind: MaskKind) -> Callable[[str], MaskSpec]:
    def read(text: str) -> MaskSpec:
        drawing = grammar.read_mask(text, "--mask")
        return MaskSpec(drawing.name, drawing.points, kind)

    return read


def _drawn(name: str, points: Iterable[Point], classes: Sequence[str] = ()) -> str:
    return ":".join([name, grammar.write_points(points), *([",".join(classes)] if classes else [])])


def _ground(text: str) -> GroundPoint:
    image, (x_m, y_m) = grammar.read_ground_point(text, "ground")
    return GroundPoint(image, x_m, y_m)


def _written_zone(zone: ZoneSpec) -> str:
    return _drawn(zone.zone_id, zone.polygon, zone.classes)


def _written_mask(mask: MaskSpec) -> str:
    return _drawn(mask.mask_id, mask.polygon)


def word(words: Mapping[str, Any]) -> ValueForm:
    """Return the form of one of several words."""

    def read(text: str) -> Any:
        if text not in words:
            raise ValueError(f"{text[:40]!r} is none of {', '.join(words)}")
        return words[text]

    written = {value: name for name, value in words.items()}
    return ValueForm(read, lambda value: written.get(value, ""))


TEXT: Final = ValueForm(str, str)
TEXTS: Final = ValueForm(str, str, is_list=True)
NUMBER: Final = ValueForm(_number, lambda value: int(value) if float(value).is_integer() else value)
TIME: Final = ValueForm(_time, rfc3339)
POSITION: Final = ValueForm(_position, lambda value: grammar.write_points([(value.latitude, value.longitude)]))
ANCHOR: Final = ValueForm(lambda text: grammar.read_anchor(text, "anchor"), lambda value: grammar.write_points([value]))
GROUND: Final = ValueForm(
    _ground, lambda value: grammar.write_ground_point(value.image, (value.x_m, value.y_m)), is_list=True
)
LINES: Final = ValueForm(_line, lambda line: _drawn(line.line_id, line.points, line.classes), is_list=True)
ZONES: Final = ValueForm(_zone, _written_zone, is_list=True)
QUEUES: Final = ValueForm(_queue, _written_zone, is_list=True)
INCLUDE_MASKS: Final = ValueForm(_mask(MaskKind.INCLUDE), _written_mask, is_list=True)
IGNORE_MASKS: Final = ValueForm(_mask(MaskKind.IGNORE), _written_mask, is_list=True)

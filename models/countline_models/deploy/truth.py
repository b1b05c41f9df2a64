"""What is true of a golden clip, and whether a count fits it; pure.

Three ways of writing it down are read: our own,

    {"lines": {"NAME": {"points": [[x, y], ...], "in": n, "out": n}}, "tolerance": share, "classes": ["person"]}

with points normalised, 0..1; the JSON that `countline models render-demo` writes beside a clip; and that of clips which
were gone through by hand, in pixels, with the totals of each line: `positive` is in, `negative` is out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from countline_common.errors import FieldProblem, InvalidInputError

ROUNDING: Final = 1e-9
HINT: Final = (
    'write {"lines": {"NAME": {"points": [[x1, y1], [x2, y2]], "in": n, "out": n}}, "tolerance": 0.0}, '
    "with points from 0 to 1"
)


@dataclass(frozen=True, slots=True)
class TrueLine:
    """A line, and how many really crossed it."""

    points: tuple[tuple[float, float], ...]
    """Normalised 0..1, origin top-left; two or more."""
    into: int
    out: int


@dataclass(frozen=True, slots=True)
class Truth:
    """The lines of a clip by name, and how exact a count has to be."""

    lines: Mapping[str, TrueLine]
    tolerance: float = 0.0
    """Share of a line's true crossings that may be missed or made up, both directions together."""
    classes: tuple[str, ...] = ()
    """Only these count; all where it is empty."""


@dataclass(frozen=True, slots=True)
class CountedLine:
    """What was counted at a line, beside what is true."""

    line_id: str
    true_in: int
    true_out: int
    counted_in: int
    counted_out: int

    @property
    def wrong(self) -> int:
        """Crossings that were missed or made up."""
        return abs(self.counted_in - self.true_in) + abs(self.counted_out - self.true_out)


_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Count = Annotated[int, Field(ge=0, strict=True)]
_Pixels = tuple[float, float]
_Name = Annotated[str, Field(min_length=1, max_length=100)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    points: Annotated[list[tuple[_Share, _Share]], Field(min_length=2)]
    into: Annotated[_Count, Field(alias="in")]
    out: _Count


class _Ours(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lines: Annotated[dict[_Name, _Line], Field(min_length=1)]
    tolerance: _Share = 0.0
    classes: list[_Name] = []

    def truth(self) -> Truth:
        lines = {name: TrueLine(tuple(line.points), line.into, line.out) for name, line in self.lines.items()}
        return Truth(lines, self.tolerance, tuple(self.classes))


class _RenderedLine(BaseModel):
    id: _Name
    points: Annotated[list[tuple[_Share, _Share]], Field(min_length=2)]


class _RenderedCrossing(BaseModel):
    line: str
    direction: Literal["in", "out"]


class _Rendered(BaseModel):
    lines: Annotated[list[_RenderedLine], Field(min_length=1)]
    truth: list[_RenderedCrossing]

    def as_truth(self) -> Truth:
        return Truth({line.id: self._line(line) for line in self.lines})

    def _line(self, line: _RenderedLine) -> TrueLine:
        directions = [crossing.direction for crossing in self.truth if crossing.line == line.id]
        return TrueLine(tuple(line.points), directions.count("in"), directions.count("out"))


class _LineByHand(BaseModel):
    name: _Name
    a: _Pixels
    b: _Pixels


class _Totals(BaseModel):
    positive: _Count
    negative: _Count


class _ByHand(BaseModel):
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    lines: Annotated[list[_LineByHand], Field(min_length=1)]
    totals: dict[str, _Totals]

    def truth(self) -> Truth:
        return Truth({line.name: self._line(line) for line in self.lines})

    def _line(self, line: _LineByHand) -> TrueLine:
        if line.name not in self.totals:
            raise _unusable([FieldProblem(f"totals.{line.name}", "is missing")])
        width, height = self.size
        points = tuple((min(x / width, 1.0), min(y / height, 1.0)) for x, y in (line.a, line.b))
        return TrueLine(points, self.totals[line.name].positive, self.totals[line.name].negative)


def parse_truth(text: str) -> Truth:
    """Read what is true of a clip.

    Raises:
        InvalidInputError: it cannot be read; names the fields.
    """
    try:
        told: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            f"the truth of the clip is no JSON: {error.msg} in line {error.lineno}, column {error.colno}", hint=HINT
        ) from error
    try:
        return _read(told)
    except ValidationError as error:
        raise _unusable([FieldProblem(_path(each["loc"]), _lowered(each["msg"])) for each in error.errors()]) from error


def _read(told: Any) -> Truth:
    if isinstance(told, dict) and isinstance(told.get("lines"), list):
        return _Rendered.model_validate(told).as_truth() if "truth" in told else _ByHand.model_validate(told).truth()
    return _Ours.model_validate(told).truth()


def _unusable(problems: Sequence[FieldProblem]) -> InvalidInputError:
    shown = "; ".join(f"{problem.field or 'it'}: {problem.message}" for problem in problems[:3])
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return InvalidInputError(f"the truth of the clip: {shown}{more}", hint=HINT, fields=tuple(problems))


def _path(steps: tuple[int | str, ...]) -> str:
    """A place in JSON as people write it.

    >>> _path(("lines", "door", "points", 1, 0))
    'lines.door.points[1][0]'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def golden_problem(lines: Sequence[CountedLine], truth: Truth) -> str | None:
    """Which lines counted what instead of what; None where all counts are within the tolerance."""
    counted = {line.line_id: line for line in lines}
    problems = [f"line {name!r} was not counted" for name in truth.lines if name not in counted]
    problems += [_wrong(line) for line in lines if line.wrong > _allowed(line, truth.tolerance)]
    if not problems:
        return None
    allowed = f"; {truth.tolerance:.0%} of a line's crossings may be wrong" if truth.tolerance else ""
    return "; ".join(problems) + allowed


def _allowed(line: CountedLine, tolerance: float) -> float:
    return tolerance * (line.true_in + line.true_out) + ROUNDING


def _wrong(line: CountedLine) -> str:
    counted, true = f"{line.counted_in} in and {line.counted_out} out", f"{line.true_in} in and {line.true_out} out"
    return f"line {line.line_id!r} counted {counted} instead of {true}"

"""Reads the truth of a golden clip.

Three forms are accepted. The first is our own, with points normalised, 0..1:

    {"lines": {"NAME": {"points": [[x, y], ...], "in": n, "out": n}}, "tolerance": share, "classes": ["person"]}

The second is the JSON that `countline models render-demo` writes beside a clip. The third is that of clips annotated by
hand: points in pixels, and totals of each line, where `positive` is in and `negative` is out.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.untrusted_json import parse_json
from countline_models.deploy.truth import ClipLine, ClipTruth

HINT: Final = (
    'write {"lines": {"NAME": {"points": [[x1, y1], [x2, y2]], "in": n, "out": n}}, "tolerance": 0.0}, '
    "with points from 0 to 1"
)

_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Count = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]
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

    def truth(self) -> ClipTruth:
        lines = {name: ClipLine(tuple(line.points), line.into, line.out) for name, line in self.lines.items()}
        return ClipTruth(lines, self.tolerance, tuple(self.classes))


class _RenderedLine(BaseModel):
    id: _Name
    points: Annotated[list[tuple[_Share, _Share]], Field(min_length=2)]


class _RenderedCrossing(BaseModel):
    line: str
    direction: Literal["in", "out"]


class _Rendered(BaseModel):
    lines: Annotated[list[_RenderedLine], Field(min_length=1)]
    truth: list[_RenderedCrossing]

    def as_truth(self) -> ClipTruth:
        return ClipTruth({line.id: self._line(line) for line in self.lines})

    def _line(self, line: _RenderedLine) -> ClipLine:
        directions = [crossing.direction for crossing in self.truth if crossing.line == line.id]
        return ClipLine(tuple(line.points), directions.count("in"), directions.count("out"))


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

    def truth(self) -> ClipTruth:
        return ClipTruth({line.name: self._line(line) for line in self.lines})

    def _line(self, line: _LineByHand) -> ClipLine:
        if line.name not in self.totals:
            raise _unusable([FieldProblem(f"totals.{line.name}", "is missing")])
        width, height = self.size
        points = tuple((min(x / width, 1.0), min(y / height, 1.0)) for x, y in (line.a, line.b))
        return ClipLine(points, self.totals[line.name].positive, self.totals[line.name].negative)


def parse_truth(text: str) -> ClipTruth:
    """Read the truth of a clip.

    Raises:
        InvalidInputError: the text is in none of the three forms; the error names the fields.
    """
    try:
        data: Any = parse_json(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            f"the truth of the clip is not JSON: {error.msg} in line {error.lineno}, column {error.colno}", hint=HINT
        ) from error
    except ValueError as error:  # nested too deeply, or a number of thousands of digits
        raise InvalidInputError(f"the truth of the clip is not JSON: {error}", hint=HINT) from error
    try:
        return _read(data)
    except ValidationError as error:
        raise _unusable([FieldProblem(_path(each["loc"]), _lowered(each["msg"])) for each in error.errors()]) from error


def _read(data: Any) -> ClipTruth:
    if isinstance(data, dict) and isinstance(data.get("lines"), list):
        return _Rendered.model_validate(data).as_truth() if "truth" in data else _ByHand.model_validate(data).truth()
    return _Ours.model_validate(data).truth()


def _unusable(problems: Sequence[FieldProblem]) -> InvalidInputError:
    shown = "; ".join(f"{problem.field or 'it'}: {problem.message}" for problem in problems[:3])
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return InvalidInputError(f"the truth of the clip: {shown}{more}", hint=HINT, fields=tuple(problems))


def _path(steps: tuple[int | str, ...]) -> str:
    """A place in JSON, written for people.

    >>> _path(("lines", "door", "points", 1, 0))
    'lines.door.points[1][0]'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]

"""True crossings without tracks, in the JSON of `countline count --json` and `replay --json`.

    {"events": [{"t": seconds, "line": "gate", "direction": "in"}, ...]}

The list may also be called `crossings`, as `countline models render-demo` writes it. Other fields are ignored.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from countline_common.errors import InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.untrusted_json import parse_json
from countline_counting.events import Crossing, Direction
from countline_counting.spec import CountingSpec

_FORM = 'write {"events": [{"t": 1.5, "line": "gate", "direction": "in"}]}, with times in seconds from the first frame'


class _TrueCrossing(BaseModel):
    t: float = Field(ge=0, allow_inf_nan=False)
    line: str
    direction: Literal["in", "out"]


class _TrueCrossings(BaseModel):
    events: list[_TrueCrossing] | None = None
    crossings: list[_TrueCrossing] | None = None


def read_true_crossings(path: Path, spec: CountingSpec) -> list[Crossing]:
    """Read the true crossings of the lines of a spec.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is not such JSON, or it names a line that is not given.
    """
    try:
        read = _TrueCrossings.model_validate(parse_json(read_text(path)))
    except ValueError as error:
        raise InvalidInputError(f"{path} holds no true crossings: {error}", hint=_FORM) from error
    rows = read.events if read.events is not None else read.crossings
    if rows is None:
        raise InvalidInputError(f"{path} holds no true crossings: `events` is missing", hint=_FORM)
    known = {line.id for line in spec.lines}
    for row in rows:
        if row.line not in known:
            raise InvalidInputError(f"{path} names the line {row.line}, which is not given", hint="give it with --line")
    return [
        Crossing("", row.line, 1, number, 0, row.t, row.t, 0, Direction(row.direction), 0, 1.0, stitched=False)
        for number, row in enumerate(rows, 1)
    ]

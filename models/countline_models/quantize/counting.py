"""Counts a clip with a model file, by `countline count` in a child process."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_common.cli.child_commands import call

COUNT_TIMEOUT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class LineCount:
    """Crossings of one line."""

    line: str
    into: int
    out: int


def count_lines(clip: Path, model: Path, lines: Sequence[str]) -> tuple[LineCount, ...]:
    """Count a clip.

    Args:
        clip: a video file.
        model: a contract model.
        lines: in the form of `countline count --line`, `NAME:x1,y1,x2,y2`.

    Raises:
        InvalidInputError: the clip cannot be counted; the message is that of `countline count`.
        DeadlineExceededError: the count takes longer than an hour.
    """
    drawn = [part for line in lines for part in ("--line", line)]
    arguments = ["count", str(clip), "--model", str(model.resolve()), *drawn, "--json"]
    output = call(*arguments, timeout_s=COUNT_TIMEOUT_S, trouble=f"{clip} cannot be counted with {model.name}")
    found = json.loads(output)["lines"]
    return tuple(LineCount(name, int(counts["in"]), int(counts["out"])) for name, counts in found.items())

"""The truth of a golden clip, and whether counts fit it; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class ClipLine:
    """A line of a clip, and its true crossings."""

    points: tuple[tuple[float, float], ...]
    """Normalised 0..1, origin top-left; two or more."""
    into: int
    out: int


@dataclass(frozen=True, slots=True)
class ClipTruth:
    """The true crossings of a clip, line by line, and the error that a count may have."""

    lines: Mapping[str, ClipLine]
    tolerance: float = 0.0
    """Share of a line's true crossings that may be missed or invented, both directions together."""
    classes: tuple[str, ...] = ()
    """Classes that count; empty means all."""


@dataclass(frozen=True, slots=True)
class CountedLine:
    """Counted and true crossings of a line."""

    line_id: str
    true_in: int
    true_out: int
    counted_in: int
    counted_out: int

    @property
    def wrong(self) -> int:
        """Number of crossings that were missed or invented."""
        return abs(self.counted_in - self.true_in) + abs(self.counted_out - self.true_out)


def golden_problem(lines: Sequence[CountedLine], truth: ClipTruth) -> str | None:
    """The lines that were counted wrongly, in words; None if all counts are within the tolerance."""
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

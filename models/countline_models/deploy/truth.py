"""What is true of a golden clip, and whether a count fits it; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
    """Share of a line's true crossings by which a count may be wrong."""
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


def parse_truth(text: str) -> Truth:
    """Read what is true of a clip.

    Raises:
        InvalidInputError: it cannot be read; names the field.
    """
    raise NotImplementedError


def golden_problem(lines: Sequence[CountedLine], truth: Truth) -> str | None:
    """Which line counted what instead of what; None where all counts are within the tolerance."""
    raise NotImplementedError

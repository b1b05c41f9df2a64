"""Judges whether eight bits pay; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from countline_models.quantize.counting import LineCount
from countline_models.quantize.effect import SpeedGain


class QuantizeVerdict(StrEnum):
    """Whether eight bits pay."""

    PAYS = "pays"
    DOES_NOT_PAY = "does not pay"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class ClipCounts:
    """Counts of both models in one clip."""

    clip: str
    in_float: tuple[LineCount, ...]
    in_int8: tuple[LineCount, ...]

    @property
    def crossings(self) -> int:
        """Number of crossings that the float model counted."""
        return sum(count.into + count.out for count in self.in_float)


def judge(speed: SpeedGain, counts: Sequence[ClipCounts]) -> tuple[QuantizeVerdict, str]:
    """The verdict and its reason. Eight bits pay only if they are faster beyond the noise and count the same.

    Args:
        speed: times of both models.
        counts: counts of each clip; empty if no line was given.
    """
    gains = f"{speed.gain:.2f} times as fast ({speed.gains[0]:.2f} to {speed.gains[-1]:.2f})"
    if not speed.is_faster:
        noise = f"{speed.noise[0]:.2f} to {speed.noise[-1]:.2f}"
        return QuantizeVerdict.DOES_NOT_PAY, f"{gains}, which is within the noise of this machine ({noise})"
    if different := [clip.clip for clip in counts if clip.in_float != clip.in_int8]:
        return QuantizeVerdict.DOES_NOT_PAY, f"{gains}, but counts differ in {', '.join(different)}"
    if not counts:
        return QuantizeVerdict.UNDECIDED, f"{gains}; its counts were not compared: use --line"
    crossings = sum(clip.crossings for clip in counts)
    if not crossings:
        return (
            QuantizeVerdict.UNDECIDED,
            f"{gains}; nothing crossed a line, so the counts show nothing: use other lines",
        )
    return QuantizeVerdict.PAYS, f"{gains}, and all {crossings} crossings are counted the same"

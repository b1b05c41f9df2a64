"""Why a near-crossing did not count: the published table, one code for each.

A *candidate* is everything that a person, or a simpler counter, could take for a crossing: each time the path of an
object meets a line, each time it touches a line and turns back, each time it goes past a line's end. Every candidate is
either a crossing or has exactly one of these reasons.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from countline_counting import rules


class Reason(StrEnum):
    """Codes; they are stable, and `REASONS` says what each means."""

    TOUCHED_ONLY = "touched_only"
    TURNED_BACK = "turned_back"
    ENDED_NEAR_THE_LINE = "ended_near_the_line"
    NEVER_CLEAR_AT_ORIGIN = "never_clear_at_origin"
    CAME_BACK_TOO_SOON = "came_back_too_soon"
    SINGLE_SAMPLE_EXCURSION = "single_sample_excursion"
    SAME_PASS = "same_pass"  # noqa: S105  (no password)
    ALREADY_BEYOND = "already_beyond"
    WENT_ROUND_THE_END = "went_round_the_end"
    CLASS_NOT_COUNTED = "class_not_counted"
    TOO_YOUNG = "too_young"
    SCORE_TOO_LOW = "score_too_low"
    UNCONFIRMED = "unconfirmed"
    BOX_SCORE_TOO_LOW = "box_score_too_low"
    MASKED = "masked"
    DUPLICATE_BOX = "duplicate_box"


REASONS: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.TOUCHED_ONLY: f"came within {rules.ORIGIN_NEAR_HEIGHTS:g} of a height of the line, never met it, and"
        " turned back or ended there",
        Reason.TURNED_BACK: f"met the line, but was back on its side before it was {rules.DESTINATION_CLEAR_HEIGHTS:g}"
        " of a height beyond: jitter, or a foot over the line",
        Reason.ENDED_NEAR_THE_LINE: "met the line, and the object, the line or the stream ended before it was clear"
        " beyond",
        Reason.NEVER_CLEAR_AT_ORIGIN: "met the line before it was known where it came from: never"
        f" {rules.ORIGIN_CLEAR_HEIGHTS:g} of a height from the line, nor {rules.ORIGIN_STAY_S:g} s beside it",
        Reason.CAME_BACK_TOO_SOON: f"over the line and back within {rules.EXCURSION_S:g} s; the way back has the same"
        " reason",
        Reason.SINGLE_SAMPLE_EXCURSION: f"seen beyond the line fewer than {rules.EXCURSION_SAMPLES} times: one bad box;"
        " the way back has the same reason",
        Reason.SAME_PASS: "the path met the line several times on the way over; one of them counts",
        Reason.ALREADY_BEYOND: "met the line again in the direction of a pass that was not decided yet",
        Reason.WENT_ROUND_THE_END: "changed side past the end of the line",
        Reason.CLASS_NOT_COUNTED: "the object's class is not one that this line counts",
        Reason.TOO_YOUNG: "the object was not seen for `min_track_age_s` when its pass had to be decided",
        Reason.SCORE_TOO_LOW: "the object's mean score was below `min_track_score`",
        Reason.UNCONFIRMED: "seen once, or twice with boxes that do not touch and low scores: taken for false"
        " detections",
        Reason.BOX_SCORE_TOO_LOW: "boxes below `min_score`, which are not used",
        Reason.MASKED: "boxes whose anchor a mask hides, which are not used",
        Reason.DUPLICATE_BOX: "a second box on an object that is counted by its first",
    }
)

"""Why a near-crossing does not count: the published table, with one code for each reason.

A *candidate* is everything that a person, or a simpler counter, could take for a crossing: each time the path of an
object meets a line, each time it comes close to a line and turns back, each time it goes past a line's end. Every
candidate is a crossing or has exactly one of these reasons.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from countline_counting import rules


class Reason(StrEnum):
    """Codes. They are stable; `REASONS` gives their meanings."""

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
        Reason.TOUCHED_ONLY: f"came within {rules.ORIGIN_NEAR_HEIGHTS:g} heights of the line, never met it, and turned"
        " back or ended there",
        Reason.TURNED_BACK: "met the line, but was back on its side before it was"
        f" {rules.DESTINATION_CLEAR_HEIGHTS:g} heights beyond: jitter, or a foot over the line",
        Reason.ENDED_NEAR_THE_LINE: "met the line, and the object, the line or the stream ended before the object was"
        " clear beyond",
        Reason.NEVER_CLEAR_AT_ORIGIN: "met the line before its side was known: it was never"
        f" {rules.ORIGIN_CLEAR_HEIGHTS:g} heights from the line, nor beside it for {rules.ORIGIN_STAY_S:g} s, nor came"
        " evenly over it",
        Reason.CAME_BACK_TOO_SOON: f"went over the line and back within {rules.EXCURSION_S:g} s; the way back has the"
        " same reason",
        Reason.SINGLE_SAMPLE_EXCURSION: f"seen beyond the line fewer than {rules.EXCURSION_SAMPLES} times: one bad box;"
        " the way back has the same reason",
        Reason.SAME_PASS: "the path met the line several times on the way over; one of them counts",
        Reason.ALREADY_BEYOND: "met the line again in the direction of a pass that was not decided yet",
        Reason.WENT_ROUND_THE_END: "changed sides past the end of the line",
        Reason.CLASS_NOT_COUNTED: "the line does not count the object's class",
        Reason.TOO_YOUNG: "the object was seen for less than `min_track_age_s` when its pass had to be decided",
        Reason.SCORE_TOO_LOW: "the object's mean score was below `min_track_score`",
        Reason.UNCONFIRMED: "seen once, or twice with low scores and boxes that do not touch: taken for false"
        " detections",
        Reason.BOX_SCORE_TOO_LOW: "the boxes' scores are below `min_score`, so counting does not use them",
        Reason.MASKED: "a mask hides the boxes' anchors, so counting does not use them",
        Reason.DUPLICATE_BOX: "a second box on an object that its first box already counts",
    }
)

"""What an object must be, besides its path, for a line to count it: of a class, seen for long enough, sure enough."""

from collections.abc import Iterator

from countline_counting.explain.explainer import Gate
from countline_counting.objects.table import Objects
from countline_counting.rule.lines import TIME_SLACK_S
from countline_counting.rule.reasons import Reason
from countline_counting.spec import CountingSpec


def objection(
    spec: CountingSpec, counted: frozenset[int] | None, class_id: int, age_s: float, score: float
) -> Reason | None:
    """Return why an object does not count at a line; None where it does.

    Args:
        spec: the least age and score.
        counted: class ids that the line counts; None for all.
        class_id: by the whole life of the object.
        age_s: from its first sight to its last.
        score: mean of its boxes.
    """
    if age_s < spec.min_track_age_s - TIME_SLACK_S:
        return Reason.TOO_YOUNG
    if counted is not None and class_id not in counted:
        return Reason.CLASS_NOT_COUNTED
    if score < spec.min_track_score:
        return Reason.SCORE_TOO_LOW
    return None


def age_of(objects: Objects, slot: int) -> float:
    """Return how long an object was seen, in seconds."""
    return float(objects["last_t"][slot] - objects["first_t"][slot])


def gates(
    spec: CountingSpec, counted: frozenset[int] | None, class_id: int, age_s: float, score: float
) -> Iterator[Gate]:
    """Yield what was measured, for the explanation."""
    if spec.min_track_age_s:
        passed = age_s >= spec.min_track_age_s - TIME_SLACK_S
        yield Gate("track seconds", age_s, spec.min_track_age_s, passed)
    if counted is not None:
        yield Gate("class", class_id, min(counted, default=-1), class_id in counted)
    if spec.min_track_score:
        yield Gate("track score", score, spec.min_track_score, score >= spec.min_track_score)

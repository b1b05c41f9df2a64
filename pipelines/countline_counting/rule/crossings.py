"""From passes to crossings: which objects count at a line, and the event for each pass that counts."""

from collections.abc import Iterable

from countline_counting import rules
from countline_counting.events import Crossing
from countline_counting.geometry.ground import travel
from countline_counting.identity import Identity, event_id
from countline_counting.objects.doubles import Second
from countline_counting.objects.table import Objects
from countline_counting.reasons import Reason
from countline_counting.rule.facts import Listener, PassJudged
from countline_counting.rule.passes import Pass
from countline_counting.spec import CountingSpec, Line


def objection(
    spec: CountingSpec, classes: frozenset[int] | None, class_id: int, age_s: float, score: float
) -> Reason | None:
    """Return why an object does not count at a line; None if it counts.

    Args:
        spec: sets the least age and score.
        classes: class ids that the line counts; None for all.
        class_id: by the whole life of the object.
        age_s: from its first sight to its last.
        score: mean of its boxes.
    """
    if age_s < spec.min_track_age_s - rules.TIME_SLACK_S:
        return Reason.TOO_YOUNG
    if classes is not None and class_id not in classes:
        return Reason.CLASS_NOT_COUNTED
    if score < spec.min_track_score:
        return Reason.SCORE_TOO_LOW
    return None


class CrossingJudge:
    """Decides which passes are crossings. A pass whose object is too young waits until the object is old enough.

    Args:
        identity: whose tracks these are.
        size_wh: size of the picture in pixels.
        objects: the table that rows refer to.
        listener: receives a `PassJudged` for each pass.
    """

    def __init__(
        self, identity: Identity, size_wh: tuple[int, int], objects: Objects, listener: Listener | None
    ) -> None:
        self._identity = identity
        self._size_wh = size_wh
        self._objects = objects
        self._listener = listener
        self._young: list[tuple[Line, int, Pass]] = []
        """(line, row, pass) of objects that were not seen for long enough yet, or may be second boxes."""

    def judge(
        self,
        spec: CountingSpec,
        classes: frozenset[int] | None,
        line: Line,
        passes: Iterable[tuple[int, Pass]],
        now: float,
        *,
        at_end: bool = False,
    ) -> list[Crossing]:
        """Return the crossings among (row, pass) of one line.

        Args:
            spec: what the camera counts.
            classes: class ids that the line counts; None for all.
            line: where the passes were made.
            passes: certain passes.
            now: capture time of the newest frame.
            at_end: whether the objects have ended and will not grow older.
        """
        objects, crossings = self._objects, list[Crossing]()
        for row, made in passes:
            class_id, age_s, score = objects.class_of(row), objects.age_of(row), objects.score_of(row)
            second = objects["second"][row]
            is_second = Reason.DUPLICATE_BOX if second == Second.YES else None
            reason = is_second or objection(spec, classes, class_id, age_s, score)
            can_wait = now - made.t < rules.DECIDE_LATEST_S - rules.TIME_SLACK_S and not at_end
            if can_wait and (reason is Reason.TOO_YOUNG or (reason is None and second == Second.MAYBE)):
                self._young.append((line, row, made))
                continue
            name = ""
            if reason is None:
                crossing = self._crossing(spec, line, row, made, now)
                crossings.append(crossing)
                name = crossing.id
            if self._listener is not None:
                self._listener(PassJudged(line, classes, row, made, class_id, age_s, score, reason, name))
        return crossings

    def take_all_young(self) -> list[tuple[Line, int, Pass]]:
        """Remove and return (line, row, pass) of the waiting passes, to be judged again."""
        young, self._young = self._young, []
        return young

    def take_young(self, line: Line, row: int) -> list[Pass]:
        """Remove and return the waiting passes of one object at one line."""
        if not self._young:
            return []
        taken = [made for of, young, made in self._young if young == row and of == line]
        self._young = [entry for entry in self._young if entry[1] != row or entry[0] != line]
        return taken

    def _crossing(self, spec: CountingSpec, line: Line, row: int, made: Pass, now: float) -> Crossing:
        objects = self._objects
        track = int(objects["number"][row])
        moving = travel(objects["shown"][row], made.t, spec.ground, self._size_wh)
        return Crossing(
            id=event_id(self._identity, "line", line.id, line.version, track, made.sequence),
            line_id=line.id,
            line_version=line.version,
            track=track,
            sequence=made.sequence,
            t=made.t,
            decided_at=now,
            frame=made.frame,
            direction=made.direction,
            class_id=objects.class_of(row),
            score=objects.score_of(row),
            stitched=bool(objects["stitched"][row]),
            speed_m_per_s=moving.speed_m_per_s,
            heading_deg=moving.heading_deg,
        )

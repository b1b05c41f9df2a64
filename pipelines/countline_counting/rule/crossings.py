"""From passes to crossings: which objects count at a line, and the event for each pass that counts."""

from collections.abc import Iterable

from countline_counting import rules
from countline_counting.events import Crossing, Identity, event_id
from countline_counting.geometry.ground import travel
from countline_counting.objects.table import Objects
from countline_counting.reasons import Reason
from countline_counting.rule.facts import Listener, PassJudged
from countline_counting.rule.passes import Pass
from countline_counting.spec import CountingSpec, Line


def objection(spec: CountingSpec, line: Line, class_id: int, age_s: float, score: float) -> Reason | None:
    """Return why an object does not count at a line; None if it counts.

    Args:
        spec: sets the least age and score.
        line: sets the classes.
        class_id: by the whole life of the object.
        age_s: from its first sight to its last.
        score: mean of its boxes.
    """
    if age_s < spec.min_track_age_s - rules.TIME_SLACK_S:
        return Reason.TOO_YOUNG
    if line.classes is not None and class_id not in line.classes:
        return Reason.CLASS_NOT_COUNTED
    if score < spec.min_track_score:
        return Reason.SCORE_TOO_LOW
    return None


class CrossingJudge:
    """Decides which passes are crossings. A pass whose object is too young waits until the object is old enough.

    Args:
        identity: whose tracks these are.
        objects: the table that rows refer to.
        listener: receives a `PassJudged` for each pass.
    """

    def __init__(self, identity: Identity, objects: Objects, listener: Listener | None) -> None:
        self._identity = identity
        self._objects = objects
        self._listener = listener
        self._young: list[tuple[Line, int, Pass]] = []
        """(line, row, pass) of objects that were not seen for long enough yet."""

    def judge(
        self,
        spec: CountingSpec,
        size_wh: tuple[int, int],
        line: Line,
        passes: Iterable[tuple[int, Pass]],
        now: float,
        *,
        at_end: bool = False,
    ) -> list[Crossing]:
        """Return the crossings among (row, pass) of one line.

        Args:
            spec: what the camera counts.
            size_wh: size of the picture in pixels.
            line: where the passes were made.
            passes: certain passes.
            now: capture time of the newest frame.
            at_end: whether the objects have ended and will not grow older.
        """
        objects, crossings = self._objects, list[Crossing]()
        for row, made in passes:
            class_id, age_s, score = objects.class_of(row), objects.age_of(row), objects.score_of(row)
            reason = objection(spec, line, class_id, age_s, score)
            can_wait = now - made.t < rules.DECIDE_LATEST_S - rules.TIME_SLACK_S and not at_end
            if reason is Reason.TOO_YOUNG and can_wait:
                self._young.append((line, row, made))
                continue
            name = ""
            if reason is None:
                crossing = self._crossing(spec, size_wh, line, row, made, now)
                crossings.append(crossing)
                name = crossing.id
            if self._listener is not None:
                self._listener(PassJudged(line, row, made, class_id, age_s, score, reason, name))
        return crossings

    def judge_young(self, spec: CountingSpec, size_wh: tuple[int, int], now: float) -> list[Crossing]:
        """Judge the waiting passes again."""
        young, self._young = self._young, []
        return [
            crossing for line, row, made in young for crossing in self.judge(spec, size_wh, line, [(row, made)], now)
        ]

    def take_young(self, line: Line, row: int) -> list[Pass]:
        """Remove and return the waiting passes of one object at one line."""
        taken = [made for of, young, made in self._young if young == row and of == line]
        self._young = [entry for entry in self._young if entry[1] != row or entry[0] != line]
        return taken

    def _crossing(
        self, spec: CountingSpec, size_wh: tuple[int, int], line: Line, row: int, made: Pass, now: float
    ) -> Crossing:
        objects = self._objects
        track = int(objects["number"][row])
        moving = travel(objects["history"][row], made.t, spec.ground, size_wh)
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

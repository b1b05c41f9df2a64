"""The listener that turns the facts of one counter into the candidates of a journal."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from countline_counting import rules
from countline_counting.explain.distances import path_point
from countline_counting.explain.journal import NO_TRACK, Candidate, Gate, Journal
from countline_counting.explain.left_out import LeftOutPaths
from countline_counting.explain.passages import PassageExplainer
from countline_counting.geometry.segments import Point, PolyLine, path_crossings
from countline_counting.objects.facts import BoxesLeftOut, ObjectBegan, TrackUnconfirmed
from countline_counting.reasons import Reason
from countline_counting.rule.facts import Fact, LinesDrawn, PassageFacts, PassJudged
from countline_counting.rule.passes import direction_of
from countline_counting.spec import CountingSpec, Line


class Explainer:
    """Listens to one `CameraCounter`.

    Args:
        journal: receives the candidates. Several explainers may share it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._spec = CountingSpec()
        self._lines: dict[str, tuple[Line, PolyLine]] = {}
        self._track_of: dict[int, int] = {}
        """By row of the counter's table of objects."""
        self._passages: dict[tuple[str, int], PassageExplainer] = {}
        """By line and row."""
        self._certain: dict[tuple[str, int, int], Candidate] = {}
        """Passes that are not judged yet, by line, row and sequence."""
        self._left_out: dict[Reason, LeftOutPaths] = {}

    def __call__(self, fact: Fact) -> None:
        """Take the next fact."""
        match fact:
            case PassageFacts():
                self._take_step(fact)
            case PassJudged():
                self._judge(fact)
            case ObjectBegan():
                self._track_of[fact.row] = fact.number
            case BoxesLeftOut():
                paths = self._left_out.setdefault(fact.reason, LeftOutPaths())
                for before, after in paths.steps(fact.t, fact.xyxy_px, fact.xy_px, fact.ids):
                    self._cross(before, after, fact.reason)
            case TrackUnconfirmed():
                for before, after in pairwise(fact.path):
                    self._cross(before, after, Reason.UNCONFIRMED)
            case LinesDrawn():
                self._spec = fact.spec
                self._lines = {line.id: (line, path) for line, path in zip(fact.spec.lines, fact.paths, strict=True)}

    def _take_step(self, step: PassageFacts) -> None:
        key = step.line.id, step.row
        passage = self._passages.get(key)
        if passage is None:
            line, path = self._lines[step.line.id]
            passage = self._passages[key] = PassageExplainer(self._journal, line, path, self._track_of[step.row])
        for made, candidate in passage.take(step):
            self._certain[step.line.id, step.row, made.sequence] = candidate
        if step.ended:
            del self._passages[key]

    def _judge(self, judged: PassJudged) -> None:
        """Settle a pass: it is a crossing, or its object does not count for a reason."""
        candidate = self._certain.pop((judged.line.id, judged.row, judged.made.sequence))
        gates = (*candidate.gates, *object_gates(self._spec, judged))
        self._journal.settle(replace(candidate, reason=judged.reason, gates=gates, event_id=judged.event_id))

    def _cross(self, before: tuple[float, Point], after: tuple[float, Point], reason: Reason) -> None:
        """Settle what a step of boxes that are no object would have crossed."""
        for line, path in self._lines.values():
            for fraction, sign in path_crossings(path.points, before[1], after[1]):
                at, direction = before[0] + fraction * (after[0] - before[0]), direction_of(sign)
                self._journal.appear(line.id, direction)
                places = (path_point(path, "before", *before), path_point(path, "after", *after))
                self._journal.settle(Candidate(line.id, line.version, NO_TRACK, direction, at, reason, path=places))


def object_gates(spec: CountingSpec, judged: PassJudged) -> Iterator[Gate]:
    """Yield the gates that the object of a pass was measured against: age, class and score."""
    if spec.min_track_age_s:
        passed = judged.age_s >= spec.min_track_age_s - rules.TIME_SLACK_S
        yield Gate("track seconds", judged.age_s, spec.min_track_age_s, passed)
    if judged.classes is not None:
        yield Gate("class", judged.class_id, min(judged.classes, default=-1), judged.class_id in judged.classes)
    if spec.min_track_score:
        yield Gate("track score", judged.score, spec.min_track_score, judged.score >= spec.min_track_score)

"""All results of an evaluation: against true tracks, or against true crossings alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from countline_counting.events import Crossing
from countline_counting.spec import CountingSpec
from countline_pipelines.evaluation.causes import Causes, CountFault, causes_of_crossings
from countline_pipelines.evaluation.comparison import Comparison, compare
from countline_pipelines.evaluation.counts import CountErrors, count_errors
from countline_pipelines.evaluation.fault_report import faults_dict
from countline_pipelines.evaluation.metrics import Metrics, measure
from countline_pipelines.evaluation.mot import Boxes, MotTruth
from countline_pipelines.evaluation.run import EvaluatedRun, SequenceInfo, count_each, count_tracks, run_detections
from countline_pipelines.evaluation.worst import Ledger, WorstCase, ledger, worst_cases

Each = Callable[[], object]
"""Called after every frame."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is evaluated."""

    boxes: Boxes
    """Detections, or tracks."""
    tracked: bool
    """Whether the boxes are tracks."""
    sequence: SequenceInfo
    spec: CountingSpec
    keep_scores: bool = False
    """Whether scores stay as they are."""

    def run(self, each: Each) -> EvaluatedRun:
        """Count, after tracking detections."""
        if self.tracked:
            return count_tracks(self.boxes, self.sequence, self.spec, explain=True)
        return run_detections(self.boxes, self.sequence, self.spec, each, explain=True, keep_scores=self.keep_scores)

    def errors(self, true: Iterable[Crossing], run: EvaluatedRun) -> CountErrors | None:
        """Compare counts; None without a line."""
        return count_errors([line.id for line in self.spec.lines], true, run.crossings) if self.spec.lines else None


@dataclass(frozen=True, slots=True)
class TrackResults:
    """What only true tracks can give."""

    truth: MotTruth
    comparison: Comparison
    book: Ledger
    metrics: Metrics
    true_crossings: dict[int, tuple[Crossing, ...]]
    cases: list[WorstCase]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of an evaluation."""

    sequence: SequenceInfo
    run: EvaluatedRun
    errors: CountErrors | None
    faults: Sequence[CountFault]
    tracks: TrackResults | None = None
    """None if only the true crossings are known."""


def evaluate_tracks(given: Given, truth: MotTruth, each: Each = lambda: None) -> Evaluation:
    """Evaluate against true tracks. A true crossing is what the product's rule counts for each true object alone."""
    sequence = given.sequence
    run = given.run(each)
    comparison = compare(truth, run.tracked, sequence.frames)
    book = ledger(comparison)
    runs = count_each(truth.objects, sequence, given.spec)
    true = {number: one.crossings for number, one in runs.items()}
    errors = given.errors((crossing for crossings in true.values() for crossing in crossings), run)
    faults: list[CountFault] = []
    if errors is not None:
        faults = Causes(truth.objects, given.boxes, run, comparison, book, sequence, given.spec).faults(errors)
    cases = worst_cases(comparison, book, errors, sequence.fps)
    tracks = TrackResults(truth, comparison, book, measure(comparison), true, cases)
    return Evaluation(sequence, run, errors, faults, tracks)


def evaluate_crossings(given: Given, true: Sequence[Crossing], each: Each = lambda: None) -> Evaluation:
    """Evaluate against true crossings whose objects are not known."""
    run = given.run(each)
    errors = given.errors(true, run)
    faults = causes_of_crossings(errors, run.candidates) if errors is not None else []
    return Evaluation(given.sequence, run, errors, faults)


def as_dict(found: Evaluation) -> dict[str, Any]:
    """Return the results, ready for JSON."""
    answer: dict[str, Any] = {"frames": found.sequence.frames}
    if found.tracks is not None:
        answer |= _tracks_dict(found.tracks)
    if found.errors is not None:
        answer["counts"] = _counts_dict(found.errors)
        answer["faults"] = faults_dict(found.faults)
    return answer


def _tracks_dict(found: TrackResults) -> dict[str, Any]:
    return {
        "convention": found.truth.convention,
        "objects": len(found.comparison.truth_ids),
        "tracks": len(found.comparison.tracked_ids),
        "metrics": found.metrics.as_dict(),
        "worst": [
            {
                "kind": case.kind.value.replace(" ", "_"),
                "first_frame": case.first,
                "last_frame": case.last,
                "truth_id": case.truth_id,
                "track_id": case.track_id,
                "words": case.words,
            }
            for case in found.cases
        ],
    }


def _counts_dict(errors: CountErrors) -> dict[str, Any]:
    lines: dict[str, dict[str, Any]] = {}
    for line in errors.lines:
        lines.setdefault(line.line_id, {})[line.direction.value] = {
            "true": line.true,
            "counted": line.counted,
            "matched": line.matched,
        }
    return {
        "error": None if errors.error is None else round(errors.error, 5),
        "f1": None if errors.f1 is None else round(errors.f1, 5),
        "true": errors.true,
        "lines": lines,
    }

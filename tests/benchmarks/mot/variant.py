"""Count the prepared sequences and the cases of `countline selftest` once, with one constant changed or none.

    python -m tests.benchmarks.mot.variant PREPARED [--set KEY=VALUE]

Prints JSON: the scores by sequence, and the names of the cases that fail. PREPARED is written by `prepare`. It holds
the output of the tracker, so a constant that does not change tracking is measured without tracking again.
"""

import argparse
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:  # the core is imported only after the constant is changed
    from tests.benchmarks.mot.scoring import TrueLine

    from countline_pipelines.evaluation.mot import Boxes
    from countline_pipelines.evaluation.run import SequenceInfo

BEFORE_TRACKING = ("tracking.", "objects.intake.", "objects.masks.", "rules.SAME_OBJECT_", "rules.NESTED_")
"""Constants that can change the tracks."""
ONLY_TRACKING = ("tracking.",)
"""Constants that no case of selftest uses, because its scenes have tracks."""


@dataclass(frozen=True)
class Prepared:
    """One sequence with its truth and with the output of today's tracker."""

    name: str
    detections: "Boxes"
    sequence: "SequenceInfo"
    truth: "list[TrueLine]"
    tracks: list[Any]
    """For each frame: what `Tracker.update` returned, the estimates and the noise ratio."""


class PlayedTracks:
    """Replaces the tracker by what it returned before."""

    def __init__(self, tracks: Sequence[Any]) -> None:
        self._tracks = iter(tracks)
        self.estimates: Any = None
        self.noise_ratio = 0.0

    def update(self, *_: object) -> Any:
        """Return the tracks of the next frame."""
        found, self.estimates, self.noise_ratio = next(self._tracks)
        return found


def prepare(folders: Sequence[Path], path: Path) -> int:
    """Track the sequences below the folders and write them to a file; return how many there are."""
    from tests.benchmarks.mot.recordings import recordings
    from tests.benchmarks.mot.scoring import true_lines

    from countline_counting import counter
    from countline_counting.spec import CountingSpec
    from countline_pipelines.evaluation.run import run_detections

    prepared = []
    for each in recordings(folders):
        tracks: list[Any] = []

        class Recorded(counter.Tracker):
            def update(self, *given: Any, tracks: list[Any] = tracks) -> Any:
                found = super().update(*given)
                tracks.append((found, self.estimates, self.noise_ratio))
                return found

        with mock.patch.object(counter, "Tracker", Recorded):
            run_detections(each.detections, each.sequence, CountingSpec())
        truth = true_lines(each.truth.objects, each.sequence.size_wh)
        prepared.append(Prepared(each.name, each.detections, each.sequence, truth, tracks))
    path.write_bytes(pickle.dumps(prepared))
    return len(prepared)


def scores(prepared: Sequence[Prepared], *, track: bool) -> dict[str, dict[str, int]]:
    """Count the sequences, with tracking or with the recorded tracks; return the scores by sequence."""
    from tests.benchmarks.mot.scoring import LINES, counted_passages, score

    from countline_counting import counter
    from countline_counting.spec import CountingSpec
    from countline_pipelines.evaluation.run import run_detections

    found = {}
    for each in prepared:
        tracker = counter.Tracker if track else lambda _, each=each: PlayedTracks(each.tracks)
        with mock.patch.object(counter, "Tracker", tracker):
            run = run_detections(each.detections, each.sequence, CountingSpec(lines=LINES))
        fps = each.sequence.fps
        found[each.name] = vars(score(each.truth, counted_passages(run.crossings, fps), fps))
    return found


def failed_cases() -> list[str]:
    """Return the names of the cases of selftest that fail as they are."""
    from countline_pipelines.selftest.cases import all_cases
    from countline_pipelines.selftest.run import FORMS, run_cases

    return [outcome.case.name for outcome in run_cases(all_cases(), FORMS[:1]) if not outcome.passed]


def main() -> None:
    """Change the constant first, then import what uses it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", default="")
    parser.add_argument("prepared", type=Path)
    options = parser.parse_args()
    key, _, value = options.set.partition("=")
    if key:
        from tests.benchmarks.mot.constants import vary

        vary(key, float(value))
    prepared = pickle.loads(options.prepared.read_bytes())
    changed = scores(prepared, track=key.startswith(BEFORE_TRACKING))
    print(json.dumps({"scores": changed, "failed": [] if key.startswith(ONLY_TRACKING) else failed_cases()}))


if __name__ == "__main__":
    main()

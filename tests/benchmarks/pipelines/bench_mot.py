"""Counting and tracking on MOT sequences with public detections, beside the trackers of the package `trackers`.

    python tests/benchmarks/pipelines/bench_mot.py [--peers] [FOLDER ...]

A FOLDER holds sequences, at any depth: gt.txt, det.txt and seqinfo.ini. Without folders, `COUNTLINE_SEQUENCES` names
them. Counts are scored over three fixed lines by the rule of `tests/benchmarks/mot/scoring.py`, which is not the
product's own: for this product, for the limit (mere passages of perfectly associated boxes, which no tracker beats by
association), and for this product with boxes that are shaken by a tenth of their size. Below, HOTA, IDF1 and MOTA of
what was reported at the time: nothing is filled in afterwards.

The peers run in `.venv-peers` (`make bench-peers`), with their defaults and with settings that were tuned on three of
these sequences; this product has one setting for everything. Their tracks are counted by this product's rule too. To
reach: none of them is better in HOTA, IDF1 or MOTA, over all sequences together.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.mot.recordings import NONE_FOUND, Recording, recordings  # noqa: E402
from tests.benchmarks.mot.scoring import (  # noqa: E402
    LINES,
    Score,
    TrueLine,
    counted_passages,
    mere_passages,
    score,
    true_lines,
)
from tests.fixtures.counting.mot import combined  # noqa: E402

from countline_counting.spec import CountingSpec  # noqa: E402
from countline_pipelines.evaluation.comparison import compare, with_true_ids  # noqa: E402
from countline_pipelines.evaluation.metrics import Metrics, measure  # noqa: E402
from countline_pipelines.evaluation.mot import Boxes  # noqa: E402
from countline_pipelines.evaluation.run import EvaluatedRun, count_tracks, run_detections  # noqa: E402

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS_SCRIPT = ROOT / "tests" / "benchmarks" / "peers" / "mot_trackers.py"

OURS, LIMIT, SHAKEN = "Countline", "limit", "Countline, 10 % noise"
NOISE = 0.1
ALL = "all together"
DECIDING = ("HOTA", "IDF1", "MOTA")
SPEC = CountingSpec(lines=LINES)

Counts = dict[str, dict[str, Score]]
"""By what was counted, then by sequence."""
Tracking = dict[str, dict[str, Metrics]]
"""By tracker, then by sequence."""


class Measured:
    """Measures runs over the sequences."""

    def __init__(self, found: list[Recording]) -> None:
        self.recordings = {each.name: each for each in found}
        self.counts: Counts = {}
        self.tracking: Tracking = {}
        self._truth: dict[str, list[TrueLine]] = {
            each.name: true_lines(each.truth.objects, each.sequence.size_wh) for each in found
        }

    def take(self, label: str, each: Recording, run: EvaluatedRun, *, tracking: bool = True) -> None:
        """Score the counts of a run, and its tracks."""
        fps = each.sequence.fps
        counted = counted_passages(run.crossings, fps)
        self.counts.setdefault(label, {})[each.name] = score(self._truth[each.name], counted, fps)
        if tracking:
            measured = measure(compare(each.truth, run.tracked, each.sequence.frames))
            self.tracking.setdefault(label, {})[each.name] = measured

    def ours(self) -> None:
        """Track and count with the code that counts live, and measure the limit beside it."""
        for each in self.recordings.values():
            self.take(OURS, each, run_detections(each.detections, each.sequence, SPEC))
            shaken = each.with_noise(NOISE)
            self.take(SHAKEN, each, run_detections(shaken.detections, each.sequence, SPEC), tracking=False)
            right = with_true_ids(each.truth.objects, each.detections, each.sequence.frames)
            mere = mere_passages(right, each.sequence.size_wh)
            self.counts.setdefault(LIMIT, {})[each.name] = score(self._truth[each.name], mere, each.sequence.fps)

    def peers(self) -> None:
        """Track with the peers, in their environment, and count their tracks with our rule."""
        for key, rows in peer_tracks(list(self.recordings.values())).items():
            tracker, setting, name = key.split("|")
            each = self.recordings[name]
            tracked = Boxes(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:6], rows[:, 6])
            self.take(f"{tracker}, {setting}", each, count_tracks(tracked, each.sequence, SPEC))


def peer_tracks(found: list[Recording]) -> dict[str, np.ndarray]:
    """Return tables of tracks by `tracker|setting|sequence`."""
    tables = {
        each.name: np.column_stack([each.detections.frame, each.detections.xyxy, each.detections.score])
        for each in found
    }
    with tempfile.TemporaryDirectory() as folder:
        given, answered = Path(folder) / "detections.npz", Path(folder) / "tracks.npz"
        fps, frames = [each.sequence.fps for each in found], [each.sequence.frames for each in found]
        np.savez(given, fps=np.array(fps), frames=np.array(frames), **tables)
        subprocess.run([str(PEERS_PYTHON), str(PEERS_SCRIPT), str(given), str(answered)], check=True, timeout=3000)
        with np.load(answered) as tracks:
            return {key: tracks[key] for key in tracks.files}


def count_rows(total: Score) -> list[str]:
    """Return the columns of one score."""
    shares = (total.precision, total.recall, total.f1)
    return [str(total.true), str(total.error), f"{100 * total.share:.1f} %", *(f"{share:.3f}" for share in shares)]


def metric_rows(measured: Metrics) -> list[str]:
    """Return the columns of the tracking metrics."""
    return [f"{100 * v:.1f}" if isinstance(v, float) else str(v) for v in measured.as_dict().values()]


def show(
    per_label: dict[str, dict[str, Any]], name_of: str, columns: list[str], row_of: Callable[[Any], list[str]]
) -> None:
    """Print a table: for each sequence, one row for each of what was measured."""
    table = Table("sequence", name_of, *columns)
    for name in next(iter(per_label.values())):
        table.add_section()
        for label, per in per_label.items():
            table.add_row(name, label, *row_of(per[name]))
    Console(width=130).print(table)


def better_peers(tracking: Tracking) -> list[str]:
    """Return a line for each deciding metric in which a peer is better over all sequences together."""
    mine = tracking[OURS][ALL].as_dict()
    return [
        f"{tracker} has {metric} {value:.3f}, ours is {mine[metric]:.3f}"
        for tracker, per in tracking.items()
        for metric, value in per[ALL].as_dict().items()
        if metric in DECIDING and value > mine[metric]
    ]


def main() -> int:
    """Measure and print; fails where a peer is better in one of the deciding metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="also run the trackers of the package `trackers`")
    parser.add_argument("folders", nargs="*", type=Path, help="folders with MOT sequences")
    options = parser.parse_args()
    found = recordings(options.folders)
    if not found:
        print(NONE_FOUND, file=sys.stderr)
        return 0
    if options.peers and not PEERS_PYTHON.exists():
        print("the peers are not installed; hint: make bench-peers", file=sys.stderr)
        return 1
    measured = Measured(found)
    measured.ours()
    if options.peers:
        measured.peers()
    for scores in measured.counts.values():
        scores[ALL] = reduce(add, scores.values())
    for metrics in measured.tracking.values():
        metrics[ALL] = combined(list(metrics.values()))
    show(measured.counts, "counted", ["true", "error", "share", "precision", "recall", "F1"], count_rows)
    show(measured.tracking, "tracker", list(measured.tracking[OURS][ALL].as_dict()), metric_rows)
    better = better_peers(measured.tracking)
    print("\n".join(better) if better else "no peer is better in HOTA, IDF1 or MOTA" if options.peers else "")
    return 1 if better else 0


if __name__ == "__main__":
    sys.exit(main())

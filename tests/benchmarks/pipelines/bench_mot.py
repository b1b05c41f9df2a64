"""Tracking quality on MOTChallenge 2015: HOTA, IDF1 and MOTA, beside those of ByteTrack, OC-SORT and SORT.

    python tests/benchmarks/pipelines/bench_mot.py [--peers] [FOLDER]

FOLDER holds <sequence>/{gt.txt, det.txt, seqinfo.ini}; by default the shared data beside the checkout. All track the
same public detections, their scores stretched over 0..1, and only what was reported at the time is measured:
nothing is filled in afterwards. The peers run in `.venv-peers` (`make bench-peers`), with their defaults and with
settings tuned on these very sequences; ours has one setting for everything. To reach: none of them is better in any
of the three, over all sequences together.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from countline_counting.spec import CountingSpec
from countline_pipelines.evaluation.comparison import compare
from countline_pipelines.evaluation.metrics import Metrics, measure
from countline_pipelines.evaluation.mot import Boxes, MotTruth, read_detections, read_truth
from countline_pipelines.evaluation.run import SequenceInfo, run_detections
from countline_pipelines.evaluation.seqinfo import read_seqinfo

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.fixtures.counting.mot import combined  # noqa: E402

MOT15 = ROOT.parent / "shared" / "data" / "mot15"
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS_SCRIPT = ROOT / "tests" / "benchmarks" / "peers" / "mot_trackers.py"

OURS = "Countline"
ALL = "all together"
DECIDING = ("HOTA", "IDF1", "MOTA")

Scores = dict[str, dict[str, Metrics]]
"""By tracker, then by sequence."""


@dataclass(frozen=True)
class Recording:
    """One sequence of the benchmark."""

    name: str
    truth: MotTruth
    detections: Boxes
    sequence: SequenceInfo


def recordings(folder: Path) -> list[Recording]:
    """Read all sequences that have detections."""
    found = []
    for path in sorted(folder.iterdir()):
        if (path / "det.txt").is_file():
            sequence = read_seqinfo(path / "seqinfo.ini")
            found.append(Recording(path.name, read_truth(path / "gt.txt"), read_detections(path / "det.txt"), sequence))
    return found


def ours(found: list[Recording]) -> Scores:
    """Track with the code that counts live."""
    measured = {}
    for each in found:
        run = run_detections(each.detections, each.sequence, CountingSpec())
        measured[each.name] = measure(compare(each.truth, run.tracked, each.sequence.frames))
    return {OURS: measured}


def peers(found: list[Recording]) -> Scores:
    """Track with the peers, in their environment."""
    tables = {
        each.name: np.column_stack([each.detections.frame, each.detections.xyxy, each.detections.score])
        for each in found
    }
    with tempfile.TemporaryDirectory() as folder:
        given, told = Path(folder) / "detections.npz", Path(folder) / "tracks.npz"
        fps, frames = [each.sequence.fps for each in found], [each.sequence.frames for each in found]
        np.savez(given, fps=np.array(fps), frames=np.array(frames), **tables)
        subprocess.run([str(PEERS_PYTHON), str(PEERS_SCRIPT), str(given), str(told)], check=True, timeout=900)
        with np.load(told) as tracks:
            answers = {key: tracks[key] for key in tracks.files}
    scores: Scores = {}
    by_name = {each.name: each for each in found}
    for key, rows in answers.items():
        tracker, setting, name = key.split("|")
        tracked = Boxes(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:6], rows[:, 6])
        each = by_name[name]
        measured = measure(compare(each.truth, tracked, each.sequence.frames))
        scores.setdefault(f"{tracker}, {setting}", {})[name] = measured
    return scores


def show(scores: Scores) -> None:
    """Print a table: for each sequence, one row a tracker."""
    columns = list(next(iter(scores[OURS].values())).as_dict())
    table = Table("sequence", "tracker", *columns)
    for name in scores[OURS]:
        table.add_section()
        best = {column: max(per[name].as_dict()[column] for per in scores.values()) for column in DECIDING}
        for tracker, per in scores.items():
            values = per[name].as_dict()
            told = [f"{100 * v:.1f}" if isinstance(v, float) else str(v) for v in values.values()]
            marked = [f"[bold]{t}[/]" if values[c] == best.get(c) else t for c, t in zip(columns, told, strict=True)]
            table.add_row(name, tracker, *marked)
    Console(width=120).print(table)


def main() -> int:
    """Measure and print; fails where a peer is better in one of the deciding metrics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("folder", nargs="?", type=Path, default=MOT15)
    options = parser.parse_args()
    if not options.folder.is_dir():
        print(f"skipped: there are no sequences at {options.folder}", file=sys.stderr)
        return 0
    if options.peers and not PEERS_PYTHON.exists():
        print("the peers are not installed; hint: make bench-peers", file=sys.stderr)
        return 1
    found = recordings(options.folder)
    scores = ours(found) | (peers(found) if options.peers else {})
    for per in scores.values():
        per[ALL] = combined(list(per.values()))
    show(scores)
    mine = scores[OURS][ALL].as_dict()
    better = [
        f"{tracker} has {metric} {value:.3f}, ours is {mine[metric]:.3f}"
        for tracker, per in scores.items()
        for metric, value in per[ALL].as_dict().items()
        if metric in DECIDING and value > mine[metric]
    ]
    print("\n".join(better) if better else "no peer is better in HOTA, IDF1 or MOTA" if options.peers else "")
    return 1 if better else 0


if __name__ == "__main__":
    sys.exit(main())

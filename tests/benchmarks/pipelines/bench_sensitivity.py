"""How counts change over MOT sequences when each constant of tracking and counting is halved and doubled.

    python tests/benchmarks/pipelines/bench_sensitivity.py [--only PART ...] [FOLDER ...]

FOLDERs are those of bench_mot.py; `--only` picks constants by a part of their name. One count of all sequences takes
some ten seconds, so all constants take half an hour on one core. The last line is the error left one out: each sequence
is judged with the one variant (or none) that has the least error over the other sequences. If that is no better than
today's error, these sequences give no reason to change a constant.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.mot.constants import Constant, constants  # noqa: E402
from tests.benchmarks.mot.recordings import NONE_FOUND  # noqa: E402
from tests.benchmarks.mot.scoring import Score  # noqa: E402

FACTORS = (0.5, 2.0)
TODAY = "today"

Scores = dict[str, Score]
"""By sequence."""


def measured(folders: list[Path], setting: str = "") -> Scores | str:
    """Count in a process of its own; return the scores, or the last line of its error."""
    options = ["--set", setting] if setting else []
    command = [sys.executable, "-m", "tests.benchmarks.mot.variant", *options, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return {name: Score(**values) for name, values in json.loads(done.stdout).items()}


def variants(constant: Constant) -> Iterator[tuple[str, float]]:
    """Return the halved and the doubled value; a whole number stays one, and is at least 1."""
    for factor in FACTORS:
        value = constant.value * factor
        yield f"x {factor:g}", max(1, round(value)) if isinstance(constant.value, int) else value


def left_one_out(variants: dict[str, Scores]) -> Score:
    """Return the score of each sequence under the variant that is best over the others."""
    total = Score()
    for name in variants[TODAY]:

        def error_of_others(variant: str, name: str = name) -> tuple[int, bool]:
            others = sum(score.error for other, score in variants[variant].items() if other != name)
            return others, variant != TODAY

        total += variants[min(variants, key=error_of_others)][name]
    return total


def cells(found: Scores | str, today: Score) -> tuple[str, str]:
    """Return error and F1 with their changes."""
    if isinstance(found, str):
        return found, ""
    total = reduce(add, found.values())
    same = (total.error, total.hits, total.false) == (today.error, today.hits, today.false)
    if same:
        return "no change", ""
    return (
        f"{100 * total.share:.1f} % ({100 * (total.share - today.share):+.1f})",
        f"{total.f1:.3f} ({total.f1 - today.f1:+.3f})",
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of constants")
    parser.add_argument("folders", nargs="*", type=Path, help="folders with MOT sequences")
    options = parser.parse_args()
    base = measured(options.folders)
    if not base:
        print(NONE_FOUND, file=sys.stderr)
        return 0
    if isinstance(base, str):
        print(base, file=sys.stderr)
        return 1
    today, found = reduce(add, base.values()), {TODAY: base}
    print(f"today: error {100 * today.share:.1f} % of {today.true}, F1 {today.f1:.3f}", flush=True)
    table = Table("constant", "value", "halved: error", "F1", "doubled: error", "F1")
    for constant in constants():
        if options.only and not any(part in constant.key for part in options.only):
            continue
        row = []
        for label, value in variants(constant):
            scores = measured(options.folders, f"{constant.key}={value}")
            row += cells(scores, today)
            if not isinstance(scores, str):
                found[f"{constant.key} {label}"] = scores
        table.add_row(constant.key, f"{constant.value:g}", *row)
        print(constant.key, *row, flush=True, file=sys.stderr)
    Console(width=150).print(table)
    apart = left_one_out(found)
    print(f"left one out: error {100 * apart.share:.1f} %, F1 {apart.f1:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

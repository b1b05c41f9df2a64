"""How counts change over MOT sequences when each constant of tracking and counting is halved and doubled.

    python tests/benchmarks/pipelines/bench_sensitivity.py [--only PART ...] [--store] [FOLDER ...]

FOLDERs are those of bench_mot.py; `--only` picks constants by a part of their name. `--store` writes the figures of
each constant to tests/benchmarks/mot/sensitivity.json, from which `make constants` renders docs/constants.md. Constants
with figures of the same sequences and the same rule are left out, so a run that was stopped goes on. All constants take
three quarters of an hour on one core. The last line is the error left one out: each sequence is judged with the one
variant (or none) that has the least error over the other sequences. If that is no better than today's error, these
sequences give no reason to change a constant.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import reduce
from operator import add
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.mot import sensitivity  # noqa: E402
from tests.benchmarks.mot.constants import Constant, constants  # noqa: E402
from tests.benchmarks.mot.recordings import NONE_FOUND  # noqa: E402
from tests.benchmarks.mot.scoring import Score  # noqa: E402
from tests.benchmarks.mot.sensitivity import Change, Figures, Sensitivity  # noqa: E402
from tests.benchmarks.mot.variant import prepare  # noqa: E402

from countline_counting.identity import COUNTING_RULE_VERSION  # noqa: E402

TODAY = "today"

Scores = dict[str, Score]
"""By sequence."""


class Measured(NamedTuple):
    """One count of all sequences and cases."""

    scores: Scores
    failed: int

    @property
    def figures(self) -> Figures:
        """Return the sums."""
        total = reduce(add, self.scores.values())
        return Figures(total.error, round(total.f1, 4), self.failed)


def measured(prepared: Path, setting: str = "") -> Measured | None:
    """Count in a process of its own; return None if the code refuses the value."""
    options = [f"--set={setting}"] if setting else []
    command = [sys.executable, "-m", "tests.benchmarks.mot.variant", *options, str(prepared)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600)
    if done.returncode:
        print(setting, done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    found = json.loads(done.stdout)
    return Measured({name: Score(**values) for name, values in found["scores"].items()}, len(found["failed"]))


def scaled(constant: Constant, factor: float) -> float:
    """Return the value times the factor; a whole number stays one, and is at least 1."""
    value = constant.value * factor
    return max(1, round(value)) if isinstance(constant.value, int) else value


def left_one_out(variants: dict[str, Scores]) -> Score:
    """Return the score of each sequence under the variant that is best over the others."""
    total = Score()
    for name in variants[TODAY]:

        def error_of_others(variant: str, name: str = name) -> tuple[int, bool]:
            others = sum(score.error for other, score in variants[variant].items() if other != name)
            return others, variant != TODAY

        total += variants[min(variants, key=error_of_others)][name]
    return total


def vary_each(chosen: Iterable[Constant], prepared: Path, known: Sensitivity, *, store: bool) -> dict[str, Scores]:
    """Measure the constants whose figures are not known; return the scores of all variants."""
    found: dict[str, Scores] = {}
    for constant in chosen:
        sides: list[Figures | None] = []
        for factor in (0.5, 2.0):
            one = measured(prepared, f"{constant.key}={scaled(constant, factor)}")
            sides.append(one.figures if one else None)
            if one:
                found[f"{constant.key} x {factor:g}"] = one.scores
        known.changes[constant.key] = Change(constant.value, *sides)
        print(constant.key, *known.cells(constant.key, constant.value), flush=True, file=sys.stderr, sep=" | ")
        if store:
            sensitivity.write(known)
    return found


def begin(base: Measured, *, store: bool) -> Sensitivity:
    """Return the stored figures if they are of the same counts, else none."""
    true = reduce(add, base.scores.values()).true
    fresh = Sensitivity(COUNTING_RULE_VERSION, len(base.scores), true, base.figures)
    known = sensitivity.read()
    head = (known.rule_version, known.sequences, known.true, known.today)
    return known if store and head == (fresh.rule_version, fresh.sequences, fresh.true, fresh.today) else fresh


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of constants")
    parser.add_argument("--store", action="store_true", help="keep the figures for docs/constants.md")
    parser.add_argument("folders", nargs="*", type=Path, help="folders with MOT sequences")
    options = parser.parse_args()
    chosen = [each for each in constants() if any(part in each.key for part in options.only)]
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared")
        if not prepare(options.folders, prepared):
            print(NONE_FOUND, file=sys.stderr)
            return 0
        base = measured(prepared)
        if base is None:
            return 1
        known = begin(base, store=options.store)
        today = base.figures
        print(f"today: {today.error} errors of {known.true}, F1 {today.f1:.3f}, {today.failed} cases fail", flush=True)
        new = [each for each in chosen if known.cells(each.key, each.value)[0] == "not measured"]
        found = vary_each(new, prepared, known, store=options.store)
    table = Table("constant", "value", "halved: errors, F1, selftest", "doubled: errors, F1, selftest")
    for constant in chosen:
        table.add_row(constant.key, f"{constant.value:g}", *known.cells(constant.key, constant.value))
    Console(width=150).print(table)
    apart = left_one_out({TODAY: base.scores, **found})
    print(f"left one out: error {100 * apart.share:.1f} %, F1 {apart.f1:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run every benchmark, one after the other, and print the machine's noise beside them.

Each `bench_*.py` is a program of its own that prints a table; `--peers` is handed on to those that know peers.
A name, or a part of one, on the command line picks some of them. Those of `ON_REQUEST` run only when they are named.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NOISE_RUNS = 15
ON_REQUEST = ("bench_sensitivity",)
"""These take half an hour or more."""


def noise() -> str:
    """How unevenly the machine runs one and the same loop: a ratio within that spread says nothing."""
    times = []
    for _ in range(NOISE_RUNS):
        start = time.perf_counter()
        sum(range(1_000_000))
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    return f"noise: the same loop took {min(times) / median:.2f} to {max(times) / median:.2f} of its median"


def main() -> int:
    """Run what was asked for; the exit code is that of the worst."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of those to run; all of them without")
    parser.add_argument("--peers", action="store_true", help="also run the programs that users would write instead")
    options = parser.parse_args()
    worst = 0
    for path in sorted(HERE.rglob("bench_*.py")):
        is_named = any(name in path.stem for name in options.names)
        if not is_named and (options.names or path.stem in ON_REQUEST):
            continue
        print(f"\n== {path.relative_to(HERE)}   ({os.cpu_count()} cores; {noise()})", flush=True)
        arguments = ["--peers"] if options.peers and "--peers" in path.read_text() else []
        worst = max(worst, subprocess.run([sys.executable, str(path), *arguments], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())

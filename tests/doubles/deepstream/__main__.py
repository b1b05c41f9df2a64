"""Run a program with the double of DeepStream installed.

    python -m tests.doubles.deepstream [--release 8.0] [--report FILE] -- countline worker --backend deepstream ...

The program is `countline` or the path of a Python script, and runs unchanged. When it ends, the report (JSON) is
written: complaints, calls of pyds, and the objects that still exist.
"""

import argparse
import dataclasses
import json
import runpy
import sys
from pathlib import Path
from typing import Any

from tests.doubles.deepstream.facts import RELEASES
from tests.doubles.deepstream.installed import Installed, installed


def main() -> int:
    """Exit status: the program's own."""
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.deepstream", description=__doc__)
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[0])
    parser.add_argument("--lists-stop", action="store_true", help="lists of pyds end by StopIteration")
    parser.add_argument("--report", type=Path)
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        parser.error("no program")
    with installed(options.release, lists_stop=options.lists_stop) as double:
        try:
            return _run(program)
        finally:
            if options.report:
                options.report.write_text(json.dumps(_report(double)))


def _run(program: list[str]) -> int:
    sys.argv = program
    try:
        if program[0] == "countline":
            from countline_common.cli.app import main as countline

            countline()
        else:
            runpy.run_path(program[0], run_name="__main__")
    except SystemExit as end:
        return _status(end.code)
    return 0


def _status(code: Any) -> int:
    if isinstance(code, str):
        print(code, file=sys.stderr)
    return code if isinstance(code, int) else int(code is not None)


def _report(double: Installed) -> dict[str, Any]:
    return {
        "complaints": double.ledger.complaints,
        "pyds_calls": dict(double.ledger.pyds_calls),
        "alive": dataclasses.asdict(double.alive()),
    }


if __name__ == "__main__":
    sys.exit(main())

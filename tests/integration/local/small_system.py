"""`countline up` with PostgreSQL and NATS alone: quick to start, and everything else as in the real one.

Run as a program: `small_system.py DATA [NAME=PORT ...]`.
"""

import asyncio
import sys
from pathlib import Path

from countline_common.cli.app import report
from countline_common.errors import CountlineError
from countline_common.settings import DataFolder
from countline_local.cli.display import JsonDisplay
from countline_local.parts.part import Part
from countline_local.supervision.ports import parse_wishes
from countline_local.system import System
from countline_local.up import Up, UpOptions

PARTS = ("postgres", "nats")


def small_parts(system: System) -> list[Part]:
    """The parts that need nothing of ours."""
    return [part for part in system.parts() if part.name in PARTS]


def main() -> None:
    """Run until stopped."""
    data, *wishes = sys.argv[1:]
    options = UpOptions(DataFolder(Path(data)), parse_wishes(wishes), any_ports=True)
    try:
        asyncio.run(Up(options, JsonDisplay(), parts=small_parts).run())
    except CountlineError as error:
        report(error)
        sys.exit(1)


if __name__ == "__main__":
    main()

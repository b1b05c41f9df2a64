"""The faults of a run as JSON and as tables."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal
from countline_pipelines.evaluation.causes import CAUSES, Cause, CountFault

SHOWN = 40
"""Number of faults that a terminal lists."""


def faults_dict(faults: Sequence[CountFault]) -> dict[str, Any]:
    """Return totals by cause, the meaning of each cause, and every fault, ready for JSON."""
    return {
        "causes": {
            cause.value: {"missed": missed, "false": false, "meaning": CAUSES[cause]}
            for cause, missed, false in _totals(faults)
        },
        "list": [
            {
                "kind": _kind(fault),
                "line": fault.line_id,
                "direction": fault.direction.value,
                "t": round(fault.t, 3),
                "cause": fault.cause.value,
                "truth_id": fault.truth_id,
                "track_id": fault.track_id,
                "words": fault.words,
            }
            for fault in faults
        ],
    }


def show_faults(terminal: Terminal, faults: Sequence[CountFault]) -> None:
    """Print the totals by cause, then every fault in order of time."""
    if not faults:
        return
    numbers = ("MISSED", "FALSE")
    table = new_table("CAUSE", *numbers, "MEANING", numbers=numbers)
    for cause, missed, false in _totals(faults):
        table.add_row(cause.value, str(missed), str(false), CAUSES[cause])
    terminal.print(table)
    listed = new_table("TIME(s)", "LINE", "DIRECTION", "FAULT", "CAUSE", "MEASURED", numbers=("TIME(s)",))
    for fault in faults[:SHOWN]:
        listed.add_row(
            f"{fault.t:.2f}", fault.line_id, fault.direction.value, _kind(fault), fault.cause.value, fault.words
        )
    terminal.print(listed)
    if len(faults) > SHOWN:
        terminal.print(f"{len(faults) - SHOWN} more; --json lists all of them")


def caption(fault: CountFault) -> str:
    """Return one line for a picture of the fault."""
    return (
        f"{_kind(fault)} {fault.line_id} {fault.direction.value} at {fault.t:.2f} s: {fault.cause.value}; {fault.words}"
    )


def _kind(fault: CountFault) -> str:
    return "missed" if fault.missed else "false"


def _totals(faults: Sequence[CountFault]) -> list[tuple[Cause, int, int]]:
    """Return cause, missed and false, the most frequent first."""
    counted = Counter((fault.cause, fault.missed) for fault in faults)
    rows = [(cause, counted[cause, True], counted[cause, False]) for cause in Cause]
    return sorted((row for row in rows if row[1] + row[2]), key=lambda row: -row[1] - row[2])

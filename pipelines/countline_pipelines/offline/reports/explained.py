"""The journal of a count as JSON and as tables, for `--explain`."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal
from countline_counting.events import Direction
from countline_counting.explain import Candidate, Gate, Journal
from countline_counting.reasons import REASONS, Reason
from countline_counting.spec import CountingSpec

COUNTED = "counted"


def explained(journal: Journal, spec: CountingSpec) -> dict[str, Any]:
    """Return totals by line, direction and outcome, and every candidate, ready for JSON.

    In each direction of each line, `candidates` is the number of objects that came near, the sum of `counted` and
    `reasons`.
    """
    ordered = sorted(journal.candidates, key=lambda one: (one.t, one.line_id, one.track, one.direction))
    used = {reason for _, _, reason in journal.settled if reason is not None}
    return {
        "lines": {line.id: {d.value: _totals(journal, line.id, d) for d in Direction} for line in spec.lines},
        "reasons": {reason.value: REASONS[reason] for reason in Reason if reason in used},
        "candidates": [_candidate(one) for one in ordered],
    }


def _totals(journal: Journal, line_id: str, direction: Direction) -> dict[str, Any]:
    reasons = {reason.value: n for reason in Reason if (n := journal.settled[line_id, direction, reason])}
    counted = journal.settled[line_id, direction, None]
    return {"candidates": journal.appeared[line_id, direction], "counted": counted, "reasons": reasons}


def _candidate(one: Candidate) -> dict[str, Any]:
    return {
        "line": one.line_id,
        "track": one.track or None,
        "direction": one.direction.value,
        "t": one.t,
        "outcome": COUNTED if one.reason is None else one.reason.value,
        "decided": one.decided or None,
        "event": one.event_id or None,
        "gates": [
            {"gate": gate.name, "value": round(gate.value, 6), "limit": gate.limit, "passed": gate.passed}
            for gate in one.gates
        ],
        "path": [
            {
                "what": place.what,
                "t": place.t,
                "xy_px": [round(place.xy_px[0], 3), round(place.xy_px[1], 3)],
                # a dropped box has no object, so there is no height to measure with
                "distance_heights": round(place.distance_heights, 4) if one.track else None,
            }
            for place in one.path
        ],
    }


def show_explained(terminal: Terminal, result: Mapping[str, Any]) -> None:
    """Print a table for each line, its totals, and the meaning of the reasons."""
    for name in result["lines"]:
        rows = [one for one in result["candidates"] if one["line"] == name]
        if rows:
            numbers = ("TIME(s)", "TRACK")
            table = new_table(*numbers, "DIRECTION", "RESULT", "MEASURED, LIMIT", numbers=numbers, title=f"line {name}")
            for one in rows:
                table.add_row(*_row(one))
            terminal.print(table)
    terminal.print(_totals_table(result["lines"]))
    for code, meaning in result["reasons"].items():
        terminal.print(f"{code}: {meaning}")


def _row(one: Mapping[str, Any]) -> Iterator[str]:
    yield f"{one['t']:.2f}"
    yield str(one["track"] or "-")
    yield one["direction"]
    yield f"{COUNTED}, {one['decided']}" if one["outcome"] == COUNTED else one["outcome"]
    yield "; ".join(
        _in_words(Gate(gate["gate"], gate["value"], gate["limit"], gate["passed"])) for gate in one["gates"]
    )


def _in_words(gate: Gate) -> str:
    return f"{gate.name} {gate.value:.2f} {'>=' if gate.passed else 'not'} {gate.limit:g}"


def _totals_table(lines: Mapping[str, Any]) -> Table:
    columns = ("CANDIDATES", "COUNTED")
    table = new_table("LINE", "DIRECTION", *columns, "NOT COUNTED", numbers=columns)
    for name, ways in lines.items():
        for way, totals in ways.items():
            reasons = ", ".join(f"{count} {code}" for code, count in totals["reasons"].items())
            table.add_row(name, way, str(totals["candidates"]), str(totals["counted"]), reasons or "-")
    return table

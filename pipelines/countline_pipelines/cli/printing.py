"""Prints the summary of a count as tables."""

from collections.abc import Iterable, Mapping
from typing import Any

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal
from countline_counting.rule.flows import matrix
from countline_pipelines.offline.reports.explained import show_explained


def show(result: dict[str, Any], *, err: bool = False) -> None:
    """Print a summary as tables, to standard output or standard error."""
    terminal = Terminal(stderr=err)
    terminal.print(f"{result['frames']} frames, {result['duration_s']:.1f} s")
    if number := result.get("interruptions", 0):
        broke = "once" if number == 1 else f"{number} times"
        terminal.print(f"the stream broke {broke}, {result['interrupted_s']:.1f} s without frames")
    if result["lines"]:
        columns = ("IN", "OUT", "NET", "U-TURNS")
        table = new_table("LINE", *columns, numbers=columns)
        for name, counts in result["lines"].items():
            table.add_row(name, *(str(counts[which]) for which in ("in", "out", "net", "u_turns")))
        terminal.print(table)
    if result["zones"]:
        show_zones(terminal, result["zones"])
    if any(flow["origin"] for flow in result["flows"]):
        show_flows(terminal, result["flows"])
    if "explain" in result:
        show_explained(terminal, result["explain"])


def show_warning(message: str, hint: str) -> None:
    """Print on standard error what a person should know about a source, and what to do about it."""
    Terminal(stderr=True).print(f"warning: {message}\nhint: {hint}", soft_wrap=True)


def show_flows(terminal: Terminal, flows: Iterable[Mapping[str, Any]]) -> None:
    """Print the number of objects from each origin to each destination, all classes together."""
    rows, columns, counts = matrix((flow["origin"], flow["destination"], flow["count"]) for flow in flows)
    table = new_table("FROM \\ TO", *columns, numbers=columns)
    for row, numbers in zip(rows, counts, strict=True):
        table.add_row(row or "-", *map(str, numbers))
    terminal.print(table)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def show_zones(terminal: Terminal, zones: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the occupancy of zones, and how long objects stayed in them."""
    columns = ("VISITS", "OCCUPANCY", "MEAN", "MEDIAN STAY", "LONGEST STAY")
    table = new_table("ZONE", *columns, numbers=columns)
    for name, zone in zones.items():
        at_once = "-" if zone["max"] is None else f"{zone['min']} to {zone['max']}"
        mean = "-" if zone["mean"] is None else f"{zone['mean']:.1f}"
        named = f"{name} (queue)" if "waiting_s" in zone else name
        stays = (_seconds(zone["dwell_s"][which]) for which in ("median", "max"))
        table.add_row(named, str(zone["visits"]), at_once, mean, *stays)
    terminal.print(table)

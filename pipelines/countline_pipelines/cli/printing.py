"""Prints the summary of a count as tables."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from countline_counting.rule.flows import matrix
from countline_pipelines.offline.reports.explained import show_explained


def show(result: dict[str, Any]) -> None:
    """Print a summary as tables."""
    console = Console()
    console.print(f"{result['frames']} frames, {result['duration_s']:.1f} s")
    if result["lines"]:
        table = Table("line", "in", "out", "net", "U-turns")
        for name, counts in result["lines"].items():
            table.add_row(name, *(str(counts[which]) for which in ("in", "out", "net", "u_turns")))
        console.print(table)
    if result["zones"]:
        show_zones(console, result["zones"])
    if any(flow["origin"] for flow in result["flows"]):
        show_flows(console, result["flows"])
    for warning in result.get("warnings", ()):
        console.print(f"warning: {warning}", markup=False, emoji=False, highlight=False)
    if "explain" in result:
        show_explained(console, result["explain"])


def show_flows(console: Console, flows: Iterable[Mapping[str, Any]]) -> None:
    """Print the number of objects from each origin to each destination, all classes together."""
    rows, columns, counts = matrix((flow["origin"], flow["destination"], flow["count"]) for flow in flows)
    table = Table("from \\ to", *columns)
    for row, numbers in zip(rows, counts, strict=True):
        table.add_row(row or "-", *map(str, numbers))
    console.print(table)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def show_zones(console: Console, zones: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the occupancy of zones, and how long objects stayed in them."""
    table = Table("zone", "visits", "at once", "mean", "median stay", "longest")
    for name, zone in zones.items():
        at_once = "-" if zone["max"] is None else f"{zone['min']} to {zone['max']}"
        mean = "-" if zone["mean"] is None else f"{zone['mean']:.1f}"
        named = f"{name} (queue)" if "waiting_s" in zone else name
        stays = (_seconds(zone["dwell_s"][which]) for which in ("median", "max"))
        table.add_row(named, str(zone["visits"]), at_once, mean, *stays)
    console.print(table)

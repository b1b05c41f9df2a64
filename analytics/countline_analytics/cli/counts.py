"""`countline counts`, `countline occupancy` and `countline flows`: what was counted, as the server tells it."""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from countline_analytics.cli.rest import (
    BucketOption,
    CameraOption,
    DataOption,
    EndOption,
    JsonOption,
    ServerOption,
    StartOption,
    ask,
    clock,
    moment,
)

COUNTS: Final = "/api/v1/analytics/counts"
OCCUPANCY: Final = "/api/v1/analytics/occupancy"
FLOWS: Final = "/api/v1/analytics/flows"


def counts(
    camera: CameraOption = None,
    line: Annotated[str | None, typer.Option(help="Only this line.")] = None,
    start: StartOption = None,
    end: EndOption = None,
    bucket: BucketOption = "1h",
    by: Annotated[str, typer.Option(help="Any of line, direction and class, by commas.")] = "line",
    as_json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show what crossed the lines, by bucket of time, with the share of it that was really looked at."""
    asked = {"camera_id": camera, "line_id": line, "start": moment(start, "start"), "end": moment(end, "end")}
    answer = ask(COUNTS, {**asked, "bucket": bucket, "group_by": by}, server, data)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    rows = (
        (
            clock(b["start"]),
            b["camera_id"],
            b["line_id"],
            b["class_name"],
            b["direction"],
            b["in"],
            b["out"],
            *_share(b),
        )
        for b in answer.get("buckets", [])
    )
    _print(("from", "camera", "line", "class", "direction", "in", "out", "coverage"), rows, words=5)


def occupancy(
    camera: CameraOption = None,
    zone: Annotated[str | None, typer.Option(help="Only this zone.")] = None,
    start: StartOption = None,
    end: EndOption = None,
    bucket: BucketOption = "1h",
    as_json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show how full the zones were, by bucket of time, with who came and went and how long they stayed."""
    asked = {"camera_id": camera, "zone_id": zone, "start": moment(start, "start"), "end": moment(end, "end")}
    answer = ask(OCCUPANCY, {**asked, "bucket": bucket}, server, data)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    names = (
        "now",
        "min",
        "mean",
        "max",
        "entries",
        "born_inside",
        "exits",
        "lost_inside",
        "mean_dwell_s",
        "max_dwell_s",
    )
    rows = (
        (clock(b["start"]), b["camera_id"], b["zone_id"], *(_number(b.get(name)) for name in names), *_share(b))
        for b in answer.get("buckets", [])
    )
    titles = ("now", "least", "mean", "most", "entries", "born", "exits", "lost", "mean stay s", "longest s")
    _print(("from", "camera", "zone", *titles, "coverage"), rows, words=3)


def flows(
    camera: Annotated[str, typer.Option(help="The camera.")],
    start: StartOption = None,
    end: EndOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show from which line or zone objects came to which: turning movements."""
    asked = {"camera_id": camera, "start": moment(start, "start"), "end": moment(end, "end")}
    answer = ask(FLOWS, asked, server, data)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    rows = (
        (f["origin"] or "-", f["destination"], f["class_name"], f["count"], _number(f.get("mean_s")))
        for f in answer.get("flows", [])
    )
    _print(("from", "to", "class", "count", "mean s"), rows, words=3)
    Console(stderr=True).print(f"{answer.get('coverage', 0.0):.0%} of the time was looked at")


def _share(bucket: dict[str, Any]) -> tuple[str]:
    return (f"{bucket['coverage']:.0%}",)


def _number(value: float | None) -> str:
    """A number, or a dash where nothing was seen."""
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) and value % 1 else f"{value:g}"


def _print(titles: Sequence[str], rows: Iterable[Sequence[Any]], *, words: int) -> None:
    """Print a table; the first columns are words, the others numbers."""
    table = Table()
    for i, title in enumerate(titles):
        table.add_column(title, justify="left" if i < words else "right")
    for row in rows:
        table.add_row(*map(str, row))
    if table.row_count:
        Console().print(table)
    else:
        Console(stderr=True).print("There is nothing to show.")

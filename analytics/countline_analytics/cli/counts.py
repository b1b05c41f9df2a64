"""`countline counts`, `countline occupancy` and `countline flows`: show counts of a server."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import typer

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
)
from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal
from countline_common.cli.tools import note, print_json, say

COUNTS: Final = "/api/v1/analytics/counts"
OCCUPANCY: Final = "/api/v1/analytics/occupancy"
FLOWS: Final = "/api/v1/analytics/flows"


def counts(
    camera: CameraOption = None,
    line: Annotated[str | None, typer.Option(help="Line to show; all lines by default.")] = None,
    start: StartOption = None,
    end: EndOption = None,
    bucket: BucketOption = "1h",
    by: Annotated[str, typer.Option(help="Grouping: any of line, direction, class, separated by commas.")] = "line",
    as_json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show crossings by line and time bucket, with coverage.

    Example: countline counts --camera door --bucket 1d --by line,direction
    """
    asked = {"camera_id": camera, "line_id": line, "bucket": bucket, "group_by": by}
    answer = ask(COUNTS, asked, {"start": start, "end": end}, server, data)
    if as_json:
        print_json(answer)
        return
    rows = (
        (
            clock(b, bucket),
            b["time_zone"],
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
    titles = ("FROM", "TIME ZONE", "CAMERA", "LINE", "CLASS", "DIRECTION", "IN", "OUT", "COVERAGE")
    _print(titles, rows, words=6)


def occupancy(
    camera: CameraOption = None,
    zone: Annotated[str | None, typer.Option(help="Zone to show; all zones by default.")] = None,
    start: StartOption = None,
    end: EndOption = None,
    bucket: BucketOption = "1h",
    as_json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show occupancy, entries, exits and dwell times of zones by time bucket, with coverage.

    In ENTERED and LEFT, "18 + 2" means that 18 objects crossed the outline, and 2 were first or last seen inside.

    Example: countline occupancy --camera door --zone till --bucket 15m
    """
    asked = {"camera_id": camera, "zone_id": zone, "bucket": bucket}
    answer = ask(OCCUPANCY, asked, {"start": start, "end": end}, server, data)
    if as_json:
        print_json(answer)
        return
    rows = (
        (
            clock(b, bucket),
            b["time_zone"],
            b["camera_id"],
            b["zone_id"],
            *(_number(b.get(name)) for name in ("now", "min", "mean", "max")),
            _sum(b["entries"], b["born_inside"]),
            _sum(b["exits"], b["lost_inside"]),
            *(_number(b.get(name)) for name in ("mean_dwell_s", "max_dwell_s")),
            *_share(b),
        )
        for b in answer.get("buckets", [])
    )
    titles = ("NOW", "MIN", "MEAN", "MAX", "ENTERED", "LEFT", "MEAN STAY(s)", "LONGEST STAY(s)")
    _print(("FROM", "TIME ZONE", "CAMERA", "ZONE", *titles, "COVERAGE"), rows, words=4)


def flows(
    camera: Annotated[str, typer.Option(help="Camera to show.")],
    start: StartOption = None,
    end: EndOption = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show flows from line or zone to line or zone (turning movements).

    Example: countline flows --camera plaza
    """
    answer = ask(FLOWS, {"camera_id": camera}, {"start": start, "end": end}, server, data)
    if as_json:
        print_json(answer)
        return
    rows = (
        (f["origin"] or "-", f["destination"], f["class_name"], f["count"], _number(f.get("mean_s")))
        for f in answer.get("flows", [])
    )
    _print(("FROM", "TO", "CLASS", "COUNT", "MEAN TIME(s)"), rows, words=3)
    note(f"coverage: {answer.get('coverage', 0.0):.0%}")


def _share(bucket: dict[str, Any]) -> tuple[str]:
    return (f"{bucket['coverage']:.0%}",)


def _sum(over_the_outline: int, inside: int) -> str:
    return f"{over_the_outline} + {inside}" if inside else str(over_the_outline)


def _number(value: float | None) -> str:
    """Return a number as text; a dash for an unknown number."""
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) and value % 1 else f"{value:g}"


def _print(titles: Sequence[str], rows: Iterable[Sequence[Any]], *, words: int) -> None:
    """Print a table: the first `words` columns hold words, the others numbers. A word that all rows share goes above.

    The table may be wider than the window: a truncated number would be another number.
    """
    cells = [tuple(map(str, row)) for row in rows]
    if not cells:
        note("No data found.")
        return
    shared = [i for i in range(1, words) if len({row[i] for row in cells}) == 1]
    if shown := ", ".join(f"{titles[i].lower()} {cells[0][i]}" for i in shared if cells[0][i]):
        say(shown)
    kept = [i for i in range(len(titles)) if i not in shared]
    table = new_table(*(titles[i] for i in kept), numbers=titles[words:])
    for row in cells:
        table.add_row(*(row[i] for i in kept))
    terminal = Terminal()
    widest = terminal.measure(table, options=terminal.options.update(max_width=1000)).maximum
    terminal.width = max(terminal.width, widest)
    terminal.print(table)

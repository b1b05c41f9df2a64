"""`countline recount`: count a new line over the paths that were stored."""

import asyncio
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, TimeElapsedColumn

from countline.v1 import events_pb2
from countline_common.cli.drawings import WHAT_COUNTS, LineOption
from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal, progress_bar, words
from countline_common.errors import InvalidInputError
from countline_common.files.text_files import check_file
from countline_common.grpc.discovery import discover
from countline_common.http.site_times import parse_option
from countline_common.times import from_timestamp
from countline_counting.events import Direction
from countline_counting.geometry.segments import Point
from countline_counting.spec import DEFAULT_ANCHOR, Line
from countline_counting.text import read_names
from countline_counting.trajectories.recount import RecountedCrossing, RecountResult
from countline_counting.trajectories.recount import recount as count_again
from countline_counting.trajectories.sampling import TrackedObject
from countline_pipelines.cli import options
from countline_pipelines.cli.spec_args import parse_size, parse_spec
from countline_pipelines.offline.recount import objects_of
from countline_pipelines.offline.recount_source import site_times, stored_trajectories
from countline_pipelines.offline.trajectory_files import read_trajectories


def recount(
    camera: Annotated[str | None, typer.Argument(help="Camera of the running system.")] = None,
    from_: Annotated[Path | None, typer.Option("--from", help="File of trajectories, instead of a camera.")] = None,
    line: LineOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="First moment, such as 2026-03-01T12:00:00Z; without an offset in the time zone of the camera's site,"
            " for a file in that of this machine; default: one hour ago."
        ),
    ] = None,
    end: Annotated[str | None, typer.Option(help="End of the time, written like --start; default: now.")] = None,
    classes: options.ClassesOption = None,
    anchor: options.AnchorOption = "bottom",
    pixels: Annotated[
        str | None,
        typer.Option(help="Size of the picture, if coordinates are pixels.", rich_help_panel=WHAT_COUNTS),
    ] = None,
    json_: options.JsonOption = False,
    server: Annotated[str | None, typer.Option(help="Server address; default: the context, or the last login.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder of a Countline on this machine.")] = None,
) -> None:
    """Count lines over stored trajectories, by the rules that count live.

    A crossing within the error of its path is marked as uncertain. A crossing that may have been, and does not count,
    is reported as possible.

    Example: countline recount door --line gate:0,0.5,1,0.5
    """
    if (camera is None) == (from_ is None):
        raise InvalidInputError("name either a camera or a file", hint="countline recount CAMERA, or --from FILE")
    spec = parse_spec(line or [], anchor=anchor, pixels_of=parse_size(pixels, "--pixels") if pixels else None)
    if not spec.lines:
        raise InvalidInputError("there is nothing to count", hint="give --line")
    texts = {"start": start, "end": end}
    moments = _file_times(texts) if camera is None else asyncio.run(site_times(discover(server, data), camera, texts))
    asked = _time_range(moments.get("start"), moments.get("end"), live=camera is not None)
    if from_ is not None:
        check_file(from_)
        found: Iterable[events_pb2.Trajectory] = read_trajectories(from_)
    else:
        assert camera is not None
        found = asyncio.run(_ask(camera, asked, server, data))
    result = count(found, spec.lines, spec.anchor, read_names(classes), asked)
    print(json.dumps(result)) if json_ else _show(result)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A span of time in Unix seconds; the end is not part of it."""

    start: float = -math.inf
    end: float = math.inf

    def holds(self, t: float) -> bool:
        """Return whether a moment lies in it."""
        return self.start <= t < self.end


def _time_range(start: datetime | None, end: datetime | None, *, live: bool) -> TimeRange:
    until = end.timestamp() if end else (datetime.now(UTC).timestamp() if live else math.inf)
    since = start.timestamp() if start else (until - timedelta(hours=1).total_seconds() if live else -math.inf)
    if since >= until:
        raise InvalidInputError("the span of time is empty", hint="--start must lie before --end")
    return TimeRange(since, until)


def _file_times(texts: Mapping[str, str | None]) -> dict[str, datetime]:
    """Read times for a file, which names no site: without an offset they are in this machine's time zone."""
    return {option: parse_option(option, text) for option, text in texts.items() if text is not None}


async def _ask(camera: str, asked: TimeRange, server: str | None, data: Path | None) -> list[events_pb2.Trajectory]:
    start, end = (datetime.fromtimestamp(t).astimezone() for t in (asked.start, asked.end))
    columns = (words("reading"), BarColumn(), words("{task.fields[paths]} trajectories"), TimeElapsedColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("read", total=asked.end - asked.start, paths=0)
        found = []
        async for message in stored_trajectories(discover(server, data), camera, start, end):
            found.append(message)
            bar.update(task, completed=max(0.0, from_timestamp(message.start) - asked.start), paths=len(found))
        bar.update(task, completed=asked.end - asked.start)
    return found


@dataclass(slots=True)
class _Seen:
    """Number and time of the objects that were looked at."""

    objects: int = 0
    start: float = math.inf
    end: float = -math.inf

    def add(self, item: TrackedObject) -> None:
        self.objects += 1
        self.start, self.end = min(self.start, item.parts[0].start), max(self.end, item.parts[-1].end)


def count(
    messages: Iterable[events_pb2.Trajectory],
    lines: Sequence[Line],
    anchor: Point = DEFAULT_ANCHOR,
    classes: frozenset[str] = frozenset(),
    asked: TimeRange | None = None,
) -> dict[str, Any]:
    """Count lines over trajectories and return the summary, ready for JSON.

    Args:
        messages: trajectories, the parts of each track in their order.
        lines: where to count, and the classes that each line counts.
        anchor: the point of a box that the camera counted.
        classes: classes that are looked at; empty for all.
        asked: crossings outside of it do not count.
    """
    asked = asked or TimeRange()
    classes_of = {line.id: line.classes for line in lines}
    seen = _Seen()

    def chosen() -> Iterator[TrackedObject]:
        for item in objects_of(messages):
            if not classes or item.class_name in classes:
                seen.add(item)
                yield item

    def counts(event: RecountedCrossing) -> bool:
        wanted = classes_of[event.line_id]
        return asked.holds(event.t) and (not wanted or event.class_name in wanted)

    events: list[RecountedCrossing] = []
    possible: list[RecountedCrossing] = []
    for found in count_again(chosen(), lines, anchor):
        events += filter(counts, found.events)
        possible += filter(counts, found.possible)
    return _summary(RecountResult(_sorted(events), _sorted(possible)), lines, seen)


def _sorted(events: Iterable[RecountedCrossing]) -> tuple[RecountedCrossing, ...]:
    return tuple(sorted(events, key=lambda event: (event.t, event.line_id, event.track)))


def _summary(found: RecountResult, lines: Sequence[Line], seen: _Seen) -> dict[str, Any]:
    return {
        "objects": seen.objects,
        "duration_s": round(max(0.0, seen.end - seen.start), 6) if seen.objects else 0.0,
        "lines": {line.id: _totals([event for event in found.events if event.line_id == line.id]) for line in lines},
        "events": [_event(event) for event in found.events],
        "possible": [_event(event) for event in found.possible],
    }


def _totals(events: Sequence[RecountedCrossing]) -> dict[str, Any]:
    names = sorted({event.class_name for event in events})
    return {
        **_in_out(events),
        "by_class": {name: _in_out([event for event in events if event.class_name == name]) for name in names},
        "uncertain": sum(event.uncertain for event in events),
    }


def _in_out(events: Iterable[RecountedCrossing]) -> dict[str, int]:
    directions = [event.direction for event in events]
    return {direction.value: directions.count(direction) for direction in Direction}


def _event(event: RecountedCrossing) -> dict[str, Any]:
    return {
        "id": event.id,
        "t": event.t,
        "decided_at": event.decided_at,
        "line": event.line_id,
        "direction": event.direction.value,
        "track": event.track,
        "class": event.class_name,
        "score": round(event.score, 4),
        "stitched": event.stitched,
        "uncertain": event.uncertain,
    }


def _show(result: dict[str, Any]) -> None:
    terminal = Terminal()
    terminal.print(f"{result['objects']} objects, {result['duration_s']:.1f} s")
    columns = ("IN", "OUT", "OF THESE UNCERTAIN")
    table = new_table("LINE", *columns, numbers=columns)
    for name, counts in result["lines"].items():
        table.add_row(name, str(counts["in"]), str(counts["out"]), str(counts["uncertain"]))
    terminal.print(table)
    if result["possible"]:
        terminal.print(f"possible besides, and not counted: {len(result['possible'])}")

"""`countline replay`: count over recorded detections or tracks, with the code that counts live."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from countline_common.errors import InvalidInputError, NotFoundError
from countline_counting import CameraCounter, CountingSpec, Identity
from countline_counting.explain import Explainer, Journal
from countline_counting.frames import TrackedFrame
from countline_counting.identity import recording_run_name
from countline_counting.rule.flows import matrix
from countline_counting.spec import MAX_TRACK_AGE_S
from countline_pipelines.cli.spec_args import parse_size, parse_spec
from countline_pipelines.evaluation.mot import write_result
from countline_pipelines.evaluation.run import boxes_of
from countline_pipelines.offline.replay import RecordedFrame, read_jsonl, read_mot
from countline_pipelines.offline.reports.explained import explained, show_explained
from countline_pipelines.offline.reports.summary import Summary
from countline_pipelines.offline.trajectory_files import TrajectoryFile
from countline_pipelines.sources.content import content_hash

CAMERA_ID = "replay"
"""The ids of events do not depend on where a file lies."""

MinTrackAge = Annotated[
    float, typer.Option(help="Objects seen for fewer seconds cross nothing.", min=0, max=MAX_TRACK_AGE_S)
]
MinTrackScore = Annotated[float, typer.Option(help="Nor do objects of a lower mean score.", min=0, max=1)]
MaskInclude = Annotated[
    list[str] | None, typer.Option(help="NAME:x1,y1,x2,y2,x3,y3[,...]; only boxes that stand in one are seen.")
]
MaskIgnore = Annotated[list[str] | None, typer.Option(help="NAME:...; boxes that stand in it are not seen.")]
GroundOption = Annotated[
    list[str] | None, typer.Option(help="x,y=X,Y: where a point lies on the ground in metres; four times.")
]
ExplainOption = Annotated[
    bool, typer.Option("--explain", help="Say why each crossing counted, and why each near one did not.")
]


TrajectoriesOption = Annotated[
    Path | None, typer.Option(help="Write where each object was, for `countline recount --from`.")
]


class Format(StrEnum):
    """How a recording is written."""

    JSONL = "jsonl"
    MOT = "mot"


def replay(
    file: Annotated[Path, typer.Argument(help="Recorded detections or tracks.")],
    size: Annotated[str, typer.Option(help="Size of the picture in pixels, e.g. 1280x720.")],
    format_: Annotated[Format, typer.Option("--format", help="How the file is written.")] = Format.JSONL,
    fps: Annotated[float, typer.Option(help="Frames per second of a MOT file.", min=0.01, max=1000)] = 25.0,
    tracked: Annotated[
        bool, typer.Option(help="Take the ids of the file (they are healed) instead of tracking.")
    ] = False,
    line: Annotated[list[str] | None, typer.Option(help="NAME:x1,y1,x2,y2[,x3,y3...]; may be repeated.")] = None,
    zone: Annotated[list[str] | None, typer.Option(help="NAME:x1,y1,x2,y2,x3,y3[,...]; may be repeated.")] = None,
    queue: Annotated[list[str] | None, typer.Option(help="A zone in which objects wait; as --zone.")] = None,
    pixels: Annotated[bool, typer.Option(help="Coordinates are pixels, not 0..1.")] = False,
    anchor: Annotated[str, typer.Option(help="bottom, centre, or two fractions of the box.")] = "bottom",
    min_score: Annotated[float, typer.Option(help="Boxes below this score are not seen.", min=0, max=1)] = 0.0,
    min_track_age: MinTrackAge = 0.0,
    min_track_score: MinTrackScore = 0.0,
    mask_include: MaskInclude = None,
    mask_ignore: MaskIgnore = None,
    ground: GroundOption = None,
    explain: ExplainOption = False,
    tracks_out: Annotated[Path | None, typer.Option(help="Write the tracks as MOT text, as they were told.")] = None,
    trajectories: TrajectoriesOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Count a recording of boxes: one frame a line as JSON, or the text of MOTChallenge."""
    size_wh = parse_size(size)
    pixels_of = size_wh if pixels else None
    spec = parse_spec(
        line or [],
        zone or [],
        queues=queue or [],
        anchor=anchor,
        pixels_of=pixels_of,
        min_score=min_score,
        min_track_age_s=min_track_age,
        min_track_score=min_track_score,
        include=mask_include or [],
        ignore=mask_ignore or [],
        ground=ground or [],
    )
    if not spec.lines and not spec.zones and trajectories is None:
        raise InvalidInputError("there is nothing to count", hint="give --line or --zone")
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", hint="check the path")
    frames = (
        read_jsonl(file, with_ids=tracked) if format_ is Format.JSONL else read_mot(file, fps=fps, with_ids=tracked)
    )
    journal = Journal() if explain else None
    told: list[TrackedFrame] = []
    each = told.append if tracks_out is not None else None
    timeless_fps = fps if format_ is Format.MOT else 0.0
    run = recording_run_name(content_hash(file), tracked=tracked, fps=timeless_fps, size_wh=size_wh, spec=spec)
    with TrajectoryFile(trajectories) as paths:
        result = count_recording(
            frames, spec, size_wh, tracked=tracked, run=run, journal=journal, each=each, paths=paths
        )
    if tracks_out is not None:
        write_result(tracks_out, boxes_of(told))
    print(json.dumps(result)) if json_ else show(result)


def count_recording(
    frames: Iterator[RecordedFrame],
    spec: CountingSpec,
    size_wh: tuple[int, int],
    *,
    tracked: bool,
    run: str,
    journal: Journal | None = None,
    each: Callable[[TrackedFrame], object] | None = None,
    paths: TrajectoryFile | None = None,
) -> dict[str, Any]:
    """Count over all frames and return the summary; with a journal, what became of every near-crossing too.

    `each` is called with the tracks of every frame, as they were told then; `paths` gets the trajectories.
    """
    identity, kept = Identity(CAMERA_ID, 0, run), paths or TrajectoryFile(None)
    listener = Explainer(journal) if journal is not None else None
    counter = CameraCounter(identity, spec, tracked=tracked, listener=listener, trajectories=kept.is_wanted)
    summary = Summary(spec)
    times: list[float] = []
    for frame in frames:
        if tracked:
            result = counter.update_tracked(frame.as_tracks(CAMERA_ID, size_wh))
        else:
            result = counter.update(frame.as_detections(CAMERA_ID, size_wh))
        summary.add(result.events)
        kept.write(result.events, identity)
        if each is not None:
            each(result.tracked)
        times.append(frame.t)
    span_s = max(times) - min(times) if times else 0.0
    period_s = span_s / (len(times) - 1) if len(times) > 1 else 0.0
    last = counter.flush()
    kept.write(last, identity)
    summary.end_run(last, max(times, default=0.0) + period_s)
    told = summary.as_dict(frames=len(times), duration_s=span_s + period_s)
    return told if journal is None else {**told, "explain": explained(journal, spec)}


def show(result: dict[str, Any]) -> None:
    """Print the totals as tables."""
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
    if "explain" in result:
        show_explained(console, result["explain"])


def show_flows(console: Console, flows: Iterable[Mapping[str, Any]]) -> None:
    """Print how many objects went from where to where, all classes together."""
    rows, columns, counts = matrix((flow["origin"], flow["destination"], flow["count"]) for flow in flows)
    table = Table("from \\ to", *columns)
    for row, numbers in zip(rows, counts, strict=True):
        table.add_row(row or "-", *map(str, numbers))
    console.print(table)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def show_zones(console: Console, zones: Mapping[str, Mapping[str, Any]]) -> None:
    """Print how full zones were, and how long objects stayed in them or waited."""
    table = Table("zone", "visits", "at once", "mean", "median stay", "longest")
    for name, zone in zones.items():
        at_once = "-" if zone["max"] is None else f"{zone['min']} to {zone['max']}"
        mean = "-" if zone["mean"] is None else f"{zone['mean']:.1f}"
        named = f"{name} (queue)" if "waiting_s" in zone else name
        stays = (_seconds(zone["dwell_s"][which]) for which in ("median", "max"))
        table.add_row(named, str(zone["visits"]), at_once, mean, *stays)
    console.print(table)

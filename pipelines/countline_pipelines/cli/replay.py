"""`countline replay`: count over recorded detections or tracks, with the code that counts live."""

import json
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from countline_common.cli.options import grouped
from countline_common.files.output_files import OutputFiles
from countline_common.files.text_files import check_file
from countline_counting.counter import CameraCounter
from countline_counting.explain import Explainer, Journal
from countline_counting.frames import TrackedFrame
from countline_counting.identity import Identity, recording_run_name
from countline_counting.spec import CountingSpec
from countline_counting.tracking.scale import UNCHANGED, ScoreScale, scale_of_recording
from countline_pipelines.cli import options
from countline_pipelines.cli.options import SpecOptions
from countline_pipelines.cli.printing import show
from countline_pipelines.cli.spec_args import parse_size
from countline_pipelines.evaluation.mot import write_result
from countline_pipelines.evaluation.run import boxes_of
from countline_pipelines.offline.replay import RecordedFrame, read_jsonl, read_mot
from countline_pipelines.offline.reports.explained import explained
from countline_pipelines.offline.reports.summary import Summary
from countline_pipelines.offline.trajectory_files import TrajectoryFile
from countline_pipelines.sources.content import content_hash

CAMERA_ID: Final = "replay"


class Format(StrEnum):
    """Form of a recording."""

    JSONL = "jsonl"
    MOT = "mot"


@grouped
def replay(
    file: Annotated[Path, typer.Argument(help="Recorded detections or tracks.")],
    size: Annotated[str, typer.Option(help="Size of the picture in pixels, for example 1280x720.")],
    chosen: SpecOptions,
    format_: Annotated[Format, typer.Option("--format", help="Form of the file.")] = Format.JSONL,
    fps: Annotated[float, typer.Option(help="Frames per second of a MOT file.", min=0.01, max=1000)] = 25.0,
    tracked: Annotated[
        bool, typer.Option(help="Use the ids in the file instead of tracking. Broken tracks are still joined.")
    ] = False,
    keep_scores: options.KeepScoresOption = False,
    explain: options.ExplainOption = False,
    tracks_out: Annotated[
        Path | None, typer.Option(help="File for the tracks, as MOT text.", rich_help_panel=options.OUTPUT)
    ] = None,
    trajectories: options.TrajectoriesOption = None,
    json_: options.JsonOption = False,
) -> None:
    """Count a recording of boxes: one frame a line as JSON, or the text of MOTChallenge.

    Example: countline replay boxes.jsonl --size 1280x720 --line gate:0,0.5,1,0.5
    """
    size_wh = parse_size(size)
    spec = chosen.spec(size_wh, may_be_empty=trajectories is not None)
    check_file(file)
    if format_ is Format.JSONL:
        fps = 0.0  # the file has its own times
    scale = UNCHANGED if tracked or keep_scores else _scale(_frames(file, format_, fps, tracked=False), size_wh)
    frames = _frames(file, format_, fps, tracked=tracked)
    run = recording_run_name(content_hash(file), tracked=tracked, fps=fps, size_wh=size_wh, spec=spec)
    journal = Journal() if explain else None
    tracks: list[TrackedFrame] = []
    each = tracks.append if tracks_out is not None else None
    with OutputFiles([file]) as outputs:
        tracks_file = outputs.open("--tracks-out", tracks_out) if tracks_out is not None else None
        paths = TrajectoryFile(outputs.open("--trajectories", trajectories) if trajectories is not None else None)
        result = count_recording(
            frames, spec, size_wh, tracked=tracked, run=run, scale=scale, journal=journal, each=each, paths=paths
        )
        if tracks_file is not None:
            write_result(tracks_file, boxes_of(tracks))
        err = outputs.takes_standard_output
        print(json.dumps(result), file=sys.stderr if err else sys.stdout) if json_ else show(result, err=err)


def _frames(file: Path, format_: Format, fps: float, *, tracked: bool) -> Iterator[RecordedFrame]:
    if format_ is Format.JSONL:
        return read_jsonl(file, with_ids=tracked)
    return read_mot(file, fps=fps, with_ids=tracked)


def _scale(frames: Iterator[RecordedFrame], size_wh: tuple[int, int]) -> ScoreScale:
    """Measure the scale in a first pass over the file, so that memory holds its scores and no boxes."""
    return scale_of_recording(frame.as_detections(CAMERA_ID, size_wh) for frame in frames)


def count_recording(
    frames: Iterator[RecordedFrame],
    spec: CountingSpec,
    size_wh: tuple[int, int],
    *,
    tracked: bool,
    run: str,
    scale: ScoreScale = UNCHANGED,
    journal: Journal | None = None,
    each: Callable[[TrackedFrame], object] | None = None,
    paths: TrajectoryFile | None = None,
) -> dict[str, Any]:
    """Count over all frames and return the summary.

    Args:
        frames: the recording, in order.
        spec: what to count.
        size_wh: size of the picture in pixels.
        tracked: whether the recording has ids, which are used instead of the tracker.
        run: name of the run.
        scale: of the scores of detections.
        journal: gets the reason of every crossing and near-crossing; the summary lists them.
        each: called with the tracks of every frame.
        paths: gets the trajectories.
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
            result = counter.update(scale.applied(frame.as_detections(CAMERA_ID, size_wh)))
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
    counted = summary.as_dict(frames=len(times), duration_s=span_s + period_s)
    return counted if journal is None else {**counted, "explain": explained(journal, spec)}

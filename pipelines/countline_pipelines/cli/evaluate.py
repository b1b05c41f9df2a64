"""`countline evaluate`: measures tracks and counts against ground truth in MOTChallenge's format."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal, progress_bar
from countline_common.cli.tools import note
from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile, OutputFiles
from countline_counting.spec import CountingSpec
from countline_pipelines.cli.options import KeepScoresOption
from countline_pipelines.cli.spec_args import parse_size, parse_spec
from countline_pipelines.evaluation.comparison import sequence_length
from countline_pipelines.evaluation.counts import CountErrors
from countline_pipelines.evaluation.fault_report import show_faults
from countline_pipelines.evaluation.mot import Boxes, MotTruth, read_detections, read_result, read_truth, write_result
from countline_pipelines.evaluation.results import (
    Evaluation,
    Given,
    TrackResults,
    as_dict,
    evaluate_crossings,
    evaluate_tracks,
)
from countline_pipelines.evaluation.run import SequenceInfo
from countline_pipelines.evaluation.seqinfo import find_seqinfo, read_seqinfo
from countline_pipelines.evaluation.true_crossings import read_true_crossings
from countline_pipelines.evaluation.worst import in_turn

SHOWN = 12
"""Number of cases that a terminal lists."""


def evaluate(
    truth: Annotated[Path | None, typer.Option(help="Ground truth as MOT text (gt.txt).")] = None,
    result: Annotated[Path | None, typer.Argument(help="Tracks to evaluate, as MOT text.")] = None,
    crossings: Annotated[
        Path | None,
        typer.Option(help="True crossings as JSON, in place of true tracks: fewer causes can be distinguished."),
    ] = None,
    detections: Annotated[
        Path | None, typer.Option(help="Detections as MOT text, to be tracked and counted, in place of tracks.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of the picture in pixels, for example 1280x720.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second.", min=0.01, max=1000)] = None,
    frames: Annotated[int | None, typer.Option(help="Number of frames of the sequence.", min=1)] = None,
    line: Annotated[
        list[str] | None, typer.Option(help="Count line NAME:x1,y1,x2,y2[,…], coordinates 0..1. Repeatable.")
    ] = None,
    pixels: Annotated[bool, typer.Option(help="Coordinates in pixels instead of 0..1.")] = False,
    anchor: Annotated[str, typer.Option(help="Tested point of a box: bottom, centre, or X,Y in fractions.")] = "bottom",
    min_score: Annotated[float, typer.Option(help="Lowest score of a detection.", min=0, max=1)] = 0.0,
    keep_scores: KeepScoresOption = False,
    picture: Annotated[Path | None, typer.Option(help="Write a picture of the worst cases (PNG).")] = None,
    annotate: Annotated[Path | None, typer.Option(help="Write a video of every missed and false crossing.")] = None,
    tracks_out: Annotated[Path | None, typer.Option(help="Write the tracks as MOT text.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure tracks and counts against ground truth: HOTA, IDF1, MOTA, the error of the counts, and its causes.

    Size, rate and length default to those in seqinfo.ini beside the truth. A true crossing is what the product's own
    rule counts for each true object alone. Every missed and every false crossing has a cause.

    Example: countline evaluate --truth gt.txt --detections det.txt --line gate:0.1,0.6,0.9,0.6
    """
    from countline_pipelines.offline.annotate import check_film

    against = _truth_file(truth, crossings, picture)
    if annotate is not None and not line:
        raise InvalidInputError("--annotate shows crossings, and there is no line", hint="give one with --line")
    if (result is None) == (detections is None):
        raise InvalidInputError("give either tracks or detections", hint="give RESULT.txt or --detections det.txt")
    with OutputFiles([truth, crossings, result, detections, find_seqinfo(against)]) as outputs:
        tracks_file = outputs.open("--tracks-out", tracks_out) if tracks_out is not None else None
        picture_file = _picture_file(outputs, picture) if picture is not None else None
        film = outputs.open("--annotate", annotate, seeks=True) if annotate is not None else None
        if film is not None:
            check_film(film)
        there = read_truth(truth) if truth is not None else None
        boxes = read_result(result) if result is not None else read_detections(detections or against)
        sequence = _sequence(against, there, boxes, size, fps, frames)
        spec = parse_spec(
            line or [], anchor=anchor, pixels_of=sequence.size_wh if pixels else None, min_score=min_score
        )
        found = _evaluate(Given(boxes, result is not None, sequence, spec, keep_scores), there, crossings)
        err = outputs.takes_standard_output
        print(json.dumps(as_dict(found)), file=sys.stderr if err else sys.stdout) if json_ else show(found, err=err)
        if tracks_file is not None:
            write_result(tracks_file, found.run.tracked)
        if picture_file is not None and found.tracks is not None:
            _draw(picture_file, found, found.tracks, spec, (result or detections or against).name)
        if film is not None:
            _film(film, found, spec)


def _truth_file(truth: Path | None, crossings: Path | None, picture: Path | None) -> Path:
    """Return the one file of truth."""
    if truth is not None and crossings is None:
        return truth
    if crossings is None or truth is not None:
        raise InvalidInputError(
            "give the truth either as tracks or as crossings", hint="give --truth gt.txt or --crossings truth.json"
        )
    if picture is not None:
        raise InvalidInputError("--picture needs true tracks", hint="give --truth gt.txt, or use --annotate")
    return crossings


def _picture_file(outputs: OutputFiles, path: Path) -> OutputFile:
    from countline_pipelines.evaluation.picture import picture_format

    picture_format(path)  # an unknown kind of picture is reported before the evaluation
    return outputs.open("--picture", path)


def _sequence(
    path: Path, truth: MotTruth | None, given: Boxes, size: str | None, fps: float | None, frames: int | None
) -> SequenceInfo:
    """Return size, rate and length of the sequence; options override seqinfo.ini."""
    seqinfo = find_seqinfo(path)
    known = read_seqinfo(seqinfo) if seqinfo is not None and None in {size, fps, frames} else None
    missing = [name for name, value in (("--size", size), ("--fps", fps)) if value is None and known is None]
    if missing:
        raise InvalidInputError(
            f"missing {' and '.join(missing)}: there is no seqinfo.ini beside {path}",
            hint="give them as the sequence has them, for example --size 1920x1080 --fps 25",
        )
    return SequenceInfo(
        parse_size(size) if size is not None else (known.size_wh if known else (0, 0)),
        fps if fps is not None else (known.fps if known else 0.0),
        sequence_length(truth, given, frames or (known.frames if known else None)),
    )


def _evaluate(given: Given, truth: MotTruth | None, crossings: Path | None) -> Evaluation:
    true = read_true_crossings(crossings, given.spec) if crossings is not None else []
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=None if given.tracked else given.sequence.frames)

        def each() -> None:
            progress.advance(task)

        return evaluate_crossings(given, true, each) if truth is None else evaluate_tracks(given, truth, each)


def _draw(output: OutputFile, found: Evaluation, tracks: TrackResults, spec: CountingSpec, name: str) -> None:
    from countline_pipelines.evaluation.maps import Evaluated
    from countline_pipelines.evaluation.picture import save_picture

    save_picture(
        output,
        Evaluated(
            f"{name}:  {_in_words(found, tracks)}",
            found.sequence,
            tracks.truth,
            tracks.comparison,
            tracks.book,
            spec.lines,
            tracks.true_crossings,
            tracks.cases,
        ),
    )
    note(f"wrote a picture of the worst cases to {output.named}")


def _film(output: OutputFile, found: Evaluation, spec: CountingSpec) -> None:
    from countline_pipelines.evaluation.film import write_film

    if not found.faults:
        output.discard()
        note("no missed or false crossing: no video was written")
        return
    truth = found.tracks.truth.objects if found.tracks is not None else None
    write_film(output, found.faults, truth, found.run.tracked, found.sequence, spec)
    note(f"wrote a video of {len(found.faults)} faults to {output.named}")


def _in_words(found: Evaluation, tracks: TrackResults) -> str:
    numbers = tracks.metrics.as_dict()
    words = ", ".join(f"{name} {100 * numbers[name]:.1f}" for name in ("HOTA", "IDF1", "MOTA"))
    words += f", {numbers['IDSW']} changes of identity, {numbers['FN']} missed and {numbers['FP']} false boxes"
    if found.errors is not None and found.errors.error is not None:
        words += f", count error {100 * found.errors.error:.1f} %"
    return words


def show(found: Evaluation, *, err: bool = False) -> None:
    """Print the numbers as tables, to standard output or standard error."""
    terminal = Terminal(stderr=err)
    if found.tracks is not None:
        _show_metrics(terminal, found, found.tracks)
    if found.errors is not None:
        _show_counts(terminal, found.errors)
        show_faults(terminal, found.faults)
    if found.tracks is not None and found.tracks.cases:
        worst = new_table("WORST CASES", "FROM FRAME", "TO FRAME", "WHAT HAPPENED", numbers=("FROM FRAME", "TO FRAME"))
        for case in in_turn(found.tracks.cases, SHOWN):
            worst.add_row(case.kind.value, str(case.first), str(case.last), case.words)
        terminal.print(worst)


def _show_metrics(terminal: Terminal, found: Evaluation, tracks: TrackResults) -> None:
    numbers = tracks.metrics.as_dict()
    table = new_table(*numbers, numbers=numbers)
    table.add_row(*(f"{100 * v:.1f}" if isinstance(v, float) else str(v) for v in numbers.values()))
    terminal.print(
        f"{found.sequence.frames} frames, {len(tracks.comparison.truth_ids)} objects ({tracks.truth.convention}), "
        f"{len(tracks.comparison.tracked_ids)} tracks"
    )
    terminal.print(table)


def _show_counts(terminal: Terminal, errors: CountErrors) -> None:
    columns = ("TRUE", "COUNTED", "MATCHED")
    table = new_table("LINE", "DIRECTION", *columns, numbers=columns)
    for line in errors.lines:
        table.add_row(line.line_id, line.direction.value, str(line.true), str(line.counted), str(line.matched))
    terminal.print(table)
    if errors.error is None or errors.f1 is None:
        terminal.print("no object crosses a line; there is no count error")
    else:
        terminal.print(f"count error {100 * errors.error:.1f} %, F1 of the crossings {errors.f1:.3f}")

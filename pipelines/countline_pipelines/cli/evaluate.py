"""`countline evaluate`: measures tracks and counts against ground truth in MOTChallenge's format."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal, progress_bar
from countline_common.cli.tools import note
from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile, OutputFiles
from countline_counting.events import Crossing
from countline_counting.spec import CountingSpec
from countline_pipelines.cli.spec_args import parse_size, parse_spec
from countline_pipelines.evaluation.comparison import Comparison, compare, sequence_length
from countline_pipelines.evaluation.counts import CountErrors, count_errors
from countline_pipelines.evaluation.metrics import Metrics, measure
from countline_pipelines.evaluation.mot import Boxes, MotTruth, read_detections, read_result, read_truth, write_result
from countline_pipelines.evaluation.run import EvaluatedRun, SequenceInfo, count_truth, run_detections, run_result
from countline_pipelines.evaluation.seqinfo import find_seqinfo, read_seqinfo
from countline_pipelines.evaluation.worst import Ledger, WorstCase, in_turn, ledger, worst_cases

SHOWN = 12
"""Number of cases that a terminal lists."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of an evaluation."""

    truth: MotTruth
    sequence: SequenceInfo
    run: EvaluatedRun
    comparison: Comparison
    book: Ledger
    metrics: Metrics
    true_crossings: dict[int, tuple[Crossing, ...]]
    errors: CountErrors | None
    cases: list[WorstCase]


def evaluate(
    truth: Annotated[Path, typer.Option(help="Ground truth as MOT text (gt.txt).")],
    result: Annotated[Path | None, typer.Argument(help="Tracks to evaluate, as MOT text.")] = None,
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
    picture: Annotated[Path | None, typer.Option(help="Write a picture of the worst cases (PNG).")] = None,
    tracks_out: Annotated[Path | None, typer.Option(help="Write the tracks as MOT text.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure tracks and counts against ground truth: HOTA, IDF1, MOTA, and the error of the counts.

    Size, rate and length default to those in seqinfo.ini beside the truth. A true crossing is what the product's own
    rule counts for each true object alone.

    Example: countline evaluate --truth gt.txt --detections det.txt --line gate:0.1,0.6,0.9,0.6
    """
    if (result is None) == (detections is None):
        raise InvalidInputError("give either tracks or detections", hint="give RESULT.txt or --detections det.txt")
    with OutputFiles([truth, result, detections, find_seqinfo(truth)]) as outputs:
        tracks_file = outputs.open("--tracks-out", tracks_out) if tracks_out is not None else None
        picture_file = _picture_file(outputs, picture) if picture is not None else None
        there = read_truth(truth)
        given = read_result(result) if result is not None else read_detections(detections or truth)
        sequence = _sequence(truth, there, given, size, fps, frames)
        pixels_of = sequence.size_wh if pixels else None
        spec = parse_spec(line or [], anchor=anchor, pixels_of=pixels_of, min_score=min_score)
        found = _evaluate(there, given, sequence, spec, track=result is None)
        if tracks_file is not None:
            write_result(tracks_file, found.run.tracked)
        if picture_file is not None:
            _draw(picture_file, found, spec, (result or detections or truth).name)
        err = outputs.takes_standard_output
        print(json.dumps(as_dict(found)), file=sys.stderr if err else sys.stdout) if json_ else show(found, err=err)


def _picture_file(outputs: OutputFiles, path: Path) -> OutputFile:
    from countline_pipelines.evaluation.picture import picture_format

    picture_format(path)  # an unknown kind of picture is reported before the evaluation
    return outputs.open("--picture", path)


def _sequence(
    path: Path, truth: MotTruth, given: Boxes, size: str | None, fps: float | None, frames: int | None
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


def _evaluate(truth: MotTruth, given: Boxes, sequence: SequenceInfo, spec: CountingSpec, *, track: bool) -> Evaluation:
    with progress_bar() as progress:
        if track:
            task = progress.add_task("tracking", total=sequence.frames)
            run = run_detections(given, sequence, spec, lambda: progress.advance(task))
        else:
            run = run_result(given, sequence, spec)
        progress.add_task("comparing", total=None)
        comparison = compare(truth, run.tracked, sequence.frames)
        book = ledger(comparison)
        true_crossings = count_truth(truth.objects, sequence, spec)
        errors = _errors(spec, true_crossings, run)
        cases = worst_cases(comparison, book, errors, sequence.fps)
        return Evaluation(truth, sequence, run, comparison, book, measure(comparison), true_crossings, errors, cases)


def _errors(spec: CountingSpec, true: dict[int, tuple[Crossing, ...]], run: EvaluatedRun) -> CountErrors | None:
    if not spec.lines:
        return None
    everyone = [crossing for crossings in true.values() for crossing in crossings]
    return count_errors([line.id for line in spec.lines], everyone, run.crossings)


def _draw(output: OutputFile, found: Evaluation, spec: CountingSpec, name: str) -> None:
    from countline_pipelines.evaluation.maps import Evaluated
    from countline_pipelines.evaluation.picture import save_picture

    save_picture(
        output,
        Evaluated(
            f"{name}:  {_in_words(found)}",
            found.sequence,
            found.truth,
            found.comparison,
            found.book,
            spec.lines,
            found.true_crossings,
            found.cases,
        ),
    )
    note(f"wrote a picture of the worst cases to {output.named}")


def _in_words(found: Evaluation) -> str:
    numbers = found.metrics.as_dict()
    words = ", ".join(f"{name} {100 * numbers[name]:.1f}" for name in ("HOTA", "IDF1", "MOTA"))
    words += f", {numbers['IDSW']} changes of identity, {numbers['FN']} missed and {numbers['FP']} false boxes"
    if found.errors is not None and found.errors.error is not None:
        words += f", count error {100 * found.errors.error:.1f} %"
    return words


def as_dict(found: Evaluation) -> dict[str, Any]:
    """Return the results, ready for JSON."""
    answer: dict[str, Any] = {
        "frames": found.sequence.frames,
        "convention": found.truth.convention,
        "objects": len(found.comparison.truth_ids),
        "tracks": len(found.comparison.tracked_ids),
        "metrics": found.metrics.as_dict(),
        "worst": [
            {
                "kind": case.kind.value.replace(" ", "_"),
                "first_frame": case.first,
                "last_frame": case.last,
                "truth_id": case.truth_id,
                "track_id": case.track_id,
                "words": case.words,
            }
            for case in found.cases
        ],
    }
    if found.errors is not None:
        answer["counts"] = _counts_dict(found.errors)
    return answer


def _counts_dict(errors: CountErrors) -> dict[str, Any]:
    lines: dict[str, dict[str, Any]] = {}
    for line in errors.lines:
        lines.setdefault(line.line_id, {})[line.direction.value] = {
            "true": line.true,
            "counted": line.counted,
            "matched": line.matched,
        }
    return {
        "error": None if errors.error is None else round(errors.error, 5),
        "f1": None if errors.f1 is None else round(errors.f1, 5),
        "true": errors.true,
        "lines": lines,
    }


def show(found: Evaluation, *, err: bool = False) -> None:
    """Print the numbers as tables, to standard output or standard error."""
    terminal = Terminal(stderr=err)
    numbers = found.metrics.as_dict()
    table = new_table(*numbers, numbers=numbers)
    table.add_row(*(f"{100 * v:.1f}" if isinstance(v, float) else str(v) for v in numbers.values()))
    terminal.print(
        f"{found.sequence.frames} frames, {len(found.comparison.truth_ids)} objects ({found.truth.convention}), "
        f"{len(found.comparison.tracked_ids)} tracks"
    )
    terminal.print(table)
    if found.errors is not None:
        _show_counts(terminal, found.errors)
    if found.cases:
        worst = new_table("WORST CASES", "FROM FRAME", "TO FRAME", "WHAT HAPPENED", numbers=("FROM FRAME", "TO FRAME"))
        for case in in_turn(found.cases, SHOWN):
            worst.add_row(case.kind.value, str(case.first), str(case.last), case.words)
        terminal.print(worst)


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

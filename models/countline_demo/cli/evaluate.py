"""`countline models evaluate-demo`: precision and recall of the demo detector."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal
from countline_common.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from countline_demo.training.evaluate import DetectionTally, Report


def evaluate_demo(
    model: Annotated[Path | None, typer.Option(help="ONNX file. Default: the shipped demo detector.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Lowest score that counts. Default: the model's own.")] = None,
    crowd: Annotated[list[str] | None, typer.Option(help="calm, groups or busy; repeatable. Default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Number of unseen seeds for each view.")] = 5,
    frames: Annotated[int, typer.Option(min=1, help="Frames per seed and view.")] = 24,
    parts: Annotated[bool, typer.Option("--parts", help="Also report by class, view and seed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure precision and recall of the demo detector on unseen scenes.

    Example: countline models evaluate-demo --crowd calm --parts
    """
    from countline_demo.training.evaluate import CROWDS, evaluate
    from countline_models.contract import check_contract

    path = model or shipped_model()
    at = check_contract(path, run=False).score_threshold if threshold is None else threshold
    names = list(crowd or CROWDS)
    for name in names:
        if name not in CROWDS:
            raise InvalidInputError(f"unknown crowd {name!r}", hint=f"choose one of: {', '.join(CROWDS)}")
    reports = []
    for name in names:
        with Terminal(stderr=True).status(f"{path.name}, {name}: {seeds} seeds, 4 views, {frames} frames each"):
            reports.append(evaluate(path, at, crowd=name, seeds=range(1, seeds + 1), frames=frames))
    if as_json:
        print(json.dumps({"model": str(path), "crowds": [report.to_json() for report in reports]}))
    else:
        Terminal().print(_table(reports, parts=parts))


def _table(reports: list["Report"], *, parts: bool) -> Table:
    title = f"Score {reports[0].threshold:g}, IoU 0.5, objects at least half visible and 16 px high, unseen seeds"
    columns = ("OBJECTS/FRAME", "MOST", "PRECISION", "RECALL", "RIGHT", "FALSE", "MISSED", "IGNORED")
    table = new_table("CROWD", "PART", *columns, numbers=columns, title=title)
    for report in reports:
        crowded = (f"{report.objects / max(1, report.frames):.1f}", str(report.most_objects))
        table.add_row(report.crowd, "all", *crowded, *_figures(report.total))
        for name, tally in sorted(report.parts.items()) if parts else ():
            table.add_row("", name, "", "", *_figures(tally))
    return table


def _figures(tally: "DetectionTally") -> tuple[str, ...]:
    counts = (tally.right, tally.false, tally.missed, tally.ignored)
    return f"{tally.precision:.4f}", f"{tally.recall:.4f}", *map(str, counts)


def shipped_model() -> Path:
    """The demo detector in the model repository of this checkout.

    Raises:
        NotFoundError: the code does not run from a checkout.
    """
    path = Path(__file__).resolve().parents[3] / "triton-repo" / "demo_detector" / "1" / "model.onnx"
    if not path.is_file():
        raise NotFoundError(f"no demo detector at {path}", hint="name a model with --model")
    return path

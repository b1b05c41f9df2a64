"""`countline models evaluate-demo`: how good the demo detector is."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from countline_common.errors import NotFoundError


def evaluate_demo(
    model: Annotated[Path | None, typer.Option(help="ONNX file; the shipped one if left out.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Score to count from; the model's own if left out.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="How many unseen seeds, of each view.")] = 5,
    frames: Annotated[int, typer.Option(min=1, help="Frames per seed and view.")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on stdout.")] = False,
) -> None:
    """Measure precision and recall of the demo detector on scenes it has never seen."""
    from countline_models.contract import check_contract
    from countline_models.demo.evaluate import Report, evaluate

    path = model or shipped_model()
    at = check_contract(path, run=False).score_threshold if threshold is None else threshold
    with Console(stderr=True).status(f"{path.name}: {seeds} seeds, 4 views, {frames} frames each"):
        report: Report = evaluate(path, at, seeds=range(1, seeds + 1), frames=frames)
    if as_json:
        print(json.dumps({"model": str(path), **report.to_json()}))
        return
    table = Table(
        title=f"Score {at:g} and IoU 0.5, objects at least half visible and 16 px high, unseen seeds 1 to {seeds}"
    )
    for heading in ("", "precision", "recall", "right", "false", "missed", "ignored"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, tally in [("all", report.total), *sorted(report.parts.items())]:
        shares = (f"{tally.precision:.4f}", f"{tally.recall:.4f}")
        table.add_row(name, *shares, *(str(n) for n in (tally.right, tally.false, tally.missed, tally.ignored)))
    Console().print(table)
    crowd = report.objects / max(1, report.frames)
    print(f"{report.frames} frames, {crowd:.1f} such objects in each, at most {report.most_objects} figures in one")


def shipped_model() -> Path:
    """The demo detector in the model repository of this checkout.

    Raises:
        NotFoundError: this is no checkout.
    """
    path = Path(__file__).resolve().parents[3] / "triton-repo" / "demo_detector" / "1" / "model.onnx"
    if not path.is_file():
        raise NotFoundError(f"there is no model {path}", cure="name one with --model")
    return path

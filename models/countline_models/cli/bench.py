"""`countline models bench`: measures how fast Triton runs a model, recommends a setting and applies it."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal, progress_bar
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, note, print_json
from countline_common.errors import ConflictError, InvalidInputError, NotFoundError
from countline_common.files.output_files import OutputFile, OutputFiles
from countline_common.files.scratch import scratch_folder
from countline_common.triton import ModelRef
from countline_common.triton.private import find_model, known_models, private_triton

if TYPE_CHECKING:
    from countline_models.bench.points import BenchPoint, Setting
    from countline_models.bench.recommend import Recommendation
    from countline_models.bench.sweep import BenchPlan, Sweep

DISTURBS = (
    "note: the measurement slows down cameras on this Triton: it loads the model again for each setting, and frames of "
    "cameras queue behind its own. It restores the model's configuration at the end."
)

BUSY_SHARE: Final = 0.25
"""A load per core above this, in the last minute, disturbs a measurement."""


def _complete_model(incomplete: str) -> list[str]:
    return [name for name in known_models() if name.startswith(incomplete)]


MeasuredArgument = Annotated[
    str,
    typer.Argument(
        help="NAME or NAME@VERSION of a model in the repository, or a contract model file (.onnx).",
        autocompletion=_complete_model,
        show_default=False,
    ),
]


def bench(
    model: MeasuredArgument,
    batch_sizes: Annotated[str, typer.Option(help="Batch sizes in frames, separated by commas.")] = "1,2,4,8",
    instances: Annotated[
        str, typer.Option(help="Numbers of parallel copies of the model, separated by commas.")
    ] = "1,2",
    queue_delays: Annotated[
        str,
        typer.Option(help="Queue delays in microseconds, separated by commas; above 0 each request has one frame."),
    ] = "0",
    in_flight: Annotated[
        str | None, typer.Option(help="Batches in flight, separated by commas. Default: 1 and instances + 1.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Seconds per point; up to three times as many if it is unstable.", min=0.1)
    ] = 3.0,
    latency_limit_ms: Annotated[
        float, typer.Option(help="Limit for the 95th percentile of latency; 0 for no limit.", min=0)
    ] = 0.0,
    triton: Annotated[
        str | None, typer.Option(help="HOST:PORT of a running Triton (gRPC). Default: a private Triton.")
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Model repository with the model; --apply writes into it.")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply the recommended setting to --repository, else to the running system.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw latency against throughput into a .png or .svg file.")] = None,
    server: ServerOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure throughput and latency of a model in Triton, and recommend a setting.

    Example: countline models bench demo_detector --batch-sizes 1,2,4 --latency-limit-ms 100
    """
    from countline_models.bench.recommend import recommend

    _check_options(model, triton, repository, apply=apply)
    settings = _settings(batch_sizes, instances, queue_delays)
    levels = _numbers(in_flight, "--in-flight") if in_flight else []
    _note_if_busy()
    with OutputFiles([model if _is_file(model) else None]) as outputs:
        chart = _chart_file(outputs, plot) if plot is not None else None
        with _served(model, triton, repository) as (address, ref):
            from countline_models.bench.sweep import BenchPlan

            measured = _measure(address, BenchPlan(ref, settings, levels, seconds, alone=triton is None))
        chosen = recommend(measured.points, latency_limit_ms)
        if chart is not None:
            _plot(chart, measured, chosen, latency_limit_ms)
    if as_json:
        print_json(_as_json(measured, chosen, latency_limit_ms))
    else:
        _show(measured, chosen)
    if apply:
        _apply(ref.name, chosen, repository, lambda question: ask(server, data, question))


def _settings(batch_sizes: str, instances: str, queue_delays: str) -> "list[Setting]":
    from countline_models.bench.points import settings_of

    found = settings_of(
        _numbers(batch_sizes, "--batch-sizes"),
        _numbers(instances, "--instances"),
        _numbers(queue_delays, "--queue-delays", 0),
    )
    if not found:
        raise InvalidInputError("there is nothing to measure", hint="a queue delay needs a batch size above 1")
    return found


def _chart_file(outputs: OutputFiles, plot: Path) -> OutputFile:
    from countline_models.charts import open_picture

    return open_picture(outputs, plot)


def _check_options(model: str, triton: str | None, repository: Path | None, *, apply: bool) -> None:
    """Check options before anything is measured."""
    if _is_file(model) and (triton or apply or repository):
        raise InvalidInputError(
            "a model file is measured on a private Triton, without --triton, --repository and --apply",
            hint="deploy it first and use its name: countline models deploy FILE --name NAME",
        )
    if triton and repository:
        raise InvalidInputError(
            "--triton and --repository exclude each other", hint="a running Triton has its own repository"
        )


def _note_if_busy() -> None:
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > BUSY_SHARE * cores:
        note(f"note: this machine is busy (load {load:.1f} on {cores} cores), so figures will be lower")


def _is_file(model: str) -> bool:
    return model.endswith(".onnx") or "/" in model


def _numbers(text: str, option: str, least: int = 1) -> list[int]:
    """Whole numbers separated by commas.

    >>> _numbers("1, 2,8", "--batch-sizes")
    [1, 2, 8]
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdecimal() and int(part) >= least for part in parts):
        raise InvalidInputError(
            f"{option} {text!r} is not a list of whole numbers from {least}",
            hint=f"separate them with commas: {option} 1,2,4",
        )
    return [int(part) for part in parts]


@contextmanager
def _served(model: str, triton: str | None, repository: Path | None) -> Iterator[tuple[str, ModelRef]]:
    """Address of a Triton that has the model, and the model's name there."""
    if triton is not None:
        note(DISTURBS)
        yield triton, ModelRef.parse(model)
        return
    with scratch_folder("bench") as folder:
        place, ref = _placed(Path(model), folder) if _is_file(model) else _found(ModelRef.parse(model), repository)
        with private_triton(place) as own:
            with Terminal(stderr=True).status("starting Triton"):
                own.wait_ready()
            yield own.address, ref


def _placed(file: Path, folder: Path) -> tuple[Path, ModelRef]:
    """A repository with one contract model."""
    from countline_models.repository.adding import add_model
    from countline_models.repository.prepare import model_name

    name = model_name(file)
    add_model(file, name, folder)
    return folder, ModelRef(name, 1)


def _found(ref: ModelRef, repository: Path | None) -> tuple[Path, ModelRef]:
    """The repository of a model."""
    place = find_model(ref.name).repository if repository is None else repository
    folder = place / ref.name
    if not (folder / "config.pbtxt").is_file():
        raise NotFoundError(f"{place} has no model {ref.name!r}", hint="check --repository and the model's name")
    versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    if ref.version and ref.version not in versions:
        there = ", ".join(map(str, versions)) or "none"
        raise NotFoundError(f"there is no {ref}", hint=f"available versions of {ref.name!r}: {there}")
    return place, ref


def _measure(address: str, plan: "BenchPlan") -> "Sweep":
    from countline_models.bench.sweep import sweep

    with progress_bar() as bar:
        task = bar.add_task(f"measuring {plan.model}", total=plan.points)

        def on_point(point: "BenchPoint") -> None:
            bar.update(task, advance=1, description=f"measuring {plan.model}: {point.frames_per_s:.1f} frames/s")

        return asyncio.run(sweep(address, plan, on_point))


def _plot(chart: OutputFile, measured: "Sweep", chosen: "Recommendation", latency_limit_ms: float) -> None:
    from countline_models.bench.chart import save_chart

    save_chart(chart, f"{measured.model} on {_machine(measured)}", measured.points, chosen, latency_limit_ms)


def _machine(measured: "Sweep") -> str:
    frames = "shared memory" if measured.shared else "gRPC bytes"
    return f"{measured.server}, {len(os.sched_getaffinity(0))} cores here, frames by {frames}"


def _as_json(measured: "Sweep", chosen: "Recommendation", latency_limit_ms: float) -> dict[str, Any]:
    return {
        "model": str(measured.model),
        "server": measured.server,
        "transport": "shm" if measured.shared else "grpc",
        "size": [measured.info.width, measured.info.height],
        "latency_limit_ms": latency_limit_ms,
        "points": [_point_json(point) for point in measured.points],
        "recommended": {
            **asdict(chosen.setting),
            "frames_per_s": round(chosen.point.frames_per_s, 2),
            "latency_p95_ms": round(chosen.point.latency_p95_ms, 2),
            "holds": chosen.holds,
            "reason": chosen.reason,
            "findings": list(chosen.findings),
        },
    }


def _point_json(point: "BenchPoint") -> dict[str, Any]:
    fields = asdict(point)
    setting: dict[str, Any] = fields.pop("setting")
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in fields.items()}
    return {**setting, **rounded}


def _show(measured: "Sweep", chosen: "Recommendation") -> None:
    columns = ("BATCH", "INSTANCES", "DELAY(µs)", "IN FLIGHT", "FRAMES/S", "±", "P50(ms)", "P95(ms)", "P99(ms)")
    table = new_table(*columns, "REMARK", numbers=columns)
    for point in measured.points:
        marked = point is chosen.point
        remark = ("recommended" if chosen.holds else "nearest") if marked else "" if point.stable else "unstable"
        table.add_row(*_cells(point), remark, style="bold green" if marked else None)
    terminal = Terminal()
    terminal.print(f"{measured.model}, {measured.info.width}x{measured.info.height}, {_machine(measured)}")
    terminal.print(table)
    setting = chosen.setting
    terminal.print(
        f"\n{'recommended' if chosen.holds else 'nearest'}: max_batch_size {setting.max_batch_size}, instances "
        f"{setting.instances}, max_queue_delay_us {setting.max_queue_delay_us}: {chosen.reason}"
    )
    for finding in chosen.findings:
        terminal.print(finding)


def _cells(point: "BenchPoint") -> tuple[str, ...]:
    setting = point.setting
    counts = (setting.max_batch_size, setting.instances, setting.max_queue_delay_us, point.in_flight)
    times = (point.latency_p50_ms, point.latency_p95_ms, point.latency_p99_ms)
    spread = f"{point.spread / 2:.0%}"
    return *map(str, counts), f"{point.frames_per_s:.1f}", spread, *(f"{each:.1f}" for each in times)


def _apply(name: str, chosen: "Recommendation", repository: Path | None, send: Callable[[Any], None]) -> None:
    from countline_models.bench.applying import tune_repository, tune_system

    if not chosen.holds:
        raise ConflictError(f"no setting was applied: {chosen.reason}", hint="raise --latency-limit-ms")
    if repository is not None:
        note(f"Wrote {tune_repository(repository, name, chosen.setting)}; it applies from the next load on.")
        return
    send(lambda client: tune_system(client, name, chosen.setting))
    note(f"Applied the setting to {name}.")

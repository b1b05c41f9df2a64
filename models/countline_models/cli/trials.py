"""`countline models shadow | canary | trials | trial`: compares a new version with the live one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from countline.v1 import models_pb2
from countline.v1.models_pb2 import (
    StartTrialRequest,
    StopTrialRequest,
    Trial,
    TrialComparison,
    TrialMode,
    TrialState,
)
from countline_common.cli.terminal import Styled, Terminal
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    ask,
    note,
    print_json,
    print_message,
    print_table,
)
from countline_common.errors import InvalidInputError, UnavailableError
from countline_common.files.output_files import OutputFile, OutputFiles
from countline_common.grpc.client import Client
from countline_common.grpc.errors import translated
from countline_common.http.rest_json import enum_word, to_json
from countline_common.times import from_timestamp
from countline_models.cli.references import (
    CamerasOption,
    CandidateArgument,
    NameArgument,
    TrialArgument,
    all_trials,
    candidate,
    refreshed,
    trial_named,
)
from countline_models.cli.service import local_time

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_S: Final = 1.0
AWAY_S: Final = 60.0
"""A waiting command ends with an error if the service does not answer for this long."""
REJECTED_CODE: Final = 1
"""Exit code of a waiting command if the challenger was not accepted."""
COLOURS: Final = {
    models_pb2.TRIAL_STATE_RUNNING: "cyan",
    models_pb2.TRIAL_STATE_ACCEPTED: "green",
    models_pb2.TRIAL_STATE_REJECTED: "red",
}
COLUMNS: Final = ("CAMERA", "LINE", "BOTH", "ONLY LIVE", "ONLY NEW", "RATIO", "INTERVAL", "VIDEO", "FRAMES MISSED")

MarginOption = Annotated[
    float, typer.Option(min=0.001, max=0.999, help="Allowed difference, as a share of the live version's counts.")
]
MinutesOption = Annotated[
    float, typer.Option(min=0, help="End the trial undecided after this many minutes; 0 for never.")
]
BetterOption = Annotated[bool, typer.Option("--promote-if-better", help="Make the version live when it is accepted.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for the end; the exit code is 1 unless it is accepted.")]


def shadow(
    model: CandidateArgument,
    cameras: CamerasOption,
    margin: MarginOption = 0.1,
    minutes: MinutesOption = 0.0,
    promote_if_better: BetterOption = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Start a shadow trial: a version counts beside the live one, and its counts are only compared.

    Example: countline models shadow gates@2 --cameras door,yard --wait
    """
    request = _request(cameras, models_pb2.TRIAL_MODE_SHADOW, margin, minutes, better=promote_if_better)
    _start(model, request, server, data, wait=wait, as_json=json)


def canary(
    model: CandidateArgument,
    cameras: CamerasOption,
    margin: MarginOption = 0.1,
    minutes: MinutesOption = 0.0,
    promote_if_better: BetterOption = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Start a canary trial: a version counts for some cameras; they change back if it counts fewer.

    Example: countline models canary gates@2 --cameras door --promote-if-better
    """
    request = _request(cameras, models_pb2.TRIAL_MODE_CANARY, margin, minutes, better=promote_if_better)
    _start(model, request, server, data, wait=wait, as_json=json)


def _request(
    cameras: str, mode: "TrialMode.ValueType", margin: float, minutes: float, *, better: bool
) -> StartTrialRequest:
    camera_ids = [camera_id.strip() for camera_id in cameras.split(",") if camera_id.strip()]
    if not camera_ids:
        raise InvalidInputError("no camera is named", hint="give --cameras ID[,ID…]")
    return StartTrialRequest(
        mode=mode,
        camera_ids=camera_ids,
        margin=margin,
        promote_if_better=better,
        time_limit_s=minutes * 60,
    )


def _start(
    model: str, request: StartTrialRequest, server: str | None, data: Path | None, *, wait: bool, as_json: bool
) -> None:
    async def question(client: Client) -> Trial:
        ref = await candidate(client, model)
        request.name, request.challenger = ref.name, ref.version
        return (await client.models.StartTrial(request)).trial

    started = ask(server, data, question)
    note(f"Started trial {started.trial_id}: {_headline(started)}.")
    if wait:
        _report_ended(_waited(started, server, data), as_json=as_json)
    elif as_json:
        print_message(started)
    else:
        note(f"To see its results: countline models trial {started.trial_id}")


def trials(name: NameArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the trials of a model, newest first.

    Example: countline models trials gates
    """
    found = ask(server, data, lambda client: all_trials(client, name))
    if json:
        print_json({"trials": [to_json(trial) for trial in found]})
        return
    columns = ("TRIAL", "MODE", "NEW", "LIVE", "STATE", "CROSSINGS", "RATIO", "CAMERAS", "STARTED", "VERDICT")
    print_table(columns, [_row(trial) for trial in found], f"{name} has no trials.")


def _row(trial: Trial) -> tuple[str, ...]:
    total = trial.total
    return (
        trial.trial_id,
        _mode(trial),
        f"@{trial.challenger}",
        f"@{trial.incumbent}",
        _state(trial),
        str(_crossings(total)),
        f"{total.ratio:.2f}" if total.HasField("ratio") else "-",
        ", ".join(trial.camera_ids),
        local_time(trial.started_at),
        trial.verdict or "-",
    )


def trial(
    trial: TrialArgument,
    plot: Annotated[Path | None, typer.Option(help="Draw a chart into a .png or .svg file.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the trial without a verdict.")] = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show a trial: the counts of both versions, line by line, and the verdict.

    Example: countline models trial gates --plot gates.svg
    """
    if stop and wait:
        raise InvalidInputError("--stop and --wait exclude each other", hint="give one of them")

    async def question(client: Client) -> Trial:
        found = await trial_named(client, trial)
        if not stop:
            return found
        return (await client.models.StopTrial(StopTrialRequest(name=found.name, trial_id=found.trial_id))).trial

    with OutputFiles() as outputs:
        chart = _chart_file(outputs, plot) if plot is not None else None
        found = ask(server, data, question)
        found = _waited(found, server, data) if wait else found
        if chart is not None:
            _draw(chart, found)
    if wait:
        _report_ended(found, as_json=json)
    else:
        _report(found, as_json=json)


def _chart_file(outputs: OutputFiles, plot: Path) -> OutputFile:
    from countline_models.charts import open_picture

    return open_picture(outputs, plot)


def _draw(chart: OutputFile, trial: Trial) -> None:
    from countline_models.trials.chart import save_chart

    save_chart(chart, trial)
    note(f"Wrote {chart.named}.")


def _waited(trial: Trial, server: str | None, data: Path | None) -> Trial:
    """The trial after its end."""
    with _progress_display() as show:
        return ask(server, data, lambda client: _ended(client, trial, show))


def _report_ended(ended: Trial, *, as_json: bool) -> None:
    """Report a trial that has ended; end the command with a status of its own unless the new version was accepted."""
    _report(ended, as_json=as_json)
    if ended.state != models_pb2.TRIAL_STATE_ACCEPTED:
        raise typer.Exit(REJECTED_CODE)


async def _ended(client: Client, trial: Trial, show: Callable[[Trial], None]) -> Trial:
    """Wait until a trial has ended and return it."""
    async for now in _polled(client, trial):
        show(now)
        trial = now
        if now.state != models_pb2.TRIAL_STATE_RUNNING:
            break
    return trial


async def _polled(client: Client, trial: Trial) -> AsyncIterator[Trial]:
    """The trial, once a second; a service that does not answer is asked again for `AWAY_S`."""
    until = time.monotonic() + AWAY_S
    while True:
        try:
            with translated(client.endpoints.models):
                now = await refreshed(client, trial)
        except UnavailableError:
            if time.monotonic() > until:
                raise
        else:
            until = time.monotonic() + AWAY_S
            yield now
        await asyncio.sleep(POLL_S)


@contextmanager
def _progress_display() -> "Iterator[Callable[[Trial], None]]":
    """Show the progress of a trial on standard error: one changing line on a terminal, else a line for each verdict."""
    terminal = Terminal(stderr=True)
    if terminal.is_terminal:
        with terminal.status("") as status:
            yield lambda trial: status.update(terminal.render_str(_progress(trial)))
        return
    printed: list[str] = []

    def show(trial: Trial) -> None:
        if printed[-1:] != [trial.verdict]:
            printed.append(trial.verdict)
            note(_progress(trial))

    yield show


def _progress(trial: Trial) -> str:
    minutes = (time.time() - from_timestamp(trial.started_at)) / 60
    return f"{minutes:.0f} min, {_crossings(trial.total)} crossings: {trial.verdict or 'no crossings yet'}"


def _report(trial: Trial, *, as_json: bool) -> None:
    if as_json:
        print_message(trial)
        return
    note(f"{trial.trial_id}: {_headline(trial)}; {_state(trial)}, margin {trial.margin:.0%}")
    note(trial.verdict or "No crossings yet.")
    rows = [_line(comparison) for comparison in trial.lines]
    print_table(COLUMNS, [*rows, _line(trial.total, total=True)], "")


def _headline(trial: Trial) -> str:
    cameras = ", ".join(trial.camera_ids)
    return f"{trial.name}@{trial.challenger} against @{trial.incumbent}, {_mode(trial)} on {cameras}"


def _line(comparison: TrialComparison, *, total: bool = False) -> tuple[str | Styled, ...]:
    known = comparison.HasField("ratio")
    return (
        Styled("total", style="bold") if total else comparison.camera_id,
        "" if total else comparison.line_id,
        str(comparison.both),
        str(comparison.only_incumbent),
        str(comparison.only_challenger),
        f"{comparison.ratio:.2f}" if known else "-",
        f"{comparison.ratio_low:.2f} to {comparison.ratio_high:.2f}" if known else "-",
        f"{comparison.seconds / 60:.1f} min",
        str(comparison.frames_missed),
    )


def _crossings(comparison: TrialComparison) -> int:
    return comparison.both + comparison.only_incumbent + comparison.only_challenger


def _mode(trial: Trial) -> str:
    return enum_word(TrialMode.DESCRIPTOR, trial.mode)


def _state(trial: Trial) -> str:
    word = enum_word(TrialState.DESCRIPTOR, trial.state)
    return f"[{COLOURS[trial.state]}]{word}[/]" if trial.state in COLOURS else word

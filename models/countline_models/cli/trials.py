"""`countline models shadow | canary | trials | trial`: a new version beside the live one, and how the two compare."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from countline.v1 import models_pb2
from countline.v1.models_pb2 import (
    StartTrialRequest,
    StopTrialRequest,
    Trial,
    TrialComparison,
    TrialMode,
    TrialState,
)
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
"""While it is waited for, the service may be away for so long."""
REJECTED_CODE: Final = 1
"""Of a command that waited and saw the challenger not accepted."""
COLOURS: Final = {
    models_pb2.TRIAL_STATE_RUNNING: "cyan",
    models_pb2.TRIAL_STATE_ACCEPTED: "green",
    models_pb2.TRIAL_STATE_REJECTED: "red",
}
COLUMNS: Final = ("CAMERA", "LINE", "BOTH", "ONLY LIVE", "ONLY NEW", "RATIO", "INTERVAL", "VIDEO", "FRAMES MISSED")

MarginOption = Annotated[
    float, typer.Option(min=0.001, max=0.999, help="By which share of the live version's counts they may differ.")
]
MinutesOption = Annotated[float, typer.Option(min=0, help="Ends undecided after so many; 0 for never.")]
BetterOption = Annotated[bool, typer.Option("--promote-if-better", help="Make it live when it is accepted.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Until it is decided; leaves with 1 unless it was accepted.")]


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
    """Let a version count beside the live one, unseen, and compare what the two count."""
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
    """Let a version count on some cameras, the live one beside it; it goes back by itself where it counts fewer."""
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
    note(f"Started the trial {started.trial_id}: {_headline(started)}.")
    if wait:
        _wait_and_report(started, server, data, as_json=as_json, plot=None)
    elif as_json:
        print_message(started)
    else:
        note(f"See how it goes: countline models trial {started.trial_id}")


def trials(name: NameArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the trials of a model, the newest first."""
    found = ask(server, data, lambda client: all_trials(client, name))
    if json:
        print_json({"trials": [to_json(trial) for trial in found]})
        return
    columns = ("TRIAL", "MODE", "NEW", "LIVE", "STATE", "CROSSINGS", "RATIO", "CAMERAS", "STARTED", "VERDICT")
    print_table(columns, [_row(trial) for trial in found], f"{name} was on no trial yet.")


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
        escape(trial.verdict) or "-",
    )


def trial(
    trial: TrialArgument,
    plot: Annotated[Path | None, typer.Option(help="Draw it into a .png or .svg.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End it without a verdict.")] = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show how two versions compare: what both counted, line by line, and what was found."""
    if stop and wait:
        raise InvalidInputError("--stop and --wait exclude each other", hint="give one of them")

    async def question(client: Client) -> Trial:
        found = await trial_named(client, trial)
        if not stop:
            return found
        return (await client.models.StopTrial(StopTrialRequest(name=found.name, trial_id=found.trial_id))).trial

    found = ask(server, data, question)
    if wait:
        _wait_and_report(found, server, data, as_json=json, plot=plot)
    else:
        _report(found, as_json=json, plot=plot)


def _wait_and_report(trial: Trial, server: str | None, data: Path | None, *, as_json: bool, plot: Path | None) -> None:
    with _watched() as tell:
        ended = ask(server, data, lambda client: _ended(client, trial, tell))
    _report(ended, as_json=as_json, plot=plot)
    if ended.state != models_pb2.TRIAL_STATE_ACCEPTED:
        raise typer.Exit(REJECTED_CODE)


async def _ended(client: Client, trial: Trial, tell: Callable[[Trial], None]) -> Trial:
    """The trial once it has ended."""
    async for now in _looks(client, trial):
        tell(now)
        trial = now
        if now.state != models_pb2.TRIAL_STATE_RUNNING:
            break
    return trial


async def _looks(client: Client, trial: Trial) -> AsyncIterator[Trial]:
    """The trial again and again; a service that is away for a while is waited for."""
    until = time.monotonic() + AWAY_S
    while True:
        try:
            with translated():
                now = await refreshed(client, trial)
        except UnavailableError:
            if time.monotonic() > until:
                raise
        else:
            until = time.monotonic() + AWAY_S
            yield now
        await asyncio.sleep(POLL_S)


@contextmanager
def _watched() -> "Iterator[Callable[[Trial], None]]":
    """Say on standard error how a trial goes: on one line that changes on a terminal, else where its verdict does."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status("") as status:
            yield lambda trial: status.update(escape(_progress(trial)))
        return
    said: list[str] = []

    def tell(trial: Trial) -> None:
        if said[-1:] != [trial.verdict]:
            said.append(trial.verdict)
            console.print(_progress(trial), markup=False, soft_wrap=True)

    yield tell


def _progress(trial: Trial) -> str:
    minutes = (time.time() - from_timestamp(trial.started_at)) / 60
    return f"{minutes:.0f} min, {_crossings(trial.total)} crossings: {trial.verdict or 'nothing was counted yet'}"


def _report(trial: Trial, *, as_json: bool, plot: Path | None) -> None:
    if plot is not None:
        from countline_models.trials.chart import save_chart

        save_chart(plot, trial)
        note(f"Drawn: {plot}")
    if as_json:
        print_message(trial)
        return
    note(f"{trial.trial_id}: {_headline(trial)}; {_state(trial)}, margin {trial.margin:.0%}")
    note(escape(trial.verdict) or "Nothing was counted yet.")
    rows = [_line(comparison) for comparison in trial.lines]
    print_table(COLUMNS, [*rows, _line(trial.total, total=True)], "")


def _headline(trial: Trial) -> str:
    cameras = ", ".join(trial.camera_ids)
    return f"{trial.name}@{trial.challenger} against @{trial.incumbent}, {_mode(trial)} on {cameras}"


def _line(comparison: TrialComparison, *, total: bool = False) -> tuple[str, ...]:
    known = comparison.HasField("ratio")
    return (
        "[bold]total[/]" if total else comparison.camera_id,
        "" if total else escape(comparison.line_id),
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

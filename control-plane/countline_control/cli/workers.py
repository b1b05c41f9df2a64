"""`countline workers`."""

import time
from collections.abc import Iterable
from typing import Final

import typer

from countline.v1.workers_pb2 import ListWorkersRequest, ListWorkersResponse, Scheduler, Worker
from countline_common.cli.output import is_wide
from countline_common.cli.terminal import Styled
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, note, print_json, print_table
from countline_common.cli.watching import WatchOption, watch_table
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, rfc3339
from countline_control.cli.placement.orders import cordon, drain, uncordon
from countline_control.cli.placement.show import show
from countline_control.cli.placement.why import why
from countline_control.cli.placement.words import state

MOST_OFFSET_S: Final = 2.0
"""A clock that differs by more is reported; the worker then uses the time of NATS."""

COLUMNS: Final = ("WORKER", "STATE", "CAMERAS", "BACKEND", "VERSION", "REPORTED", "SPOOL", "CLOCK")
MORE_COLUMNS: Final = ("CONNECTED", "OFFSET")
"""Columns that `-o wide` adds."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Inspect and drain workers: the processes that count."""


@app.command("list")
def list_(
    watch: WatchOption = False, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """List workers and their cameras.

    Example: countline workers list
    """
    scheduler = Scheduler()

    def workers_of(answer: ListWorkersResponse) -> Iterable[Worker]:
        scheduler.CopyFrom(answer.scheduler)
        return answer.workers

    async def question(client: Client) -> list[Worker]:
        return await every_page(
            lambda token: client.workers.ListWorkers(ListWorkersRequest(page_token=token)), workers_of
        )

    columns = (*COLUMNS, *MORE_COLUMNS) if is_wide() else COLUMNS
    if watch:
        watch_table(columns, lambda: [_cells(each) for each in ask(server, data, question)], as_json=json)
    workers = ask(server, data, question)
    if json:
        print_json({"workers": [to_json(worker) for worker in workers], "scheduler": to_json(scheduler)})
        return
    print_table(columns, [_cells(each) for each in workers], "No workers found. Start one: countline worker")
    since = rfc3339(from_timestamp(scheduler.since))
    note(f"The control-plane at {scheduler.address} schedules since {since} (number {scheduler.number}).")


app.command("show")(show)
app.command("cordon")(cordon)
app.command("drain")(drain)
app.command("uncordon")(uncordon)
app.command("why")(why)


def _cells(worker: Worker) -> tuple[str | Styled, ...]:
    return (*_row(worker), *_more(worker)) if is_wide() else _row(worker)


def _more(worker: Worker) -> tuple[str, ...]:
    """Return the cells of `MORE_COLUMNS`."""
    connected = rfc3339(from_timestamp(worker.connected_at)) if worker.HasField("connected_at") else ""
    return connected, f"{worker.clock_offset_s:+.3f} s"


def _row(worker: Worker) -> tuple[str | Styled, ...]:
    seconds_ago = max(0.0, time.time() - from_timestamp(worker.reported_at))
    return (
        worker.worker_id,
        state(worker),
        f"{len(worker.camera_ids)} of {worker.capacity}: {', '.join(worker.camera_ids) or '-'}",
        worker.backend,
        worker.version,
        f"{seconds_ago:.0f} s ago",
        f"{worker.spool_bytes / 1024:.0f} KiB",
        _clock(worker.clock_offset_s),
    )


def _clock(offset_s: float) -> str:
    """Describe the difference between a worker's clock and that of NATS."""
    if abs(offset_s) <= MOST_OFFSET_S:
        return "ok"
    return f"{abs(offset_s):.0f} s {'ahead' if offset_s > 0 else 'behind'}"

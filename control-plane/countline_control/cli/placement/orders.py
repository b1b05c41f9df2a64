"""`countline workers cordon|drain|uncordon`."""

import asyncio
import time
from typing import Annotated, Final

import typer

from countline.v1.workers_pb2 import (
    CORDON_STATE_DRAINED,
    CordonWorkerRequest,
    DrainWorkerRequest,
    GetWorkerRequest,
    GetWorkerResponse,
    UncordonWorkerRequest,
    Worker,
)
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, note, print_change, print_message
from countline_common.errors import ConflictError, DeadlineExceededError
from countline_common.grpc.client import Client
from countline_control.cli.placement.show import lost
from countline_control.cli.placement.words import ReasonOption, WorkerArgument
from countline_control.names import first_of

LOOK_S: Final = 0.5
STUCK_AFTER_S: Final = 5.0
"""A drain that only holds cameras without room elsewhere for so long has nothing to do."""


def cordon(
    worker: WorkerArgument,
    reason: ReasonOption = "",
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Give a worker no new cameras. It keeps those that it has; a drain ends.

    Example: countline workers cordon worker-1 --reason "new disk on Friday"
    """

    async def question(client: Client) -> Worker:
        return (await client.workers.CordonWorker(CordonWorkerRequest(worker_id=worker, reason=reason))).worker

    changed = ask(server, data, question)
    text = f"Cordoned {worker}. It keeps its cameras ({len(changed.camera_ids)}) and gets no new ones."
    print_change(changed, text, as_json=json)


def uncordon(
    worker: WorkerArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Give a worker new cameras again. No camera moves because of it.

    Example: countline workers uncordon worker-1
    """

    async def question(client: Client) -> Worker:
        return (await client.workers.UncordonWorker(UncordonWorkerRequest(worker_id=worker))).worker

    print_change(ask(server, data, question), f"Uncordoned {worker}. It gets new cameras again.", as_json=json)


def drain(
    worker: WorkerArgument,
    reason: ReasonOption = "",
    at_once: Annotated[
        bool,
        typer.Option("--at-once", help="Move all cameras together, instead of one after another."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the cameras have moved.")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait.")] = 600.0,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Cordon a worker, and move its cameras to others that have room.

    Exit code 1 if a camera has nowhere to go, or the time is over: the drain goes on in the control-plane.

    Example: countline workers drain worker-1 --reason "new disk"
    """

    async def question(client: Client) -> GetWorkerResponse:
        await client.workers.DrainWorker(DrainWorkerRequest(worker_id=worker, reason=reason, at_once=at_once))
        asked = GetWorkerRequest(worker_id=worker)
        return await _drained(client, asked, timeout_s) if wait else await client.workers.GetWorker(asked)

    answer = ask(server, data, question)
    if json:
        print_message(answer)
    elif wait:
        _report(answer)
    else:
        note(f"The cameras of {worker} move. Watch it: countline workers show {worker}")
    if wait:
        _check(answer)


async def _drained(client: Client, asked: GetWorkerRequest, timeout_s: float) -> GetWorkerResponse:
    """Wait until a drain has moved and counts all cameras, has nothing left that it can move, or the time is over."""
    began = changed_at = time.monotonic()
    before = -1
    while True:
        answer = await client.workers.GetWorker(asked)
        now, left = time.monotonic(), len(answer.cameras)
        if left != before:
            before, changed_at = left, now
        is_counted = all(move.HasField("counting_at") for move in answer.moves)
        is_over = answer.worker.cordon.state == CORDON_STATE_DRAINED and is_counted
        is_stuck = left and all(each.is_stuck for each in answer.cameras) and now - changed_at > STUCK_AFTER_S
        if is_over or is_stuck or now - began > timeout_s or not answer.worker.HasField("cordon"):
            return answer
        await asyncio.sleep(LOOK_S)


def _report(answer: GetWorkerResponse) -> None:
    for move in answer.moves:
        note(f"{move.camera_id} moved to {move.worker_id} (coverage lost: {lost(move)})")
    lost_s = sum(move.lost_s for move in answer.moves)
    note(f"{len(answer.moves)} cameras moved, {lost_s:.1f} s of coverage lost, {len(answer.cameras)} cameras left.")


def _check(answer: GetWorkerResponse) -> None:
    """Raise an error if a drain is not over."""
    name, stuck = answer.worker.worker_id, [each.camera_id for each in answer.cameras if each.is_stuck]
    if stuck:
        raise ConflictError(
            f"{len(stuck)} cameras of {name} have nowhere to go and are counted where they are: {first_of(stuck)}",
            hint="start another worker, or raise a capacity: the drain goes on by itself",
        )
    if not answer.worker.HasField("cordon"):
        raise ConflictError(f"{name} was uncordoned meanwhile", hint="drain it again")
    if answer.worker.cordon.state != CORDON_STATE_DRAINED:
        raise DeadlineExceededError(
            f"{len(answer.cameras)} cameras of {name} have not moved yet",
            hint=f"the drain goes on: countline workers show {name}",
        )

"""`countline workers why`."""

from typing import Annotated, Final

import typer

from countline.v1.cameras_pb2 import ObservedState
from countline.v1.workers_pb2 import Candidate, CandidateVerdict, GetPlacementRequest, Placement
from countline_common.cli.completion import complete_camera
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, print_message, print_table, say
from countline_common.grpc.client import Client
from countline_common.http.rest_json import enum_word
from countline_control.cli.placement.words import cause_words, moment

_COLUMNS: Final = ("WORKER", "VERDICT", "CAMERAS", "WHY")


def why(
    camera: Annotated[str, typer.Argument(help="Camera.", autocompletion=complete_camera)],
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Explain which worker counts a camera, and why this one and no other.

    Example: countline workers why door
    """

    async def question(client: Client) -> Placement:
        return (await client.workers.GetPlacement(GetPlacementRequest(camera_id=camera))).placement

    placement = ask(server, data, question)
    if json:
        print_message(placement)
        return
    _print_holder(placement)
    rows = [_row(each) for each in placement.candidates]
    print_table(_COLUMNS, rows, "No worker is known. Start one: countline worker")


def _print_holder(placement: Placement) -> None:
    error = placement.observed.error
    if placement.not_wanted:
        say(f"{placement.camera_id} needs no worker: it is {placement.not_wanted}.")
    elif not placement.worker_id:
        say(f"{placement.camera_id} waits for a worker: {error.message}")
        say(f"  hint: {error.hint}")
    else:
        since = f" since {moment(placement.since)}" if placement.HasField("since") else ""
        observed = enum_word(ObservedState.DESCRIPTOR, placement.observed.state)
        say(f"{placement.camera_id} is held by {placement.worker_id}{since} (epoch {placement.epoch}): {observed}")
        say(f"  because: {cause_words(placement.cause, placement.former_worker_id)}")
        if error.code:
            say(f"  problem: {error.message}")
        if placement.epoch > 1:
            say(f"  fence: what earlier epochs report of later moments than {moment(placement.since)} is not counted")
    if number := placement.scheduler.number:
        say(f"  scheduler: {placement.scheduler.address} (number {number})")


def _row(candidate: Candidate) -> tuple[str, ...]:
    cameras = f"{candidate.cameras} of {candidate.capacity}"
    return (
        candidate.worker_id,
        enum_word(CandidateVerdict.DESCRIPTOR, candidate.verdict),
        cameras,
        candidate.explanation,
    )

"""`countline workers show`."""

from typing import Final

from countline.v1.cameras_pb2 import ObservedState
from countline.v1.workers_pb2 import CameraMove, GetWorkerRequest, GetWorkerResponse, HeldCamera
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, print_message, print_table, say
from countline_common.grpc.client import Client
from countline_common.http.rest_json import enum_word
from countline_control.cli.placement.words import (
    WorkerArgument,
    cause_words,
    cordon_words,
    moment,
    seconds_ago,
    state,
)

_CAMERAS: Final = ("CAMERA", "OBSERVED", "FPS", "EPOCH", "SINCE", "BECAUSE")
_MOVES: Final = ("MOVED", "TO", "EPOCH", "AT", "LOST")


def show(
    worker: WorkerArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Show a worker, its cameras, and what its drain has moved.

    Example: countline workers show worker-1
    """

    async def question(client: Client) -> GetWorkerResponse:
        return await client.workers.GetWorker(GetWorkerRequest(worker_id=worker))

    answer = ask(server, data, question)
    if json:
        print_message(answer)
        return
    _print_worker(answer)
    print_table(_CAMERAS, [_camera(each) for each in answer.cameras], "The worker holds no cameras.")
    if answer.moves:
        print_table(_MOVES, [_move(each) for each in answer.moves], "")


def _print_worker(answer: GetWorkerResponse) -> None:
    worker, fps = answer.worker, sum(each.observed.processed_fps for each in answer.cameras)
    share = f", {len(answer.cameras) / worker.capacity:.0%} in use" if worker.capacity else ""
    say(f"{worker.worker_id}: {state(worker)}")
    if worker.HasField("cordon"):
        say(f"  cordon    {cordon_words(worker.cordon)}")
    say(f"  cameras   {len(answer.cameras)} of {worker.capacity}{share}; {fps:.0f} frames/s")
    say(f"  reported  {seconds_ago(worker.reported_at)}; connected {moment(worker.connected_at)}")
    say(f"  version   {worker.version} ({worker.backend})")


def _camera(camera: HeldCamera) -> tuple[str, ...]:
    because = cause_words(camera.cause, camera.former_worker_id)
    return (
        camera.camera_id,
        enum_word(ObservedState.DESCRIPTOR, camera.observed.state),
        f"{camera.observed.processed_fps:.1f}",
        str(camera.epoch),
        moment(camera.since),
        f"{because}; no other worker has room" if camera.is_stuck else because,
    )


def _move(move: CameraMove) -> tuple[str, ...]:
    return move.camera_id, move.worker_id, str(move.epoch), moment(move.moved_at), lost(move)


def lost(move: CameraMove) -> str:
    """Return the coverage that a move has cost."""
    if not move.epoch:
        return "none: the file is played again"
    return f"{move.lost_s:.1f} s" if move.HasField("counting_at") else "not counted yet"

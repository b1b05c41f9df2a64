"""How the commands write workers, cordons and assignments."""

import time
from typing import Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import workers_pb2
from countline.v1.workers_pb2 import WORKER_STATE_ONLINE, AssignmentCause, Cordon, Worker
from countline_common.cli.completion import complete_worker
from countline_common.cli.terminal import Styled
from countline_common.times import from_timestamp, rfc3339

WorkerArgument = Annotated[str, typer.Argument(help="Worker.", autocompletion=complete_worker)]
ReasonOption = Annotated[str, typer.Option(help="Why, for those who read it later; at most 200 characters.")]

_CORDONS: Final = {
    workers_pb2.CORDON_STATE_CORDONED: "cordoned",
    workers_pb2.CORDON_STATE_DRAINING: "draining",
    workers_pb2.CORDON_STATE_DRAINED: "drained",
}
_CAUSES: Final = {
    workers_pb2.ASSIGNMENT_CAUSE_UNSPECIFIED: "an earlier release assigned it",
    workers_pb2.ASSIGNMENT_CAUSE_NEW: "no worker held it",
    workers_pb2.ASSIGNMENT_CAUSE_RESTARTED: "its worker started again",
    workers_pb2.ASSIGNMENT_CAUSE_GONE: "{former} stopped reporting, or left",
    workers_pb2.ASSIGNMENT_CAUSE_FULL: "{former} was full",
    workers_pb2.ASSIGNMENT_CAUSE_DRAINED: "{former} was drained",
    workers_pb2.ASSIGNMENT_CAUSE_CHANGED: "its source changed between a stream and a file",
}


def state(worker: Worker) -> Styled:
    """Return whether a worker is online, and its cordon."""
    words, style = ("online", "green") if worker.state == WORKER_STATE_ONLINE else ("offline", "red")
    if worker.HasField("cordon"):
        words, style = f"{words}, {_CORDONS.get(worker.cordon.state, 'cordoned')}", "yellow"
    return Styled(words, style=style)


def cordon_words(cordon: Cordon) -> str:
    """Describe a cordon: its state, who made it, since when, and why."""
    reason = f": {cordon.reason}" if cordon.reason else ""
    return f"{_CORDONS.get(cordon.state, 'cordoned')} by {cordon.by} since {moment(cordon.since)}{reason}"


def cause_words(cause: AssignmentCause.ValueType, former_worker_id: str) -> str:
    """Return why a worker got a camera."""
    return _CAUSES.get(cause, "").format(former=former_worker_id)


def moment(timestamp: Timestamp) -> str:
    """Return a time as text; empty if it is not set."""
    return rfc3339(from_timestamp(timestamp)) if timestamp.ByteSize() else ""


def seconds_ago(timestamp: Timestamp) -> str:
    """Return how long ago something was."""
    return f"{max(0.0, time.time() - from_timestamp(timestamp)):.0f} s ago"

"""Checks of workers, streams and services. Pure: from what they answered to a result."""

from collections.abc import Mapping, Sequence
from typing import Final

from countline.v1.parts_pb2 import MessageStream
from countline.v1.workers_pb2 import WORKER_STATE_ONLINE, Worker
from countline_common.data.bus import COUNTS, DLQ
from countline_common.times import from_timestamp, rfc3339
from countline_control.cli.monitoring.verdicts import (
    CheckLevel,
    CheckResult,
    PerformanceValue,
    graded,
    named,
    worst,
)

MOST_OFFSET_S: Final = 2.0
"""A clock that differs by more is a warning; the worker then uses the time of NATS."""
INGEST: Final = "ingest"
"""The consumer that writes counts to the database."""
FULL_WARNING: Final = 0.80
FULL_CRITICAL: Final = 0.95
"""Shares of the limit of COUNTS. When it is full, workers keep records in their spools."""


def check_workers(workers: Sequence[Worker], least: int, warning_spool: float, critical_spool: float) -> CheckResult:
    """Check the workers.

    Args:
        workers: all that the control-plane knows.
        least: fewer online workers are critical.
        warning_spool: bytes of records that NATS has not taken; so many in one spool are a warning.
        critical_spool: so many are critical.
    """
    online = [worker for worker in workers if worker.state == WORKER_STATE_ONLINE]
    offline = [worker for worker in workers if worker.state != WORKER_STATE_ONLINE]
    spool = max((worker.spool_bytes for worker in online), default=0.0)
    held, room = sum(len(each.camera_ids) for each in online), sum(each.capacity for each in online)
    troubles = [
        *(f"{worker.worker_id} offline" for worker in offline),
        *(
            f"{each.worker_id} spools {each.spool_bytes / 2**20:.0f} MiB"
            for each in online
            if each.spool_bytes >= warning_spool
        ),
        *(f"{each.worker_id} clock {each.clock_offset_s:+.1f} s" for each in online if _is_off(each)),
    ]
    level = worst(
        (
            graded(len(online), None, least, lower=True),
            graded(spool, warning_spool, critical_spool),
            CheckLevel.WARNING if troubles else CheckLevel.OK,
        )
    )
    values = (
        PerformanceValue("online", len(online), critical=least, lower=True),
        PerformanceValue("offline", len(offline), warning=1),
        PerformanceValue("cameras", held),
        PerformanceValue("capacity", room),
        PerformanceValue("spool", spool, "B", warning_spool, critical_spool),
    )
    text = f"{len(online)} of {len(workers)} workers online, {held} of {room} places taken"
    return CheckResult(level, f"{text}: {named(troubles)}" if troubles else text, values)


def _is_off(worker: Worker) -> bool:
    return abs(worker.clock_offset_s) > MOST_OFFSET_S


def check_ingest(streams: Sequence[MessageStream], warning_s: float, critical_s: float) -> CheckResult:
    """Check that counts reach the database in time.

    Args:
        streams: of NATS.
        warning_s: age of the oldest record that is not in the database; so old is a warning.
        critical_s: so old is critical.
    """
    stream = _named(streams, COUNTS)
    ingest = next((each for each in stream.consumers if each.name == INGEST), None) if stream is not None else None
    if stream is None or ingest is None:
        missing = "NATS has no stream COUNTS" if stream is None else "ingest has never read the stream COUNTS"
        return CheckResult(CheckLevel.CRITICAL, missing, hint="start ingest: countline analytics ingest")
    full = stream.bytes / stream.max_bytes if stream.max_bytes else 0.0
    reads = bool(ingest.readers or ingest.in_progress)
    level = worst(
        (
            graded(ingest.lag_s, warning_s, critical_s),
            graded(full, FULL_WARNING, FULL_CRITICAL),
            CheckLevel.OK if reads else CheckLevel.CRITICAL,
        )
    )
    values = (
        PerformanceValue("lag", ingest.lag_s, "s", warning_s, critical_s),
        PerformanceValue("waiting", ingest.waiting),
        PerformanceValue("readers", ingest.readers),
        PerformanceValue("full", full * 100, "%", FULL_WARNING * 100, FULL_CRITICAL * 100),
    )
    text = f"{ingest.waiting:.0f} records wait, the oldest for {ingest.lag_s:.1f} s; COUNTS is {full:.0%} full"
    return CheckResult(level, text if reads else f"no ingest reads: {text}", values)


def reads_now(streams: Sequence[MessageStream]) -> bool:
    """Whether an ingest has a request open or works on records. Between two requests there is a moment without."""
    stream = _named(streams, COUNTS)
    return stream is None or any(each.readers or each.in_progress for each in stream.consumers if each.name == INGEST)


def check_dlq(streams: Sequence[MessageStream], warning: float, critical: float) -> CheckResult:
    """Check for messages that could not be processed; `warning` and `critical` are numbers of them."""
    stream = _named(streams, DLQ)
    if stream is None:
        return CheckResult(CheckLevel.CRITICAL, "NATS has no stream DLQ", hint="restart a part: it creates the stream")
    values = (
        PerformanceValue("messages", stream.messages, "", warning, critical),
        PerformanceValue("bytes", stream.bytes, "B"),
    )
    text = f"{stream.messages:.0f} dead letters"
    if stream.messages and stream.HasField("last_at"):
        text += f", the newest of {rfc3339(from_timestamp(stream.last_at))}"
    return CheckResult(graded(stream.messages, warning, critical), text, values)


def check_server(answers: Mapping[str, float | str], warning_s: float, critical_s: float) -> CheckResult:
    """Check the services.

    Args:
        answers: for each service the seconds until it answered, or why it did not.
        warning_s: so many seconds are a warning.
        critical_s: so many are critical.
    """
    away = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    took = {name: answer for name, answer in answers.items() if not isinstance(answer, str)}
    slow = [f"{name} took {seconds:.2f} s" for name, seconds in took.items() if seconds >= warning_s]
    level = worst(
        (
            CheckLevel.CRITICAL if away else CheckLevel.OK,
            *(graded(seconds, warning_s, critical_s) for seconds in took.values()),
        )
    )
    values = tuple(PerformanceValue(name, seconds, "s", warning_s, critical_s) for name, seconds in took.items())
    troubles = [*(f"{name}: {reason}" for name, reason in away.items()), *slow]
    text = f"{len(took)} of {len(answers)} services answer"
    return CheckResult(level, f"{text}: {named(troubles)}" if troubles else text, values)


def _named(streams: Sequence[MessageStream], name: str) -> MessageStream | None:
    return next((each for each in streams if each.name == name), None)

"""Consumes the stream TRIALS: acknowledges each record after the database has committed it, once.

A record that cannot be read goes to the dead letters with the reason. While NATS or the database is away, records wait
in the stream.
"""

import asyncio
import contextlib
import hashlib
from typing import Final, Protocol

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError
from sqlalchemy.exc import DataError, IntegrityError

from countline.v1.events_pb2 import TrialRecord
from countline_common.data.bus import DLQ, TRIALS, dlq_subject, ensure_streams
from countline_common.data.database import is_away
from countline_common.data.outbox import Bus
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Backoff
from countline_common.waiting import happens
from countline_control.models import messages
from countline_control.models.trials.runner import Trials

DURABLE: Final = "models"
BATCH: Final = 100
FETCH_WAIT_S: Final = 1.0
ACK_WAIT_S: Final = 30.0
BUS_CHECK_PERIOD_S: Final = 1.0
PUBLISH_TIMEOUT_S: Final = 5.0

_log = get_logger(__name__)


class Subscription(Protocol):
    """The part of a pull subscription that the feed uses."""

    async def fetch(self, batch: int, timeout: float) -> list[Msg]:  # noqa: ASYNC109  (as nats-py calls it)
        ...


class TrialFeed:
    """The consumer of TRIALS.

    Args:
        bus: the connection to NATS.
        trials: takes the records.
    """

    def __init__(self, bus: Bus, trials: Trials) -> None:
        self._bus = bus
        self._trials = trials
        self._stopping = asyncio.Event()
        self._backoff = Backoff()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until `stop` is called."""
        while not self._stopping.is_set():
            pause_s = BUS_CHECK_PERIOD_S
            try:
                if (jetstream := self._bus.jetstream) is not None:
                    await self._consume(jetstream)
            except Exception as error:  # noqa: BLE001  (the feed survives every error; an absent database is not logged)
                if not is_away(error):
                    _log.warning("trials.feed_failed", error=redact(str(error)) or type(error).__name__)
                pause_s = self._backoff.next_s()
            await happens(self._stopping, pause_s)

    async def _consume(self, jetstream: JetStreamContext) -> None:
        await ensure_streams(jetstream)
        config = ConsumerConfig(
            durable_name=DURABLE,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_deliver=-1,
        )
        await jetstream.add_consumer(TRIALS, config)
        subscription = await jetstream.pull_subscribe_bind(DURABLE, TRIALS)
        try:
            while not self._stopping.is_set():
                await self._take_batch(jetstream, subscription)
                self._backoff.reset()
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _take_batch(self, jetstream: JetStreamContext, subscription: Subscription) -> None:
        try:
            messages = await subscription.fetch(BATCH, timeout=FETCH_WAIT_S)
        except (TimeoutError, nats.errors.TimeoutError):
            return
        for message in messages:
            await self._take(jetstream, message)

    async def _take(self, jetstream: JetStreamContext, message: Msg) -> None:
        try:
            record = TrialRecord.FromString(message.data)
        except DecodeError as error:
            await _refuse(jetstream, message, str(error))
            return
        try:
            report = messages.trial_report_of(record)
            await self._trials.take(hashlib.sha256(message.data).hexdigest(), report)
        except (DataError, IntegrityError, ValueError, OverflowError) as error:
            await _refuse(jetstream, message, f"{type(error).__name__}: {error}")
        else:
            await message.ack()


async def _refuse(jetstream: JetStreamContext, message: Msg, reason: str) -> None:
    sequence = message.metadata.sequence.stream
    _log.error("trials.refused", subject=message.subject, stream_sequence=sequence, reason=reason)
    headers = {
        "Countline-Reason": reason[:500],
        "Countline-Subject": message.subject,
        "Nats-Msg-Id": f"{TRIALS}-{sequence}",
    }
    try:
        await jetstream.publish(
            dlq_subject(TRIALS), message.data, timeout=PUBLISH_TIMEOUT_S, stream=DLQ, headers=headers
        )
    except APIError as error:
        raise ConnectionError(f"the stream of dead letters refused a record: {error}") from error
    await message.ack()

"""Consumes the stream TRIALS: acknowledges each record after the database has committed it, once.

A record that cannot be read goes to the dead letters with the reason. While NATS or the database is away, records wait
in the stream.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from sqlalchemy.exc import DataError, IntegrityError

from countline.v1.events_pb2 import TrialRecord
from countline_common.data.bus import TRIALS, ensure_streams
from countline_common.data.dead_letters import put_aside
from countline_common.data.following import StreamFollower
from countline_control.models import messages
from countline_control.models.trials.runner import Trials

DURABLE: Final = "models"
ACK_WAIT_S: Final = 30.0


class TrialFeed(StreamFollower):
    """The consumer of TRIALS.

    Args:
        jetstream: returns the connection to NATS; None while NATS is away.
        trials: takes the records.
    """

    def __init__(self, jetstream: Callable[[], JetStreamContext | None], trials: Trials) -> None:
        super().__init__("trials", jetstream)
        self._trials = trials

    async def follow(self, jetstream: JetStreamContext) -> None:
        """Consume over one connection."""
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
        await self.consume(subscription, lambda found: self._take_all(jetstream, found))

    async def _take_all(self, jetstream: JetStreamContext, found: Sequence[Msg]) -> None:
        for message in found:
            await self._take(jetstream, message)

    async def _take(self, jetstream: JetStreamContext, message: Msg) -> None:
        try:
            record = TrialRecord.FromString(message.data)
        except DecodeError as error:
            await _refuse(jetstream, message, f"no record of a trial: {error}")
            return
        try:
            report = messages.trial_report_of(record)
            await self._trials.take(hashlib.sha256(message.data).hexdigest(), report)
        except (DataError, IntegrityError, ValueError, OverflowError) as error:
            await _refuse(jetstream, message, f"{type(error).__name__}: {error}")
        else:
            await message.ack()


async def _refuse(jetstream: JetStreamContext, message: Msg, reason: str) -> None:
    await put_aside(jetstream, message, message.data, reason)
    await message.ack()

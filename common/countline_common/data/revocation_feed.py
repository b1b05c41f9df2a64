"""Follows the events of auth that end access, so that tokens are refused before they expire.

While NATS is away, tokens work until they expire. `Revocations.problem` says so, and with it the health of the process.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

from countline.v1.auth_pb2 import AccessEnded
from countline_common.access.revocations import KEPT_S, Revocations
from countline_common.data.bus import DOMAIN, domain_subject, ensure_streams
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Backoff
from countline_common.times import from_timestamp
from countline_common.waiting import happens

SUBJECT: Final = domain_subject("access", "ended")
BATCH: Final = 200
FETCH_WAIT_S: Final = 1.0
CHECK_PERIOD_S: Final = 1.0
IDLE_S: Final = 60.0
"""JetStream deletes the consumer of a process that is gone after this time."""

_log = get_logger(__name__)


class RevocationFeed:
    """Fills the revocations of a verifier of tokens.

    Args:
        jetstream: returns the connection to NATS; None while NATS is away.
        revocations: of the verifier.
    """

    def __init__(self, jetstream: Callable[[], JetStreamContext | None], revocations: Revocations) -> None:
        self._jetstream = jetstream
        self._revocations = revocations
        self._stopping = asyncio.Event()
        self._backoff = Backoff()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow until `stop` is called, through outages of NATS."""
        while not self._stopping.is_set():
            pause_s = CHECK_PERIOD_S
            try:
                if (jetstream := self._jetstream()) is not None:
                    await self._follow(jetstream)
            except (nats.errors.Error, APIError, OSError, TimeoutError) as error:
                _log.warning("revocations.retry", error=redact(str(error)) or type(error).__name__)
                pause_s = self._backoff.next_s()
            finally:
                self._revocations.is_followed = False
            await happens(self._stopping, pause_s)

    async def _follow(self, jetstream: JetStreamContext) -> None:
        """Follow over one connection. Begins with all events that are kept: those of an outage too."""
        await ensure_streams(jetstream)
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, inactive_threshold=IDLE_S)
        subscription = await jetstream.pull_subscribe(SUBJECT, stream=DOMAIN, config=config)
        self._backoff.reset()
        while not self._stopping.is_set() and self._jetstream() is not None:
            try:
                messages = await subscription.fetch(BATCH, timeout=FETCH_WAIT_S)
            except nats.errors.TimeoutError:
                # JetStream may have deleted the consumer during an outage; this raises NotFoundError then.
                await subscription.consumer_info()
                messages = []
            for message in messages:
                self._take(message)
            self._revocations.is_followed = True

    def _take(self, message: Msg) -> None:
        try:
            ended = AccessEnded.FromString(message.data)
        except DecodeError:
            _log.warning("revocations.undecodable", subject=message.subject)
            return
        if from_timestamp(ended.at) > time.time() - KEPT_S:
            self._revocations.end(ended.user_id, ended.access_revision, ended.session_ids)

"""Follows the events of auth that end access, so that tokens are refused before they expire.

While NATS is away, tokens work until they expire. `Revocations.problem` says so, and with it the health of the process.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from countline.v1.auth_pb2 import AccessEnded
from countline_common.access.revocations import KEPT_S, Revocations
from countline_common.data.bus import DOMAIN, domain_subject, ensure_streams
from countline_common.data.following import StreamFollower
from countline_common.logs import get_logger
from countline_common.times import from_timestamp

SUBJECT: Final = domain_subject("access", "ended")
CONSUMER_CHECK_S: Final = 1.0
IDLE_S: Final = 60.0
"""JetStream deletes the consumer of a process that is gone after this time."""

_log = get_logger(__name__)


class RevocationFeed(StreamFollower):
    """Fills the revocations of a verifier of tokens.

    Args:
        jetstream: returns the connection to NATS; None while NATS is away.
        revocations: of the verifier.
    """

    def __init__(self, jetstream: Callable[[], JetStreamContext | None], revocations: Revocations) -> None:
        super().__init__("revocations", jetstream)
        self._revocations = revocations

    async def follow(self, jetstream: JetStreamContext) -> None:
        """Follow over one connection. Begins with all events that are kept: those of an outage too."""
        try:
            await ensure_streams(jetstream)
            config = ConsumerConfig(
                deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, inactive_threshold=IDLE_S
            )
            subscription = await jetstream.pull_subscribe(SUBJECT, stream=DOMAIN, config=config)
            await self.consume(subscription, self._take_all, CONSUMER_CHECK_S)
        finally:
            self._revocations.is_followed = False

    async def _take_all(self, messages: Sequence[Msg]) -> None:
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

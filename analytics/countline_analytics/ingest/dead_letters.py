"""Stores what ingest cannot write in the dead letter stream, with the reason."""

import hashlib
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from countline_common.data.bus import COUNTS, DLQ, dlq_subject
from countline_common.logs import get_logger

DLQ_TIMEOUT_S: Final = 5.0
MAX_REASON: Final = 500
HEADERS_ROOM: Final = 2048

_log = get_logger(__name__)


class DeadLetters:
    """Publishes messages of COUNTS, or parts of them, to the dead letter stream.

    Args:
        client: connected to NATS.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = client.jetstream()

    async def put(self, message: Msg, data: bytes, reason: str) -> None:
        """Store `data`, which is a message or a part of it. A repetition is stored once.

        Raises:
            nats.errors.Error: JetStream did not acknowledge.
        """
        sequence = message.metadata.sequence.stream
        _log.error("ingest.refused", subject=message.subject, stream_sequence=sequence, reason=reason)
        part = "" if data == message.data else f"-{hashlib.sha256(data).hexdigest()[:16]}"
        headers = {
            "Countline-Reason": " ".join(reason.split())[:MAX_REASON],
            "Countline-Subject": message.subject,
            "Countline-Stream": COUNTS,
            "Countline-Stream-Sequence": str(sequence),
            "Nats-Msg-Id": f"{COUNTS}-{sequence}{part}",
        }
        # A message of the server's maximum size leaves no room for headers: then the dead letter only states its place.
        fits = len(data) + HEADERS_ROOM <= self._client.max_payload
        content = data if fits else b""
        await self._js.publish(dlq_subject(COUNTS), content, timeout=DLQ_TIMEOUT_S, stream=DLQ, headers=headers)

"""The dead letters: what a consumer of a stream cannot take is kept there, with the reason."""

import hashlib
from typing import Final

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError

from countline_common.data.bus import DLQ, dlq_subject
from countline_common.logs import get_logger
from countline_common.redaction import redact

TIMEOUT_S: Final = 5.0
MAX_REASON: Final = 500
HEADERS_ROOM: Final = 2048
USUAL_PAYLOAD: Final = 1024**2
"""The largest message of a NATS server with its own settings."""

_log = get_logger(__name__)


async def put_aside(
    jetstream: JetStreamContext, message: Msg, data: bytes, reason: str, max_payload: int = USUAL_PAYLOAD
) -> None:
    """Store a message, or a part of it, among the dead letters. A repetition is stored once.

    Args:
        jetstream: the connection.
        message: as JetStream delivered it. It is not acknowledged.
        data: its content, or a part of it.
        reason: why it cannot be taken. Secrets in it are masked.
        max_payload: the server's limit; a dead letter without room for its headers only states the place.

    Raises:
        nats.errors.Error, ConnectionError: JetStream did not store it.
    """
    reason = redact(reason)
    stream, sequence = message.metadata.stream, message.metadata.sequence.stream
    _log.error("stream.refused", stream=stream, subject=message.subject, stream_sequence=sequence, reason=reason)
    part = "" if data == message.data else f"-{hashlib.sha256(data).hexdigest()[:16]}"
    headers = {
        "Countline-Reason": " ".join(reason.split())[:MAX_REASON],
        "Countline-Subject": message.subject,
        "Countline-Stream": stream,
        "Countline-Stream-Sequence": str(sequence),
        "Nats-Msg-Id": f"{stream}-{sequence}{part}",
    }
    content = data if len(data) + HEADERS_ROOM <= max_payload else b""
    try:
        await jetstream.publish(dlq_subject(stream), content, timeout=TIMEOUT_S, stream=DLQ, headers=headers)
    except APIError as error:
        raise ConnectionError(f"the stream of dead letters refused a message: {error}") from error

"""Asks JetStream for its streams, and how far their durable consumers are behind."""

import time
from contextlib import suppress
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from countline.v1.parts_pb2 import MessageConsumer, MessageStream
from countline_common.data.bus import stream_configs
from countline_common.data.bus_users import DATED_STREAMS
from countline_common.times import to_timestamp

ANY_SUBJECT: Final = ">"


async def message_streams(jetstream: JetStreamContext) -> list[MessageStream]:
    """Return the streams of the product in order of name. One that does not exist yet is left out.

    Raises:
        nats.errors.Error, APIError, TimeoutError: NATS does not answer.
    """
    found = []
    for name in sorted(str(config.name) for config in stream_configs()):
        with suppress(NotFoundError):
            found.append(await _stream(jetstream, name))
    return found


async def _stream(jetstream: JetStreamContext, name: str) -> MessageStream:
    info = await jetstream.stream_info(name)
    stream = MessageStream(
        name=name,
        messages=info.state.messages,
        bytes=info.state.bytes,
        max_bytes=max(0, info.config.max_bytes or 0),
    )
    if name not in DATED_STREAMS:
        return stream
    if info.state.messages and (last := await _received_at(jetstream, name, info.state.last_seq)):
        stream.last_at.CopyFrom(to_timestamp(last))
    for each in sorted(await jetstream.consumers_info(name), key=lambda each: each.name):
        if each.config.durable_name:
            stream.consumers.append(await _consumer(jetstream, name, each))
    return stream


async def _consumer(jetstream: JetStreamContext, stream: str, info: ConsumerInfo) -> MessageConsumer:
    in_progress = info.num_ack_pending or 0
    waiting = in_progress + (info.num_pending or 0)
    lag_s = 0.0
    if waiting and info.ack_floor is not None:
        oldest = await _received_at(jetstream, stream, info.ack_floor.stream_seq + 1)
        lag_s = max(0.0, time.time() - oldest) if oldest else 0.0
    return MessageConsumer(
        name=info.name, waiting=waiting, lag_s=lag_s, in_progress=in_progress, readers=info.num_waiting or 0
    )


async def _received_at(jetstream: JetStreamContext, stream: str, sequence: int) -> float:
    """When NATS received the first message from a sequence on, in Unix seconds; 0 if there is none."""
    try:
        message = await jetstream.get_msg(stream, seq=sequence, next=True, subject=ANY_SUBJECT)
    except NotFoundError:
        return 0.0
    return message.time.timestamp() if message.time is not None else 0.0

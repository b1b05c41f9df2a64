"""Asks JetStream for its streams, and how far their durable consumers are behind."""

import time
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo, StreamInfo
from nats.js.errors import NotFoundError

from countline.v1.parts_pb2 import MessageConsumer, MessageStream
from countline_common.times import to_timestamp

ANY_SUBJECT: Final = ">"


async def message_streams(jetstream: JetStreamContext) -> list[MessageStream]:
    """Return the streams in order of name.

    Raises:
        nats.errors.Error, APIError, TimeoutError: NATS does not answer.
    """
    found = [await _stream(jetstream, info) for info in await jetstream.streams_info()]
    return sorted(found, key=lambda each: each.name)


async def _stream(jetstream: JetStreamContext, info: StreamInfo) -> MessageStream:
    name, state = str(info.config.name), info.state
    stream = MessageStream(
        name=name, messages=state.messages, bytes=state.bytes, max_bytes=max(0, info.config.max_bytes or 0)
    )
    if state.messages and (last := await _received_at(jetstream, name, state.last_seq)):
        stream.last_at.CopyFrom(to_timestamp(last))
    if state.consumer_count:
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

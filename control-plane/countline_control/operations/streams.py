"""Reads messages that a stream holds now."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

from countline_common.errors import UnavailableError

READ_AT_ONCE: Final = 200
READ_WAIT_S: Final = 2.0
FORGOTTEN_AFTER_S: Final = 30.0
"""NATS deletes a consumer whose reader has vanished after this time."""

OpenJetStream = Callable[[], JetStreamContext | None]
"""Returns the connection to NATS; None while NATS is away."""


def connected(jetstream: OpenJetStream) -> JetStreamContext:
    """Return the connection.

    Raises:
        UnavailableError: NATS is away.
    """
    found = jetstream()
    if found is None:
        raise UnavailableError(
            "NATS does not answer", hint="try again in some seconds; on the machine see: countline status"
        )
    return found


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Translate what NATS raises.

    Raises:
        UnavailableError: NATS went away, or took too long.
    """
    try:
        yield
    except (nats.errors.Error, APIError, TimeoutError) as error:
        raise UnavailableError(
            f"NATS does not answer: {str(error) or type(error).__name__}", hint="try again in some seconds"
        ) from error


async def read_span(
    jetstream: JetStreamContext, stream: str, subject: str, first: int, last: int
) -> AsyncGenerator[Msg, None]:
    """Yield the messages of a subject whose sequences lie in a span, in order.

    Args:
        jetstream: the connection.
        stream: such as `LOGS`.
        subject: may hold wildcards.
        first: sequence of the first message.
        last: sequence of the last one.
    """
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=max(first, 1))
    async for message in _read(jetstream, stream, subject, config, last - first + 1):
        if message.metadata.sequence.stream > last:
            return
        yield message


async def read_last(jetstream: JetStreamContext, stream: str, subject: str) -> AsyncGenerator[Msg, None]:
    """Yield the last message of each subject that a wildcard stands for."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT)
    async for message in _read(jetstream, stream, subject, config, READ_AT_ONCE):
        yield message


async def _read(
    jetstream: JetStreamContext, stream: str, subject: str, config: ConsumerConfig, at_once: int
) -> AsyncGenerator[Msg, None]:
    config.ack_policy = AckPolicy.NONE
    config.inactive_threshold = FORGOTTEN_AFTER_S
    subscription = await jetstream.pull_subscribe(subject, stream=stream, config=config)
    try:
        pending = (await subscription.consumer_info()).num_pending or 0
        while pending > 0:
            messages = await subscription.fetch(min(pending, at_once, READ_AT_ONCE), timeout=READ_WAIT_S)
            pending -= len(messages)
            for message in messages:
                yield message
    finally:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()

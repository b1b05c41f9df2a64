"""Pulls messages from a durable JetStream consumer, without waiting for a full batch.

`nats-py` waits for a full batch or for its timeout. Counts must reach the page within a second, and large batches must
form under load. So the reader keeps one request for a batch open, and a read returns the messages that have arrived. It
requests the next batch when a read takes the last message, so the next batch arrives while ingest writes this one.
"""

import asyncio
import json
import time
from collections import deque
from types import TracebackType
from typing import Final, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from countline_common.errors import UnavailableError
from countline_common.waiting import happens

REQUEST_EXPIRES_S: Final = 2.0
REQUEST_LOST_AFTER_S: Final = 3.0
"""If the server neither fills nor ends a request within this time, the connection lost the request."""
STATUS_HEADER: Final = "Status"
CONSUMER_GONE: Final = "409"
NO_RESPONDERS: Final = "503"


class PullReader:
    """Reads from a durable consumer that exists, as an async context manager.

    Args:
        client: connected to NATS; it may reconnect.
        stream: name of the stream.
        durable: name of the consumer.
        batch: messages in a request; no more than these wait here.
        stopping: once it is set, reads no longer wait.
    """

    def __init__(self, client: Client, stream: str, durable: str, batch: int, stopping: asyncio.Event) -> None:
        self._client = client
        self._stopping = stopping
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._batch = batch
        self._outstanding = 0
        self._requested_at = 0.0
        self._subscription: Subscription | None = None
        self._arrived: deque[Msg] = deque()
        self._something = asyncio.Event()
        self._waker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._arrive)
        self._waker = asyncio.create_task(self._wake_at_stop(), name="wake the reader at the stop")
        return self

    async def _arrive(self, message: Msg) -> None:
        self._arrived.append(message)
        self._something.set()

    async def _wake_at_stop(self) -> None:
        await self._stopping.wait()
        self._something.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waker is not None:
            self._waker.cancel()
        if self._subscription is not None and not self._client.is_closed:
            await self._subscription.unsubscribe()

    async def read(self, wait_s: float) -> list[Msg]:
        """Return arrived messages, at most a batch.

        Wait up to `wait_s` for the first, until `stopping` is set; empty if none arrives.

        Raises:
            UnavailableError: the consumer or the stream does not exist.
        """
        await self._request_if_needed()
        if not self._arrived and not self._stopping.is_set():
            self._something.clear()
            await happens(self._something, wait_s)
        messages: list[Msg] = []
        while self._arrived and len(messages) < self._batch:
            self._take(self._arrived.popleft(), messages)
        if messages:
            await self._request_if_needed()
        return messages

    async def _request_if_needed(self) -> None:
        age_s = time.monotonic() - self._requested_at
        if self._outstanding and age_s < REQUEST_LOST_AFTER_S:
            return
        request = {"batch": self._batch, "expires": round(REQUEST_EXPIRES_S * 1e9)}
        await self._client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)
        self._outstanding, self._requested_at = self._batch, time.monotonic()

    def _take(self, message: Msg, messages: list[Msg]) -> None:
        status = (message.headers or {}).get(STATUS_HEADER)
        if status is None:
            messages.append(message)
            self._outstanding = max(0, self._outstanding - 1)
            return
        self._outstanding = 0  # 404, 408: the request timed out
        if status in {CONSUMER_GONE, NO_RESPONDERS}:
            description = (message.headers or {}).get("Description", "no such consumer")
            raise UnavailableError(
                f"JetStream does not deliver: {description}", hint="check that NATS runs with JetStream"
            )

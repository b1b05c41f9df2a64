"""Outgoing messages of one WebSocket client.

Reliable messages wait in a bounded queue. When that queue is full, the server closes the socket, and the client
reconnects and resumes. Pictures and boxes wait in short queues in which newer ones replace older ones: a slow client
gets fewer of them.
"""

import asyncio
from collections import deque
from typing import Final

from aiohttp import web

RELIABLE_LIMIT: Final = 2000
"""Most reliable messages that wait for a client."""
LOSSY_LIMIT: Final = 2
"""Most pictures, or most sets of boxes, of one camera that wait for a client."""
SEND_TIMEOUT_S: Final = 10.0
CLOSE_TOO_SLOW: Final = 4408


class SlowClientError(Exception):
    """The client reads more slowly than its subscriptions deliver."""


class ClientQueue:
    """Messages that wait for one client."""

    def __init__(self, reliable_limit: int = RELIABLE_LIMIT) -> None:
        self._limit = reliable_limit
        self._reliable: deque[str] = deque()
        self._lossy: dict[str, deque[str | bytes]] = {}
        self._ready = asyncio.Event()
        self.overflowed = False
        """Whether a reliable message found the queue full; the server then closes the socket."""
        self.dropped = 0
        """Pictures and boxes that newer ones replaced."""

    def put(self, message: str) -> None:
        """Queue a reliable message."""
        if len(self._reliable) >= self._limit:
            self.overflowed = True
        else:
            self._reliable.append(message)
        self._ready.set()

    def put_lossy(self, channel: str, message: str | bytes) -> None:
        """Queue a message that a newer one of its channel may replace."""
        waiting = self._lossy.setdefault(channel, deque(maxlen=LOSSY_LIMIT))
        self.dropped += len(waiting) == LOSSY_LIMIT
        waiting.append(message)
        self._ready.set()

    def forget(self, channel: str) -> None:
        """Drop the waiting messages of a lossy channel."""
        self._lossy.pop(channel, None)

    async def get(self) -> str | bytes:
        """Return the next message: reliable ones first, then lossy channels in turn.

        Raises:
            SlowClientError: the reliable queue overflowed.
        """
        while True:
            if self.overflowed:
                raise SlowClientError
            if self._reliable:
                return self._reliable.popleft()
            for channel, waiting in list(self._lossy.items()):
                if waiting:
                    del self._lossy[channel]  # moves it to the end, so that every channel gets a turn
                    self._lossy[channel] = waiting
                    return waiting.popleft()
            self._ready.clear()
            await self._ready.wait()


async def send_all(queue: ClientQueue, socket: web.WebSocketResponse) -> None:
    """Send waiting messages for ever.

    Raises:
        SlowClientError: the reliable queue overflowed, or a send took longer than `SEND_TIMEOUT_S`.
    """
    while True:
        message = await queue.get()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_str(message)
        except TimeoutError as error:
            raise SlowClientError from error

"""One WebSocket client's outgoing messages.

What must not be lost waits in a bounded queue: a client that cannot keep up with it is cut off, so that it comes
back and resumes. Pictures and boxes wait in slots that newer ones overwrite: the client just gets fewer of them.
"""

import asyncio
from collections import deque
from typing import Final

from aiohttp import web

RELIABLE_LIMIT: Final = 2000
"""Messages that wait for a client at most."""
LOSSY_LIMIT: Final = 2
"""Pictures, or boxes, of one camera that wait at most."""
SEND_TIMEOUT_S: Final = 10.0
CLOSE_TOO_SLOW: Final = 4408


class SlowClientError(Exception):
    """The client does not take what it has subscribed to."""


class Outbox:
    """What waits to be sent to one client."""

    def __init__(self, reliable_limit: int = RELIABLE_LIMIT) -> None:
        self._limit = reliable_limit
        self._reliable: deque[str] = deque()
        self._lossy: dict[str, deque[str | bytes]] = {}
        self._ready = asyncio.Event()
        self.overflowed = False
        """Whether something that must not be lost had no room: the client is to be cut off."""
        self.dropped = 0
        """Pictures and boxes that newer ones have overwritten."""

    def put(self, message: str) -> None:
        """Queue a message that must not be lost."""
        if len(self._reliable) >= self._limit:
            self.overflowed = True
        else:
            self._reliable.append(message)
        self._ready.set()

    def put_lossy(self, channel: str, message: str | bytes) -> None:
        """Queue a message that a newer one of its channel may overwrite."""
        waiting = self._lossy.setdefault(channel, deque(maxlen=LOSSY_LIMIT))
        self.dropped += len(waiting) == LOSSY_LIMIT
        waiting.append(message)
        self._ready.set()

    def forget(self, channel: str) -> None:
        """Drop what waits of a lossy channel."""
        self._lossy.pop(channel, None)

    async def get(self) -> str | bytes:
        """The next message: first what must not be lost, then channel by channel.

        Raises:
            SlowClientError: the client has fallen too far behind.
        """
        while True:
            if self.overflowed:
                raise SlowClientError
            if self._reliable:
                return self._reliable.popleft()
            for channel, waiting in list(self._lossy.items()):
                if waiting:
                    del self._lossy[channel]  # to the end of the row, so that every channel gets its turn
                    self._lossy[channel] = waiting
                    return waiting.popleft()
            self._ready.clear()
            await self._ready.wait()


async def send_all(outbox: Outbox, socket: web.WebSocketResponse) -> None:
    """Send what waits, for ever.

    Raises:
        SlowClientError: the client has fallen too far behind, or takes nothing any more.
    """
    while True:
        message = await outbox.get()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_str(message)
        except TimeoutError as error:
            raise SlowClientError from error

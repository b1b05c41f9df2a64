"""The connection to NATS. A worker starts and counts without it; records wait in the spool.

Lossy messages (boxes, previews, statuses) wait in a short queue. When it is full, the oldest message is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from countline_common.data import bus
from countline_common.errors import CountlineError, UnavailableError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tls.files import TlsFiles

LOSSY_QUEUE: Final = 256
CLOSE_TIMEOUT_S: Final = 1.0
REQUEST_TIMEOUT_S: Final = 2.0
_log = get_logger(__name__)


class BusLink:
    """Connects in the background and stays connected.

    Args:
        url: of NATS.
        name: of this client.
        on_watch: called with a camera's id for each message that asks to watch that camera.
        tls: certificate files; None without TLS.
    """

    def __init__(self, url: str, name: str, on_watch: Callable[[str], None], tls: TlsFiles | None = None) -> None:
        self._url = url
        self._tls = tls
        self._name = name
        self._on_watch = on_watch
        self._loop = asyncio.get_running_loop()
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._connected = asyncio.Event()
        self._lossy: deque[tuple[str, bytes]] = deque(maxlen=LOSSY_QUEUE)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Connect, then send lossy messages, until cancelled."""
        await self._connect()
        assert self._client is not None
        while True:
            self._wake.clear()
            while self._lossy:
                subject, payload = self._lossy.popleft()
                if self.is_connected:
                    with suppress(nats.errors.Error):
                        await self._client.publish(subject, payload)
            await self._wake.wait()

    async def _connect(self) -> None:
        backoff = Backoff(longest_s=2.0)
        while self._client is None:
            try:
                client = await bus.connect(self._url, self._name, self._tls, user="worker")
            except UnavailableError as error:
                _log.warning("bus.unavailable", error=error.message)
                await asyncio.sleep(backoff.next_s())
                continue
            await client.subscribe(bus.watch_subject("watched").replace("watched", "*"), cb=self._watched)
            self._client, self._jetstream = client, client.jetstream()
        await self.ensure_streams()
        self._connected.set()

    async def _watched(self, message: Msg) -> None:
        self._on_watch(message.subject.rpartition(".")[2])

    async def ensure_streams(self) -> None:
        """Create missing streams. If that fails, the publisher calls again."""
        if self._jetstream is not None:
            with suppress(nats.errors.Error, TimeoutError):
                await bus.ensure_streams(self._jetstream)

    async def jetstream(self) -> JetStreamContext:
        """Return the context to publish with; wait for the first connection."""
        await self._connected.wait()
        assert self._jetstream is not None
        return self._jetstream

    @property
    def current_jetstream(self) -> JetStreamContext | None:
        """The context to publish with; None while there is no connection."""
        return self._jetstream if self.is_connected else None

    async def stream_info(self) -> bytes:
        """Return JetStream's description of the stream COUNTS, with the time of the server; wait for the connection.

        Raises:
            nats.errors.Error: no answer.
        """
        await self._connected.wait()
        assert self._client is not None
        answer = await self._client.request(f"$JS.API.STREAM.INFO.{bus.COUNTS}", b"", timeout=REQUEST_TIMEOUT_S)
        return answer.data

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None and self._client.is_connected

    async def check(self) -> None:
        """Check the connection, for `/readyz`.

        Raises:
            UnavailableError: there is no connection.
        """
        if not self.is_connected:
            raise UnavailableError("no connection to NATS; records wait in the spool")

    def send_lossy(self, subject: str, payload: bytes) -> None:
        """Send a message that may be lost; from any thread, never blocks."""
        if self.is_connected:
            with suppress(RuntimeError):  # the loop is closed: the worker has ended
                self._loop.call_soon_threadsafe(self._enqueue, subject, payload)

    def _enqueue(self, subject: str, payload: bytes) -> None:
        self._lossy.append((subject, payload))
        self._wake.set()

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            with suppress(nats.errors.Error, TimeoutError, CountlineError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._client.close()

"""The connection to NATS. It is made in the background, so that no service waits for it."""

import asyncio
import time
from typing import Final

from nats.aio.client import Client
from nats.js import JetStreamContext

from countline_common.data import bus
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tls.files import TlsFiles
from countline_common.waiting import happens

LOG_PERIOD_S: Final = 10.0

_log = get_logger(__name__)


class BackgroundBus:
    """Connects to NATS and stays connected.

    Args:
        url: address of NATS, credentials included.
        tls: certificate files; None without TLS.
    """

    def __init__(self, url: str, tls: TlsFiles | None = None) -> None:
        self._url = url
        self._tls = tls
        self._client: Client | None = None
        self._stopping = asyncio.Event()

    @property
    def jetstream(self) -> JetStreamContext | None:
        """Where to publish; None while NATS is away."""
        client = self._client
        return client.jetstream() if client is not None and client.is_connected else None

    async def run(self) -> None:
        """Connect, however long it takes, and stay connected until `stop` is called."""
        try:
            await self._connect()
            await self._stopping.wait()
        finally:
            if self._client is not None:
                await self._client.close()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def _connect(self) -> None:
        logged_at, backoff = float("-inf"), Backoff()
        while not self._stopping.is_set():
            try:
                self._client = self._client or await bus.connect(
                    self._url, "countline-control", self._tls, user="control"
                )
                await bus.ensure_streams(self._client.jetstream())
            except Exception as error:  # noqa: BLE001  (NATS may be away, or may still be starting its JetStream)
                if time.monotonic() - logged_at > LOG_PERIOD_S:
                    logged_at = time.monotonic()
                    _log.warning("serve.nats_away", error=str(error))
                await happens(self._stopping, backoff.next_s())
            else:
                return

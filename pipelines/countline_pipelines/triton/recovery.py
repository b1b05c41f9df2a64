"""Survives restarts of Triton: registers rings and loads models again.

    READY --a request is lost--> RECOVERING --server answers, rings registered, models loaded--> READY
    any --close--> CLOSED

Recovery tries for as long as it takes, with a growing pause.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

import structlog

from countline_common.errors import ConflictError, CountlineError
from countline_common.resilience.retry import Backoff
from countline_common.triton import InferenceLostError
from countline_common.triton.connection import Connection
from countline_pipelines.pauses import RETRY_REFUSED_S
from countline_pipelines.triton.api import SilentTritonError
from countline_pipelines.triton.models import LoadedModels
from countline_pipelines.triton.transport import AttachedRings

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0

log = structlog.get_logger(__name__)


class Recovery:
    """The state of a client, and the task that recovers the server."""

    def __init__(self, connection: Connection, rings: AttachedRings, models: LoadedModels) -> None:
        self._connection = connection
        self._rings = rings
        self._models = models
        self._ready = asyncio.Event()
        self._ready.set()
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def check_ready(self) -> None:
        """Raise unless requests can be sent.

        Raises:
            ConflictError: the client is closed.
            InferenceLostError: Triton is away.
        """
        if self._closed:
            raise ConflictError("this client is closed")
        if not self._ready.is_set():
            raise InferenceLostError(f"Triton is away: {self._trouble}")

    def start(self, error: CountlineError) -> None:
        """Begin to recover after a lost request, unless recovery has begun or the client is closed."""
        if self._closed or not self._ready.is_set():
            return
        self._ready.clear()
        self._trouble = error.message
        log.warning("triton lost", address=self._connection.address, reason=error.message)
        if self._task is not None:  # it may still retry refused versions
            self._task.cancel()
        self._task = asyncio.create_task(self._recover(), name="triton-recovery")

    async def _recover(self) -> None:
        await self._recover_until_ready()
        backoff = Backoff(longest_s=RETRY_REFUSED_S)
        while refused := self._models.refused():
            await asyncio.sleep(backoff.next_s())
            with suppress(InferenceLostError):  # the next request starts the recovery
                await self._models.restore_refused(refused)

    async def _recover_until_ready(self) -> None:
        began_s, backoff = time.monotonic(), Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                await self._connection.server_id()
                await self._rings.attach_again()
                await self._models.restore()
            except CountlineError as error:
                self._trouble = error.message
            else:
                self._ready.set()
                log.info("triton is back", address=self._connection.address, after_s=time.monotonic() - began_s)
                return
            await asyncio.sleep(backoff.next_s())

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until Triton answers and holds rings and models.

        Raises:
            SilentTritonError: not within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError as error:
            raise SilentTritonError(timeout_s, self._trouble) from error

    async def close(self) -> None:
        """End the task."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

"""From the spool to JetStream. Each record is sent again, byte for byte, until JetStream has acknowledged it.

Records are sent in order, a bounded number at a time. The message id is the hash of the record, so JetStream stores a
repeated record once. A full stream (it discards *new*) and an absent server have the same effect here: records stay in
the spool and the publisher retries for ever.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_pipelines import metrics
from countline_pipelines.publishing.spool import Spool, SpooledRecord

IN_FLIGHT: Final = 128
READ_AHEAD: Final = 128
ACK_TIMEOUT_S: Final = 5.0
DELETE_EVERY_S: Final = 2.0
MESSAGE_ID: Final = "Nats-Msg-Id"
_log = get_logger(__name__)


class Publisher:
    """Owns the tasks that publish.

    Args:
        spool: holds the records to publish.
        jetstream: returns the context to publish with; waits until there is a connection.
        ensure_streams: creates the streams; called when JetStream reports that a stream is missing.
    """

    def __init__(
        self,
        spool: Spool,
        jetstream: Callable[[], Awaitable[JetStreamContext]],
        ensure_streams: Callable[[], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self._jetstream = jetstream
        self._ensure_streams = ensure_streams
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._permits = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing = False

    def notify(self) -> None:
        """Report that the spool has new records; from any thread."""
        with suppress(RuntimeError):  # the loop is closed: the worker has ended
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Publish until cancelled."""
        number = 0
        deletion = asyncio.create_task(self._delete_acked(), name="spool-deletion")
        try:
            while True:
                self._wake.clear()
                records = await asyncio.to_thread(self._spool.read, number, READ_AHEAD)
                for record in records:
                    await self._permits.acquire()
                    self._send(record)
                    number = record.number + 1
                if not records:
                    await self._wake.wait()
        finally:
            await cancel(deletion, *self._tasks)

    async def drained(self, timeout_s: float) -> bool:
        """Wait until all records are acknowledged; return False if `timeout_s` passes first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._spool.waiting:
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
        return self._spool.waiting == 0

    def _send(self, record: SpooledRecord) -> None:
        task = asyncio.create_task(self._publish(record), name=f"publish-{record.number}")
        self._tasks.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._permits.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("publish.crashed", error=repr(error))

    async def _publish(self, record: SpooledRecord) -> None:
        headers = {MESSAGE_ID: hashlib.sha256(record.payload).hexdigest()}
        backoff = Backoff(first_s=0.1, longest_s=5.0)
        while True:
            try:
                stream = await self._jetstream()
                await stream.publish(record.subject, record.payload, timeout=ACK_TIMEOUT_S, headers=headers)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                await self._after_failure(error)
                await asyncio.sleep(backoff.next_s())
            else:
                self._failing = False
                self._spool.ack(record.number)
                self._acknowledged.set()
                metrics.PUBLISHED.inc()
                return

    async def _after_failure(self, error: Exception) -> None:
        metrics.PUBLISH_FAILURES.inc()
        if not self._failing:
            self._failing = True
            _log.warning("publish.failing", error=str(error) or type(error).__name__, waiting=self._spool.waiting)
        if isinstance(error, nats.js.errors.NoStreamResponseError):
            with suppress(nats.errors.Error, OSError, TimeoutError):
                await self._ensure_streams()

    async def _delete_acked(self) -> None:
        while True:
            await asyncio.sleep(DELETE_EVERY_S)
            await asyncio.to_thread(self._spool.delete_acked)

"""Receives the rows of all services from JetStream, stores each once, and chains it.

A row is acknowledged after its transaction. If JetStream delivers it again, its id is known.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from countline.v1 import audit_pb2
from countline_common.data.bus import AUDIT, dlq_subject, ensure_streams
from countline_common.data.database import is_away
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_common.waiting import happens
from countline_control.audit import store
from countline_control.audit.chain import AuditSigner, chained
from countline_control.audit.messages import hashed_text
from countline_control.database import Database

DURABLE: Final = "audit"
SUBJECTS: Final = "countline.audit.rows.>"
BATCH: Final = 100
FETCH_WAIT_S: Final = 0.5
ACK_WAIT_S: Final = 30.0
CHECK_PERIOD_S: Final = 0.5
STOP_GRACE_S: Final = 1.0
CONSUMER_CHECK_S: Final = 10.0
"""Seldom: the connection may close while this waits for an answer, which nats-py then awaits for five seconds."""
MOST_UNACKNOWLEDGED: Final = 1000

_log = get_logger(__name__)


class AuditIntake:
    """Stores the rows of all services.

    Args:
        database: of auth.
        signer: signs rows.
        jetstream: returns the connection to NATS; None while NATS is away.
    """

    def __init__(
        self, database: Database, signer: AuditSigner, jetstream: Callable[[], JetStreamContext | None]
    ) -> None:
        self._database = database
        self._signer = signer
        self._jetstream = jetstream
        self._stopping = asyncio.Event()
        self._backoff = Backoff()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive rows until `stop` is called, through outages of NATS and of the database."""
        while not self._stopping.is_set():
            pause_s = CHECK_PERIOD_S
            try:
                if (jetstream := self._jetstream()) is not None:
                    await self._until_stopped(self._receive(jetstream))
            except Exception as error:  # noqa: BLE001  (the task survives every error; rows stay in the stream)
                if not is_away(error):
                    _log.warning("audit.intake_retry", error=redact(str(error)) or type(error).__name__)
                pause_s = self._backoff.next_s()
            await happens(self._stopping, pause_s)

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, or until shortly after `stop`: nats-py waits long on a connection that closes."""
        working = asyncio.create_task(work, name="audit receiver")
        stopped = asyncio.create_task(self._stopping.wait(), name="audit stop")
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({working}, timeout=STOP_GRACE_S)
        finally:
            await cancel(stopped, working)
        if not working.cancelled():
            working.result()

    async def _receive(self, jetstream: JetStreamContext) -> None:
        await ensure_streams(jetstream)
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_ack_pending=MOST_UNACKNOWLEDGED)
        subscription = await jetstream.pull_subscribe(SUBJECTS, durable=DURABLE, stream=AUDIT, config=config)
        self._backoff.reset()
        checked_at = time.monotonic()
        while not self._stopping.is_set() and self._jetstream() is not None:
            try:
                messages = await subscription.fetch(BATCH, timeout=FETCH_WAIT_S)
            except nats.errors.TimeoutError:
                if time.monotonic() - checked_at > CONSUMER_CHECK_S:
                    await subscription.consumer_info()  # raises if the consumer is gone
                    checked_at = time.monotonic()
                continue
            await self._take(jetstream, messages)

    async def _take(self, jetstream: JetStreamContext, messages: Sequence[Msg]) -> None:
        """Store what can be decoded, put the rest aside, and acknowledge all."""
        rows = []
        for message in messages:
            try:
                rows.append(audit_pb2.AuditRow.FromString(message.data))
            except DecodeError:
                _log.error("audit.undecodable", subject=message.subject)
                await jetstream.publish(dlq_subject(AUDIT), message.data)
        await self.store(rows)
        for message in messages:
            await message.ack()

    async def store(self, rows: Sequence[audit_pb2.AuditRow]) -> None:
        """Chain the rows that are new."""
        by_id = {row.row_id: row for row in rows}
        async with self._database.begin() as connection:
            await store.lock_chain(connection)
            known = await store.known(connection, list(by_id))
            texts = [hashed_text(row) for row_id, row in by_id.items() if row_id not in known]
            sequence, hashed = await store.head(connection)
            await store.append(connection, chained(hashed, sequence, texts, self._signer))

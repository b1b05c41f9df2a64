"""Transactional outbox: a transaction stores messages with the change that they describe; a relay publishes them later.

So a message is published if and only if its change was committed, at least once and in order. JetStream drops repeats
by message id. Each service has one relay; relays of two processes on one database share the work by row locks.

Two kinds of messages leave through it: domain events (`Outbox.add`) and rows of the audit (`Outbox.record`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from uuid import uuid4

import nats.errors
from google.protobuf.message import Message
from nats.js import JetStreamContext
from nats.js.errors import APIError
from prometheus_client import Counter
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import audit_pb2
from countline_common.audit.calls import OK, SYSTEM, UNFINISHED, AuditedCall, current_call
from countline_common.data.bus import audit_subject, domain_subject
from countline_common.data.database import is_away
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.waiting import happens

BATCH: Final = 100
POLL_PERIOD_S: Final = 1.0
PUBLISH_TIMEOUT_S: Final = 5.0
KEPT_FOR: Final = timedelta(days=1)
HELD_FOR: Final = timedelta(minutes=10)
"""Longer than a call. A row that is unfinished for so long belongs to a process that has ended."""
STORE_TIMEOUT_S: Final = 5.0
MOST_WAITING: Final = 1000
"""Rows of refused calls that wait in memory while the database is away."""
EVENT_HEADER: Final = "Countline-Event"
TYPE_HEADER: Final = "Countline-Type"
ACTOR_HEADER: Final = "Countline-Actor"
MESSAGE_ID_HEADER: Final = "Nats-Msg-Id"

PUBLISHED: Final = Counter("countline_outbox_published_total", "Messages that JetStream acknowledged")
FAILED: Final = Counter("countline_outbox_failures_total", "Attempts to publish messages that failed")
LOST: Final = Counter("countline_audit_lost_total", "Rows of refused calls that were lost while the database was away")

_log = get_logger(__name__)

Begin = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Opens a transaction of the service's database."""


class Bus(Protocol):
    """The connection to NATS; `jetstream` is None while NATS is away."""

    @property
    def jetstream(self) -> JetStreamContext | None: ...


def outbox_table(metadata: MetaData) -> Table:
    """Define the outbox of a service, in its own schema."""
    return Table(
        "outbox",
        metadata,
        Column("outbox_id", BigInteger, Identity(always=True), primary_key=True),
        Column("message_id", String, nullable=False, unique=True),
        Column("subject", String, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("sent_at", DateTime(timezone=True)),
        # Until then the call of an audit row may still complete it.
        Column("held_until", DateTime(timezone=True)),
        Index("outbox_unsent", "outbox_id", postgresql_where="sent_at IS NULL"),
    )


class Outbox:
    """Adds messages inside the caller's transaction and wakes the relay.

    Args:
        table: made by `outbox_table`.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.written = asyncio.Event()

    async def add(self, connection: AsyncConnection, aggregate: str, event: str, actor: str, message: Message) -> None:
        """Add a domain event.

        Args:
            connection: of the caller's transaction.
            aggregate: what changed, such as `camera`; second word of the subject.
            event: what happened, such as `created`.
            actor: who did it.
            message: the new state.
        """
        headers = {
            EVENT_HEADER: f"{aggregate}.{event}",
            TYPE_HEADER: message.DESCRIPTOR.full_name,
            ACTOR_HEADER: actor,
        }
        await connection.execute(
            insert(self.table).values(
                message_id=uuid4().hex,
                subject=domain_subject(aggregate, event),
                headers=headers,
                payload=message.SerializeToString(deterministic=True),
                created_at=datetime.now(UTC),
            )
        )
        self.written.set()

    async def record(
        self,
        connection: AsyncConnection,
        resource: str,
        *,
        before: Message | None = None,
        after: Message | None = None,
        finished: bool = True,
    ) -> None:
        """Write the audit row of the current call. A method calls it in the transaction of its change.

        The row shows how `after` differs from `before`; it hides secrets, so both may hold them. Of a method that calls
        this in several transactions, one row shows the first `before` and the last `after`.

        Args:
            connection: of the caller's transaction.
            resource: path below /api/v1, such as `cameras/door`.
            before: the state before; None if the thing is new.
            after: the state after; None if the thing is gone.
            finished: False if the call goes on to change more. Its end completes the row.
        """
        current = current_call()
        finished = finished or current is None
        call = current or AuditedCall(SYSTEM, subject=SYSTEM, name=SYSTEM)
        call.resource = resource
        call.before = call.before if call.before is not None else before
        call.after, call.written, call.begun = after, finished, True
        row = call.row(OK if finished else UNFINISHED)
        values = self.values_of(row) | {"held_until": None if finished else datetime.now(UTC) + HELD_FOR}
        statement = upsert(self.table).values(values)
        changed = {name: statement.excluded[name] for name in ("payload", "held_until")}
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["message_id"], set_=changed, where=self.table.c.sent_at.is_(None)
            )
        )
        self.written.set()

    async def record_beside(self, connection: AsyncConnection, resource: str, after: Message) -> None:
        """Write a further audit row of the current call: a thing that the call creates beside its own.

        Args:
            connection: of the caller's transaction.
            resource: path below /api/v1, such as `sites/main`.
            after: the new thing.
        """
        call = current_call() or AuditedCall(SYSTEM, subject=SYSTEM, name=SYSTEM)
        beside = replace(call, row_id=uuid4().hex, resource=resource, before=None, after=after)
        await connection.execute(insert(self.table).values(self.values_of(beside.row(OK))))
        self.written.set()

    def values_of(self, row: audit_pb2.AuditRow) -> dict[str, Any]:
        """Return the columns of a row of the audit."""
        return {
            "message_id": row.row_id,
            "subject": audit_subject(str(self.table.schema)),
            "headers": {TYPE_HEADER: row.DESCRIPTOR.full_name},
            "payload": row.SerializeToString(deterministic=True),
            "created_at": datetime.now(UTC),
        }


class OutboxTrail:
    """Writes the audit rows of calls that did not write theirs: refused ones, failed ones, and those without a change.

    A row that cannot be written, because the database is away, waits in memory: `MOST_WAITING` at most.

    Args:
        begin: opens a transaction.
        outbox: the outbox of the service.
    """

    def __init__(self, begin: Begin, outbox: Outbox) -> None:
        self._begin = begin
        self._outbox = outbox
        self._waiting: deque[tuple[dict[str, Any], bytes]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._storing = asyncio.Lock()

    async def finish(self, call: AuditedCall, outcome: str, problem: str) -> None:
        """Complete the row of a call. A caller that disconnects meanwhile does not prevent it."""
        if call.written and outcome == OK:
            return
        full = call.row(outcome, problem).SerializeToString(deterministic=True)
        if outcome != OK:
            # The transaction of the change may have failed. If so, there is no row yet, and nothing was changed.
            call.before = call.after = None
        if len(self._waiting) == MOST_WAITING:
            LOST.inc()
            _log.error("audit.row_lost", method=call.method, resource=call.resource, outcome=outcome)
            return
        self._waiting.append((self._outbox.values_of(call.row(outcome, problem)), full))
        task = asyncio.create_task(self.store(), name="audit of a call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def store(self) -> None:
        """Write the rows that wait."""
        async with self._storing:
            try:
                async with asyncio.timeout(STORE_TIMEOUT_S):
                    while self._waiting:
                        async with self._begin() as connection:
                            await self._complete(connection, *self._waiting[0])
                        self._waiting.popleft()
            except Exception as error:  # noqa: BLE001  (a call must get its own answer; the rows wait)
                _log.warning("audit.waiting", rows=len(self._waiting), error=redact(str(error)) or type(error).__name__)

    async def settle(self) -> None:
        """Wait for rows that are being written, and try once more to write those that wait."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._waiting:
            await self.store()

    async def _complete(self, connection: AsyncConnection, values: dict[str, Any], full: bytes) -> None:
        """Insert a row, or complete the one that the call began and committed."""
        table = self._outbox.table
        statement = upsert(table).values({**values, "held_until": None})
        unfinished = table.c.sent_at.is_(None) & table.c.held_until.is_not(None)
        changed = {"payload": full, "held_until": None}
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["message_id"], set_=changed, where=unfinished)
        )
        self._outbox.written.set()


class OutboxRelay:
    """Publishes the messages of an outbox.

    Args:
        begin: opens a transaction.
        outbox: the outbox of the service.
        bus: the connection to NATS.
        trail: its rows are written as soon as the database answers.
    """

    def __init__(self, begin: Begin, outbox: Outbox, bus: Bus, trail: OutboxTrail | None = None) -> None:
        self._begin = begin
        self._outbox = outbox
        self._trail = trail
        self._bus = bus
        self._stopping = False

    def stop(self) -> None:
        """Let `run` end after the current batch."""
        self._stopping = True
        self._outbox.written.set()

    async def run(self) -> None:
        """Publish messages as they come; retry each second while the database or NATS is away."""
        while not self._stopping:
            try:
                if self._trail is not None:
                    await self._trail.settle()
                while await self._publish_batch() == BATCH:
                    pass
            except Exception as error:  # noqa: BLE001  (the relay survives every error; an absent database is not logged)
                FAILED.inc()
                if not is_away(error):
                    _log.warning("outbox.publish_failed", error=redact(str(error)) or type(error).__name__)
            await happens(self._outbox.written, POLL_PERIOD_S)
            self._outbox.written.clear()

    async def _publish_batch(self) -> int:
        jetstream = self._bus.jetstream
        if jetstream is None:
            return 0
        async with self._begin() as connection:
            rows = await self._unsent(connection)
            sent: list[int] = []
            try:
                for row in rows:
                    await _publish(jetstream, row)
                    sent.append(row["outbox_id"])
            finally:
                await self._mark(connection, sent)
        return len(rows)

    async def _unsent(self, connection: AsyncConnection) -> list[Mapping[str, Any]]:
        table = self._outbox.table
        query = (
            select(table)
            .where(table.c.sent_at.is_(None), or_(table.c.held_until.is_(None), table.c.held_until < datetime.now(UTC)))
            .order_by(table.c.outbox_id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def _mark(self, connection: AsyncConnection, sent: list[int]) -> None:
        if not sent:
            return
        table, now = self._outbox.table, datetime.now(UTC)
        await connection.execute(update(table).where(table.c.outbox_id.in_(sent)).values(sent_at=now))
        await connection.execute(delete(table).where(table.c.sent_at < now - KEPT_FOR))
        PUBLISHED.inc(len(sent))


async def _publish(jetstream: JetStreamContext, row: Mapping[str, Any]) -> None:
    headers = {**row["headers"], MESSAGE_ID_HEADER: row["message_id"]}
    try:
        await jetstream.publish(row["subject"], row["payload"], headers=headers, timeout=PUBLISH_TIMEOUT_S)
    except (nats.errors.Error, APIError) as error:
        raise ConnectionError(f"JetStream did not acknowledge {row['subject']}: {error}") from error

"""Transactional outbox: a transaction stores events with the change that they describe; a relay publishes them later.

So an event is published if and only if its change was committed, at least once and in order. JetStream drops repeats by
message id. Each service has one relay; relays of two processes on one database share the work by row locks.
"""

import asyncio
from collections.abc import Mapping
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
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.bus import domain_subject
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.waiting import happens
from countline_control.database import Database, is_away

BATCH: Final = 100
POLL_PERIOD_S: Final = 1.0
PUBLISH_TIMEOUT_S: Final = 5.0
KEPT_FOR: Final = timedelta(days=1)
EVENT_HEADER: Final = "Countline-Event"
TYPE_HEADER: Final = "Countline-Type"
ACTOR_HEADER: Final = "Countline-Actor"
MESSAGE_ID_HEADER: Final = "Nats-Msg-Id"

PUBLISHED: Final = Counter("countline_outbox_published_total", "Domain events that JetStream acknowledged")
FAILED: Final = Counter("countline_outbox_failures_total", "Attempts to publish domain events that failed")

_log = get_logger(__name__)


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
        Index("outbox_unsent", "outbox_id", postgresql_where="sent_at IS NULL"),
    )


class Outbox:
    """Adds events inside the caller's transaction and wakes the relay.

    Args:
        table: made by `outbox_table`.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.written = asyncio.Event()

    async def add(self, connection: AsyncConnection, aggregate: str, event: str, actor: str, message: Message) -> None:
        """Add an event.

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


class OutboxRelay:
    """Publishes the events of an outbox."""

    def __init__(self, database: Database, outbox: Outbox, bus: Bus) -> None:
        self._database = database
        self._outbox = outbox
        self._bus = bus
        self._stopping = False

    def stop(self) -> None:
        """Let `run` end after the current batch."""
        self._stopping = True
        self._outbox.written.set()

    async def run(self) -> None:
        """Publish events as they come; retry each second while the database or NATS is away."""
        while not self._stopping:
            try:
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
        async with self._database.begin() as connection:
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
            .where(table.c.sent_at.is_(None))
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

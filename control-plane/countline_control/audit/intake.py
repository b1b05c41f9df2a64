"""Receives the rows of all services from JetStream, stores each once, and chains it.

A row is acknowledged after its transaction. If JetStream delivers it again, its id is known.
"""

from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from sqlalchemy.exc import DBAPIError

from countline.v1 import audit_pb2
from countline_common.audit.calls import SYSTEM
from countline_common.data.bus import AUDIT, audit_subject, ensure_streams
from countline_common.data.database import refuses_values
from countline_common.data.dead_letters import put_aside
from countline_common.data.following import StreamFollower
from countline_control.audit import store
from countline_control.audit.chain import AuditSigner
from countline_control.audit.findings import is_finding
from countline_control.audit.writing import write_rows
from countline_control.database import Database

DURABLE: Final = "audit"
SUBJECTS: Final = "countline.audit.rows.>"
ACK_WAIT_S: Final = 30.0
MOST_UNACKNOWLEDGED: Final = 1000
LONGEST_METHOD: Final = 200
AUTH: Final = "auth"
SENDERS: Final = {
    "countline.v1.CameraService": "cameras",
    "countline.v1.SecretService": "cameras",
    "countline.v1.ModelService": "models",
    "countline.v1.WorkerService": "workers",
    "countline.v1.CountService": "analytics",
}
"""Which part sends the rows of a service's methods. Those of all others come from auth."""


class AuditIntake(StreamFollower):
    """Stores the rows of all services.

    Args:
        database: of auth.
        signer: signs rows.
        jetstream: returns the connection to NATS; None while NATS is away.
    """

    def __init__(
        self, database: Database, signer: AuditSigner, jetstream: Callable[[], JetStreamContext | None]
    ) -> None:
        super().__init__("audit", jetstream)
        self._database = database
        self._signer = signer

    async def follow(self, jetstream: JetStreamContext) -> None:
        """Receive rows over one connection."""
        await ensure_streams(jetstream)
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_ack_pending=MOST_UNACKNOWLEDGED)
        subscription = await jetstream.pull_subscribe(SUBJECTS, durable=DURABLE, stream=AUDIT, config=config)
        await self.consume(subscription, lambda messages: self._take(jetstream, messages))

    async def _take(self, jetstream: JetStreamContext, messages: Sequence[Msg]) -> None:
        """Store the rows of services, put the rest aside, and acknowledge all."""
        rows: list[tuple[Msg, audit_pb2.AuditRow]] = []
        for message in messages:
            try:
                rows.append((message, row_from(message.subject, message.data)))
            except ValueError as error:
                await put_aside(jetstream, message, message.data, f"no row of the audit: {error}")
        try:
            await self.store([row for _, row in rows])
        except DBAPIError as error:
            if not refuses_values(error):
                raise
            await self._store_each(jetstream, rows)
        for message in messages:
            await message.ack()

    async def _store_each(self, jetstream: JetStreamContext, rows: Sequence[tuple[Msg, audit_pb2.AuditRow]]) -> None:
        """Store rows one by one, and put aside those that PostgreSQL refuses."""
        for message, row in rows:
            try:
                await self.store([row])
            except DBAPIError as error:
                if not refuses_values(error):
                    raise
                await put_aside(jetstream, message, message.data, f"PostgreSQL refuses the row: {error.orig}")

    async def store(self, rows: Sequence[audit_pb2.AuditRow]) -> None:
        """Chain the rows that are new."""
        if not rows:
            return
        async with self._database.begin() as connection:
            await store.lock_chain(connection)
            await write_rows(connection, self._signer, rows)


def row_from(subject: str, data: bytes) -> audit_pb2.AuditRow:
    """Decode the row that a service published.

    Raises:
        ValueError: it is no row, it is of a method that another service serves, or it claims to be a finding.
    """
    try:
        row = audit_pb2.AuditRow.FromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    if is_finding(row):
        raise ValueError("only the audit itself records what it finds")
    service = row.method.partition("/")[0]
    expected = audit_subject(SENDERS.get(service, AUTH))
    if row.method != SYSTEM and subject != expected:
        raise ValueError(f"a row of {row.method[:LONGEST_METHOD]!r} comes on {expected}, not on {subject}")
    return row

"""Receives the rows of all services from JetStream, stores each once, and chains it.

A row is acknowledged after its transaction. If JetStream delivers it again, its id is known.
"""

from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from countline.v1 import audit_pb2
from countline_common.data.bus import AUDIT, ensure_streams
from countline_common.data.dead_letters import put_aside
from countline_common.data.following import StreamFollower
from countline_control.audit import store
from countline_control.audit.chain import AuditSigner, chained
from countline_control.audit.messages import hashed_text
from countline_control.database import Database

DURABLE: Final = "audit"
SUBJECTS: Final = "countline.audit.rows.>"
ACK_WAIT_S: Final = 30.0
MOST_UNACKNOWLEDGED: Final = 1000


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
        """Store what can be decoded, put the rest aside, and acknowledge all."""
        rows = []
        for message in messages:
            try:
                rows.append(audit_pb2.AuditRow.FromString(message.data))
            except DecodeError as error:
                await put_aside(jetstream, message, message.data, f"no row of the audit: {error}")
        if rows:
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
            while texts:
                sequence, hashed, room = await store.head(connection, self._signer.public)
                now, texts = texts[:room], texts[room:] if room is not None else []
                await store.append(connection, chained(hashed, sequence, now, self._signer))

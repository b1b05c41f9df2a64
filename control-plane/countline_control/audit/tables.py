"""Tables of the audit, in a schema of its own: `protection` takes it from the role of the service."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    text,
)

SCHEMA = "audit"
metadata = MetaData(schema=SCHEMA)


def _of(path: str) -> Computed:
    """Return a column that PostgreSQL computes from the hashed text, so that the two cannot differ."""
    return Computed(f"((hashed_text)::jsonb #>> '{{{path}}}'::text[])", persisted=True)


audit_logs = Table(
    "audit_logs",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("hashed_text", String, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("row_id", String, _of("id"), unique=True),
    Column("actor_subject", String, _of("actor,subject")),
    Column("actor_name", String, _of("actor,name")),
    Column("method", String, _of("method")),
    Column("resource", String, _of("resource")),
    Column("outcome", String, _of("outcome")),
    Column("at_us", BigInteger, Computed("(((hashed_text)::jsonb ->> 'at_us'))::bigint", persisted=True)),
    Index("audit_logs_at_us", "at_us"),
    Index("audit_logs_resource", "resource"),
    Index("audit_logs_actor_name", "actor_name"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("purge", Boolean, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("key_id", String, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

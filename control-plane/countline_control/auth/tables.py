"""The schema `auth`."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from countline_control.outbox import outbox_table

SCHEMA = "auth"
metadata = MetaData(schema=SCHEMA)
_moment = DateTime(timezone=True)

users = Table(
    "users",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("username", String, nullable=False),
    # Case-folded: `Anna` and `anna` are one person.
    Column("username_key", String, nullable=False, unique=True),
    Column("password_hash", String, nullable=False),
    Column("roles", ARRAY(String), nullable=False),
    Column("created_at", _moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", _moment, nullable=False),
    Column("revoked_at", _moment),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    # SHA-256: the tokens are random, so a fast hash is enough; a stolen database does not reveal them.
    Column("token_hash", LargeBinary, primary_key=True),
    Column("session_id", ForeignKey(sessions.c.session_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", _moment, nullable=False),
    Column("expires_at", _moment, nullable=False, index=True),
    Column("used_at", _moment),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    # `user:<name>` or `address:<address>`; deleted after a successful login.
    Column("key", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", _moment, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("audit_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _moment, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("request_id", String, nullable=False),
    Column("detail", JSONB, nullable=False),
    Index("audit_at", "at"),
)

outbox = outbox_table(metadata)

"""Users, sessions, refresh tokens, login attempts, audit, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

S = "auth"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_users_and_sessions()
    _create_attempts_audit_and_outbox()


def downgrade() -> None:
    for table in ("outbox", "audit", "login_attempts", "refresh_tokens", "sessions", "users"):
        op.drop_table(table, schema=S)


def _create_users_and_sessions() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("username", sa.String, nullable=False),
        sa.Column("username_key", sa.String, nullable=False, unique=True),
        sa.Column("password_hash", sa.String, nullable=False),
        sa.Column("roles", ARRAY(sa.String), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        schema=S,
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey(f"{S}.users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        schema=S,
    )
    op.create_index("ix_auth_sessions_user_id", "sessions", ["user_id"], schema=S)
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column(
            "session_id", sa.String, sa.ForeignKey(f"{S}.sessions.session_id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT),
        schema=S,
    )
    op.create_index("ix_auth_refresh_tokens_session_id", "refresh_tokens", ["session_id"], schema=S)
    op.create_index("ix_auth_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"], schema=S)


def _create_attempts_audit_and_outbox() -> None:
    op.create_table(
        "login_attempts",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        schema=S,
    )
    op.create_table(
        "audit",
        sa.Column("audit_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("detail", JSONB, nullable=False),
        schema=S,
    )
    op.create_index("audit_at", "audit", ["at"], schema=S)
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("message_id", sa.String, nullable=False, unique=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT),
        schema=S,
    )
    op.create_index("outbox_unsent", "outbox", ["outbox_id"], schema=S, postgresql_where=sa.text("sent_at IS NULL"))

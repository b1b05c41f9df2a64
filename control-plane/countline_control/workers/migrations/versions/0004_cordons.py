"""Cordons and drains of workers, why each camera is where it is, and an outbox for events and rows of the audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

S = "workers"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("assignments", sa.Column("cause", sa.String), schema=S)
    op.add_column("assignments", sa.Column("former_worker_id", sa.String), schema=S)
    op.create_table(
        "cordons",
        sa.Column("worker_id", sa.String, primary_key=True),
        sa.Column("drains", sa.Boolean, nullable=False),
        sa.Column("at_once", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("drained_at", MOMENT),
        schema=S,
    )
    op.create_table(
        "moves",
        sa.Column("former_worker_id", sa.String, primary_key=True),
        sa.Column("camera_id", sa.String, primary_key=True),
        sa.Column("worker_id", sa.String, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("moved_at", MOMENT, nullable=False),
        sa.Column("counting_at", MOMENT),
        schema=S,
    )
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("message_id", sa.String, nullable=False, unique=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT),
        sa.Column("held_until", MOMENT),
        schema=S,
    )
    op.create_index("outbox_unsent", "outbox", ["outbox_id"], schema=S, postgresql_where=sa.text("sent_at IS NULL"))


def downgrade() -> None:
    for table in ("outbox", "moves", "cordons"):
        op.drop_table(table, schema=S)
    op.drop_column("assignments", "former_worker_id", schema=S)
    op.drop_column("assignments", "cause", schema=S)

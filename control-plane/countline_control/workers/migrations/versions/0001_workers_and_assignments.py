"""Workers, assignments with epochs, files that were played to their end."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

S = "workers"
MOMENT = sa.DateTime(timezone=True)
HELD = "(worker_id IS NULL) = (epoch IS NULL) AND (worker_id IS NULL) = (instance IS NULL)"


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("worker_id", sa.String, primary_key=True),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("backend", sa.String, nullable=False),
        sa.Column("capacity", sa.Integer, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("connected_at", MOMENT, nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        schema=S,
    )
    op.create_table(
        "assignments",
        sa.Column("camera_id", sa.String, primary_key=True),
        sa.Column("last_epoch", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.String),
        sa.Column("instance", sa.String),
        sa.Column("epoch", sa.Integer),
        sa.Column("assigned_at", MOMENT, nullable=False),
        sa.CheckConstraint(HELD, name="held"),
        schema=S,
    )
    op.create_table(
        "finished",
        sa.Column("camera_id", sa.String, primary_key=True),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("status", JSONB, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=False),
        schema=S,
    )


def downgrade() -> None:
    for table in ("finished", "assignments", "workers"):
        op.drop_table(table, schema=S)

"""Exactly one copy of the service of workers schedules: the one that holds the lease."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

S = "workers"


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("only_row", sa.Boolean, sa.CheckConstraint("only_row", name="only_row"), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_released", sa.Boolean, nullable=False),
        schema=S,
    )
    op.execute("INSERT INTO workers.lease VALUES (true, 0, 0, '', now(), true)")


def downgrade() -> None:
    op.drop_table("lease", schema=S)

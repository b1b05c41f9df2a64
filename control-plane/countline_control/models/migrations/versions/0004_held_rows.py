"""The outbox holds the audit row of a call that has not ended yet."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("held_until", sa.DateTime(timezone=True)), schema="models")


def downgrade() -> None:
    op.drop_column("outbox", "held_until", schema="models")

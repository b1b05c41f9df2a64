"""Passwords that users had before are not chosen again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("former_hashes", ARRAY(sa.String), nullable=False, server_default=sa.text("'{}'"))
    op.add_column("users", column, schema="auth")


def downgrade() -> None:
    op.drop_column("users", "former_hashes", schema="auth")

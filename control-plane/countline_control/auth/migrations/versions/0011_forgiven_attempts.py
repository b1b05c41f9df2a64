"""Failed logins are forgiven little by little, so their number is no whole one."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("login_attempts", "failures", type_=sa.Double, schema="auth")


def downgrade() -> None:
    op.alter_column("login_attempts", "failures", type_=sa.Integer, schema="auth")

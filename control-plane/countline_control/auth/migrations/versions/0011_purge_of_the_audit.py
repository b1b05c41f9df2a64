"""A purge of the audit stores its own checkpoint; failed logins are forgiven little by little, in fractions.

Where the audit is protected, the role of the service cannot replace the function: `countline audit protect` does.
"""

import sqlalchemy as sa
from alembic import op

from countline_control.audit.protection import PURGE

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

OWNS_AUDIT = "SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'audit'"


def upgrade() -> None:
    op.alter_column("login_attempts", "failures", type_=sa.Double, schema="auth")
    if op.get_bind().scalar(sa.text(OWNS_AUDIT)):
        op.execute("DROP FUNCTION IF EXISTS audit.purge(bigint, integer)")
        op.execute(PURGE)


def downgrade() -> None:
    # The function stays. An earlier release does not find its own, so it purges nothing.
    op.alter_column("login_attempts", "failures", type_=sa.Integer, schema="auth")

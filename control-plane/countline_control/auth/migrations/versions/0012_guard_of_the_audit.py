"""Rows of the audit are added only behind the last one, and checkpoints only of rows that exist.

Where the audit is protected, the role of the service cannot add the triggers: `countline audit protect` does.
"""

import sqlalchemy as sa
from alembic import op

from countline_control.audit.protection import GUARD

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

OWNS_AUDIT = "SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'audit'"


def upgrade() -> None:
    if op.get_bind().scalar(sa.text(OWNS_AUDIT)):
        op.execute(GUARD)


def downgrade() -> None:
    # Where the audit is protected the triggers stay. An earlier release adds rows in the same order.
    if op.get_bind().scalar(sa.text(OWNS_AUDIT)):
        op.execute("DROP FUNCTION IF EXISTS audit.guard_row() CASCADE")
        op.execute("DROP FUNCTION IF EXISTS audit.guard_checkpoint() CASCADE")

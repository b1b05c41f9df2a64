"""The outbox, through which rows of the audit leave.

Revision ID: 0006
"""

from countline_analytics.store.scripts import run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0006_outbox.sql")


def downgrade() -> None:
    raise NotImplementedError("counts are not thrown away by going back to an older schema")

"""Hand-overs as they were reported, ids of events, and the time zones of sites.

Revision ID: 0004
"""

from countline_analytics.store.scripts import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0004_fences.sql")


def downgrade() -> None:
    raise NotImplementedError("counts are not thrown away by going back to an older schema")

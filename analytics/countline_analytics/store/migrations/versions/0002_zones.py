"""How visits began and ended, queues, speeds, and the zones of each camera.

Revision ID: 0002
"""

from countline_analytics.store.scripts import run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0002_zones.sql")


def downgrade() -> None:
    raise NotImplementedError("counts are not thrown away by going back to an older schema")

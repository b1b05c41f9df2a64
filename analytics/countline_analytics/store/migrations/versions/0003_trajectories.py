"""Where objects were: trajectories, over which lines of today can be counted.

Revision ID: 0003
"""

from alembic import op
from sqlalchemy import text

from countline_analytics.store.scripts import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0003_trajectories.sql")
    # The earlier tables say which kind of server this is, whatever has been installed on it since.
    if op.get_bind().scalar(text("SELECT to_regclass('timescaledb_information.hypertables') IS NOT NULL")):
        run_script("0003_timescale.sql")


def downgrade() -> None:
    raise NotImplementedError("what was seen is not thrown away by going back to an older schema")

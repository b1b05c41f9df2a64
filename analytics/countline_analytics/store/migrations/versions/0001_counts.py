"""Crossings, visits, occupancy, coverage, epochs, truth, and the rollups of the counts.

Revision ID: 0001
"""

from alembic import op
from sqlalchemy import text

from countline_analytics.store.scripts import run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0001_tables.sql")
    if _timescale_is_ready():
        run_script("0001_timescale.sql")
    else:
        run_script("0001_rollup_tables.sql")
    run_script("0001_views.sql")


def downgrade() -> None:
    raise NotImplementedError("the first revision is taken back by dropping the schema")


def _timescale_is_ready() -> bool:
    """Whether this server can make hypertables: the extension is on disk, and its library was loaded at start."""
    return bool(
        op.get_bind().scalar(
            text(
                "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
                " AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'"
            )
        )
    )

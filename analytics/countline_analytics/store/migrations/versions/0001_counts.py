"""Crossings, visits, occupancy, coverage, epochs, truth, and the rollups of the counts.

Revision ID: 0001
"""

from importlib.resources import files

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _run("0001_tables.sql")
    if _timescale_is_ready():
        _run("0001_timescale.sql")
    else:
        _run("0001_rollup_tables.sql")
    _run("0001_views.sql")


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


def _run(name: str) -> None:
    script = (files("countline_analytics.store") / "migrations" / "sql" / name).read_text()
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)  # by the driver: SQLAlchemy would look for parameters in it
    finally:
        cursor.close()

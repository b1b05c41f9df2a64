"""Hand-overs as they were reported, ids of events, and the time zones of sites.

Revision ID: 0004
"""

from importlib.resources import files

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = (files("countline_analytics.store") / "migrations" / "sql" / "0004_fences.sql").read_text()
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)  # by the driver: SQLAlchemy would look for parameters in it
    finally:
        cursor.close()


def downgrade() -> None:
    raise NotImplementedError("counts are not thrown away by going back to an older schema")

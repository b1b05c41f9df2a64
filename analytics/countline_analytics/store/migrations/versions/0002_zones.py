"""How visits began and ended, queues, speeds, and the zones of each camera.

Revision ID: 0002
"""

from importlib.resources import files

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = (files("countline_analytics.store") / "migrations" / "sql" / "0002_zones.sql").read_text()
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)  # by the driver: SQLAlchemy would look for parameters in it
    finally:
        cursor.close()


def downgrade() -> None:
    raise NotImplementedError("counts are not thrown away by going back to an older schema")

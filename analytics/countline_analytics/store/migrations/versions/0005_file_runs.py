"""Runs over files, so that a later version of the counting rule supersedes an earlier one.

Revision ID: 0005
"""

from importlib.resources import files

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = (files("countline_analytics.store") / "migrations" / "sql" / "0005_file_runs.sql").read_text()
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)  # by the driver: SQLAlchemy would look for parameters in it
    finally:
        cursor.close()


def downgrade() -> None:
    raise NotImplementedError("counts are not thrown away by going back to an older schema")

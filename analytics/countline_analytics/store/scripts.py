"""Runs the SQL scripts of the migrations (`migrations/sql/`)."""

from contextlib import closing
from importlib.resources import files

from alembic import op


def run_script(name: str) -> None:
    """Run a script on the connection of the current migration.

    Args:
        name: of its file, such as `0002_zones.sql`.
    """
    script = (files("countline_analytics.store") / "migrations" / "sql" / name).read_text()
    with closing(op.get_bind().connection.cursor()) as cursor:
        cursor.execute(script)  # by the driver: SQLAlchemy would look for parameters in it

"""Runs a service's migrations in its own schema; called by the `env.py` of each service.

The connection comes from `countline_common.data.database.migrate`, which holds a lock meanwhile.
"""

from alembic import context
from sqlalchemy import Connection, MetaData


def run(metadata: MetaData) -> None:
    """Run the migrations of the schema of `metadata`."""
    attributes = context.config.attributes
    connection: Connection = attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=str(attributes["schema"]),
        include_schemas=True,
    )
    with context.begin_transaction():
        context.run_migrations()

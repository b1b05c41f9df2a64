"""What each service's Alembic `env.py` runs: its migrations, in its own schema.

The connection comes from `countline_common.data.database.migrate`, which holds a lock meanwhile.
"""

from alembic import context
from sqlalchemy import Connection, MetaData


def run(metadata: MetaData) -> None:
    """Run the migrations of the schema that `metadata` describes."""
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

"""Alembic's environment for the analytics schema; `countline_common.data.database` hands over the connection."""

from alembic import context

connection = context.config.attributes["connection"]
schema = context.config.attributes["schema"]

context.configure(connection=connection, version_table_schema=schema, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()

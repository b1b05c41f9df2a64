"""The state of a schema's migrations, as a part reports it."""

from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1.parts_pb2 import SchemaMigrations
from countline_common.data.database import migration_state
from countline_common.data.part_feeds import ReadMigrations, RunningPart

AWAY: Final = "the database does not answer"


def reader(part: RunningPart, engine: AsyncEngine, package: str, schema: str) -> ReadMigrations:
    """Return a function that reads the state of a schema.

    Args:
        part: that uses the schema.
        engine: connects to the database.
        package: holds the Alembic history in its folder `migrations`.
        schema: such as `cameras`.
    """
    return partial(_read, part, engine, package, schema)


async def _read(part: RunningPart, engine: AsyncEngine, package: str, schema: str) -> SchemaMigrations:
    message = SchemaMigrations(schema=schema, part=part.name, machine=part.machine)
    try:
        state = await migration_state(engine, package, schema)
    except (SQLAlchemyError, OSError):
        message.problem = AWAY
        return message
    message.applied, message.expected, message.problem = state.applied, state.expected, state.problem
    message.pending.extend(state.pending)
    return message

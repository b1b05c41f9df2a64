"""The migrations make the schema that the code expects."""

import asyncio
from importlib import import_module
from importlib.resources import as_file, files

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from countline_common.data.database import migrate, url
from countline_control.serve.plane import SERVICES


@pytest.mark.parametrize("service", SERVICES)
async def test_the_schema_is_the_sum_of_its_migrations(control_dsn: str, service: str) -> None:
    metadata = import_module(f"countline_control.{service}.tables").metadata
    engine = create_engine(url(control_dsn))

    def of_this_service(name: str | None, kind: str, parents: dict) -> bool:
        return kind != "schema" or name == service

    def tables_of_ours(item, name: str, kind: str, reflected: bool, compared) -> bool:
        return not (kind == "table" and name == "alembic_version")

    try:
        with engine.connect() as connection:
            options = {
                "include_schemas": True,
                "include_name": of_this_service,
                "include_object": tables_of_ours,
                "compare_type": True,
                "compare_server_default": True,
            }
            differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    finally:
        engine.dispose()
    assert differences == []


async def test_services_that_start_together_migrate_one_after_the_other(database: str) -> None:
    await asyncio.gather(*(migrate(database, "countline_control.cameras", "cameras") for _ in range(4)))


async def test_numbers_that_models_gave_before_they_were_written_down_are_not_given_again(database: str) -> None:
    """Version 1 was deleted, 2 exists, 3 was the last number that was given."""
    await migrate(database, "countline_control.models", "models")
    engine = create_engine(url(database))
    try:
        with engine.connect() as connection:
            _downgrade(connection, "countline_control.models", "models", "0001")
            connection.execute(text(MODEL_OF_0001))
            connection.execute(text(VERSION_OF_0001))
            connection.commit()
            await migrate(database, "countline_control.models", "models")
            rows = connection.execute(text("SELECT version, digest FROM models.numbers ORDER BY version")).all()
    finally:
        engine.dispose()
    assert [tuple(row) for row in rows] == [(1, ""), (2, "d2"), (3, "")]


MODEL_OF_0001 = """
    INSERT INTO models.models
        (name, contract, tuning, target, live_version, previous_version, last_version, created_at, updated_at)
    VALUES ('net', '{}', '{}', 'cpu', 2, 0, 3, now(), now())
"""
VERSION_OF_0001 = """
    INSERT INTO models.versions
        (name, version, state, digest, size_bytes, score_threshold, fused, comment, validation, created_by, created_at,
         promoted_by)
    VALUES ('net', 2, 'validated', 'd2', 10, 0.4, '', '', '{}', 'ann', now(), '')
"""


def _downgrade(connection: Connection, package: str, schema: str, revision: str) -> None:
    with as_file(files(package) / "migrations") as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts))
        config.attributes.update(connection=connection, schema=schema)
        command.downgrade(config, revision)
    connection.commit()

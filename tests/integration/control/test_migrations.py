"""What the migrations make is what the code expects."""

import asyncio
from importlib import import_module

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from countline_common.database import migrate, url
from countline_control.serve import SERVICES


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

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
from countline_control.audit.chain import GENESIS, AuditSigner, Link, UnsignedRows, new_audit_key
from countline_control.serve.plane import SERVICES


@pytest.mark.parametrize("service", [*SERVICES, "audit"])
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


async def test_users_of_an_earlier_version_keep_roles_sessions_and_passwords(database: str) -> None:
    await migrate(database, "countline_control.auth", "auth")
    engine = create_engine(url(database))
    try:
        with engine.connect() as connection:
            _downgrade(connection, "countline_control.auth", "auth", "0002")
            for statement in USERS_OF_0002:
                connection.execute(text(statement))
            connection.commit()
            await migrate(database, "countline_control.auth", "auth")
            held = connection.execute(text("SELECT user_id, role, site_id, camera_ids FROM auth.grants ORDER BY 1, 2"))
            assert [tuple(row) for row in held] == [
                ("a", "super-admin", "", []),
                ("b", "viewer", "", []),
                ("c", "super-admin", "", []),
                ("c", "viewer", "", []),
            ]
            kept = connection.execute(text("SELECT session_id, user_id, revoked_at FROM auth.user_sessions"))
            assert [tuple(row) for row in kept] == [("s", "a", None)]
            tokens = connection.execute(text("SELECT session_id FROM auth.refresh_tokens")).scalars().all()
            assert tokens == ["s"]
            connection.execute(text("UPDATE auth.users SET disabled_at = now() WHERE user_id = 'b'"))
            connection.commit()
            _downgrade(connection, "countline_control.auth", "auth", "0002")
            back = connection.execute(text("SELECT user_id, roles, password_hash FROM auth.users ORDER BY 1"))
            assert [tuple(row) for row in back] == [
                ("a", ["admin"], "hash"),
                ("b", ["viewer"], ""),  # disabled: must not log in to a version that knows no disabled users
                ("c", ["admin"], "hash"),
            ]
    finally:
        engine.dispose()


USERS_OF_0002 = (
    """
    INSERT INTO auth.users (user_id, username, username_key, password_hash, roles, created_at)
    VALUES ('a', 'ann', 'ann', 'hash', '{admin}', now()), ('b', 'ben', 'ben', 'hash', '{viewer}', now()),
           ('c', 'cleo', 'cleo', 'hash', '{admin,viewer}', now())
    """,
    "INSERT INTO auth.sessions (session_id, user_id, created_at) VALUES ('s', 'a', now())",
    """
    INSERT INTO auth.refresh_tokens (token_hash, session_id, created_at, expires_at)
    VALUES ('x', 's', now(), now() + interval '1 day')
    """,
)


def _downgrade(connection: Connection, package: str, schema: str, revision: str) -> None:
    with as_file(files(package) / "migrations") as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts))
        config.attributes.update(connection=connection, schema=schema)
        command.downgrade(config, revision)
    connection.commit()


async def test_rows_of_the_earlier_audit_begin_the_chain(database: str) -> None:
    await migrate(database, "countline_control.auth", "auth")
    engine = create_engine(url(database))
    try:
        with engine.connect() as connection:
            _downgrade(connection, "countline_control.auth", "auth", "0003")
            connection.execute(text(ROWS_OF_0003))
            connection.commit()
            await migrate(database, "countline_control.auth", "auth")
            stored = connection.execute(text("SELECT * FROM audit.audit_logs ORDER BY sequence")).mappings().all()
            assert [(row["actor_name"], row["resource"], row["outcome"]) for row in stored] == [
                ("ann", "users/bob", "OK"),
                ("bob", "users/bob", "UNAUTHENTICATED"),
            ]
            links = [Link(row["sequence"], row["hashed_text"], row["hash"], row["signature"]) for row in stored]
            signer = AuditSigner(new_audit_key())
            rows = UnsignedRows(signer.public, 0, GENESIS, unsigned=True)
            rows.add(links)
            assert (rows.doubts, rows.ours) == ([], links[-1])
            _downgrade(connection, "countline_control.auth", "auth", "0003")
            back = connection.execute(text("SELECT actor FROM auth.audit ORDER BY audit_id")).scalars().all()
            assert back == ["ann", "bob"]
    finally:
        engine.dispose()


ROWS_OF_0003 = """
    INSERT INTO auth.audit (at, actor, action, subject, request_id, detail) VALUES
        (now(), 'ann', 'user.created', 'bob', 'r1', '{"roles": ["viewer"]}'),
        (now(), 'bob', 'login_failed', 'bob', 'r2', '{"address": "10.0.0.7"}')
"""

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
from countline_control.cameras.events.rebuild import StateDifference, ids_after, rebuild
from countline_control.database import Database
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


async def test_cameras_of_an_earlier_version_get_their_first_events_without_passwords(database: str) -> None:
    """Release 0006 had a sealed address, and took over one in the clear from 0003, which had no master key yet."""
    await migrate(database, "countline_control.cameras", "cameras")
    engine = create_engine(url(database))
    try:
        with engine.connect() as connection:
            _downgrade(connection, "countline_control.cameras", "cameras", "0006")
            for statement in CAMERAS_OF_0006:
                connection.execute(text(statement))
            connection.commit()
            before = connection.execute(text(AS_IN_0006)).all()
            connection.commit()
            await migrate(database, "countline_control.cameras", "cameras")
            events = connection.execute(text("SELECT camera_id, version, kind, data::text FROM cameras.camera_events"))
            shown = {row.camera_id: row for row in events}
            sealed = connection.execute(text("SELECT camera_id, key_id, sealed FROM cameras.secrets")).all()
            connection.commit()
        found = await _rebuilt(database)
        with engine.connect() as connection:
            _downgrade(connection, "countline_control.cameras", "cameras", "0006")
            after = connection.execute(text(AS_IN_0006)).all()
    finally:
        engine.dispose()
    assert {(row.version, row.kind) for row in shown.values()} == {(1, "CameraImported")}
    assert set(shown) == {"door", "clear", "gone"}
    assert not [row for row in shown.values() if "S3cret" in row.data]
    assert [(row.camera_id, row.key_id, bytes(row.sealed)) for row in sealed] == [("door", "k", b"sealed")]
    assert found == {"door": [], "clear": [], "gone": []}
    assert after == before


async def _rebuilt(dsn: str) -> dict[str, list[StateDifference]]:
    database = Database(dsn)
    try:
        async with database.begin() as connection:
            ids = await ids_after(connection, "", 100)
            return {each: list((await rebuild(connection, each, write=False)).differences) for each in ids}
    finally:
        await database.close()


AS_IN_0006 = """
    SELECT c.*, (SELECT count(*) FROM cameras.geometry_versions) FROM cameras.cameras AS c ORDER BY camera_id
"""
CAMERAS_OF_0006 = (
    "INSERT INTO cameras.sites (site_id, title, time_zone, created_at) VALUES ('lab', '', 'UTC', now())",
    "INSERT INTO cameras.data_keys (key_id, master_key_id, wrapped, created_at) VALUES ('k', 'm', 'w', now())",
    """
    INSERT INTO cameras.cameras
        (camera_id, site_id, name, location, latitude, longitude, floor, status, tags, spec, stream_url,
         sealed_stream_url, source_key_id, revision, created_at, updated_at, picture, drawn_on)
    VALUES ('door', 'lab', 'Door', 'Lobby', 52.5, 0, '2', 'paused', '["a"]',
            '{"model": "net@2", "recorded_at": "2026-03-01T12:00:00.123456Z", "playback": "PLAYBACK_LIVE",
              "lines": [{"line_id": "gate", "points": [{"x": 0.1}, {"x": 0.9, "y": 0.3}], "version": 3}]}',
            'rtsp://joe:***@h/live', 'sealed', 'k', 7, '2026-03-01T12:00:00.000001Z', '2026-03-02T12:00:00.123457Z',
            '{"width": 640, "height": 360}', '{"width": 360, "height": 640, "orientation": "clockwise"}'),
           ('clear', 'lab', 'Clear', '', NULL, NULL, '', 'active', '[]', '{}', 'rtsp://joe:S3cret@h/live', NULL, NULL,
            1, now(), now(), 'null', NULL)
    """,
    """
    INSERT INTO cameras.geometry_versions (camera_id, kind, geometry_id, version, fingerprint, picture)
    VALUES ('door', 'line', 'gate', 3, 'f', '{"width": 640, "height": 360}'), ('door', 'zone', 'old', 2, 'g', 'null'),
           ('gone', 'line', 'gate', 5, 'h', NULL)
    """,
)

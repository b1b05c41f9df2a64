"""`protect_databases` of `countline up` on the embedded PostgreSQL: of a new folder, and of an earlier release."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from countline.v1.audit_pb2 import AuditRow
from countline_common.data.audit_rights import IS_PROTECTED
from countline_common.data.database import migrate
from countline_common.settings import DataFolder
from countline_control.audit.chain import AuditSigner, new_audit_key
from countline_control.audit.intake import AuditIntake
from countline_control.audit.upkeep import AuditUpkeep
from countline_control.database import Database
from countline_local.cli.display import JsonDisplay
from countline_local.parts.postgres import DATABASES, PostgresServer, postgres_part, postgres_server
from countline_local.parts.system import System
from countline_local.supervision.guard_client import GuardClient
from countline_local.supervision.ports import choose_ports
from countline_local.supervision.supervisor import Supervisor
from countline_local.up.database_protection import protect_databases

KEY = new_audit_key()
"""Of all rows: rows that another key signed would be findings of the audit."""

# What an earlier release left: roles that own their databases, and rights on the audit that its protection gave.
EARLIER = """
DROP FUNCTION audit.guard_row() CASCADE;
DROP FUNCTION audit.guard_checkpoint() CASCADE;
DROP FUNCTION audit.purge(bigint, integer, bigint, text, bytea);
CREATE FUNCTION audit.purge(bigint, integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::bigint';
CREATE ROLE countline_audit NOLOGIN;
ALTER SCHEMA audit OWNER TO countline_audit;
ALTER TABLE audit.audit_logs OWNER TO countline_audit;
ALTER TABLE audit.checkpoints OWNER TO countline_audit;
ALTER FUNCTION audit.purge(bigint, integer) OWNER TO countline_audit;
GRANT USAGE ON SCHEMA audit TO auth;
GRANT SELECT, INSERT (sequence, hashed_text, hash, signature) ON audit.audit_logs TO auth;
GRANT SELECT, INSERT ON audit.checkpoints TO auth;
GRANT EXECUTE ON FUNCTION audit.purge(bigint, integer) TO auth;
"""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[System, Supervisor]]:
    """PostgreSQL of a new data folder, with the tables of auth."""
    data = DataFolder(tmp_path / "data")
    for folder in (data.root, data.run, data.logs):
        folder.mkdir(mode=0o700, exist_ok=True)
    ports = {name: choice.port for name, choice in choose_ports({}, {}, any_free=True).items()}
    system = System(data, ports, "unused-")
    supervisor = Supervisor(
        [postgres_part(system, postgres_server(system))],
        data.logs,
        lambda: GuardClient(data.logs / "guard.log"),
        lambda _: None,
    )
    await supervisor.start()
    await supervisor.wait_ready()
    await migrate(postgres_server(system).dsn("auth"), "countline_control.auth", "auth")
    yield system, supervisor
    await supervisor.stop()


def execute(server: PostgresServer, database: str, statement: str) -> None:
    with psycopg.connect(server.superuser_dsn(database), autocommit=True) as root:
        root.execute(statement.encode())


def is_protected(server: PostgresServer) -> bool:
    with psycopg.connect(server.dsn("auth")) as connection:
        row = connection.execute(IS_PROTECTED).fetchone()
    return bool(row and row[0])


def check_nothing_more_than_needed(server: PostgresServer) -> None:
    assert is_protected(server)
    for name in DATABASES:
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner"):
                connection.execute(f"DROP DATABASE {name}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner"):
                connection.execute(f"ALTER DATABASE {name} OWNER TO {name}".encode())


async def store_rows(server: PostgresServer, first: int) -> None:
    """Store two rows of the audit as the service does, and sign them."""
    database, signer = Database(server.dsn("auth")), AuditSigner(KEY)
    await AuditIntake(database, signer, lambda: None).store([AuditRow(row_id=f"r{first + i}") for i in range(2)])
    await AuditUpkeep(database, signer, lambda: None).sign()
    await database.close()


async def test_the_databases_of_a_new_folder_are_protected_and_stay_so(running: tuple[System, Supervisor]) -> None:
    system, supervisor = running
    server = postgres_server(system)
    assert not is_protected(server)
    await protect_databases(system, supervisor, JsonDisplay())
    check_nothing_more_than_needed(server)
    await store_rows(server, 1)
    assert not (system.data.run / "audit-dsn").exists()
    execute(server, "auth", "GRANT DELETE ON audit.audit_logs TO auth")
    assert not is_protected(server)
    await protect_databases(system, supervisor, JsonDisplay())
    check_nothing_more_than_needed(server)


async def test_a_folder_of_an_earlier_release_is_protected_anew_and_keeps_its_rows(
    running: tuple[System, Supervisor],
) -> None:
    system, supervisor = running
    server = postgres_server(system)
    await store_rows(server, 1)
    execute(server, "auth", EARLIER)
    for name in DATABASES:
        execute(server, "postgres", f"ALTER DATABASE {name} OWNER TO {name}")
    assert not is_protected(server)
    await migrate(server.dsn("auth"), "countline_control.auth", "auth")
    for _ in range(2):
        await protect_databases(system, supervisor, JsonDisplay())
        check_nothing_more_than_needed(server)
    await store_rows(server, 3)
    with psycopg.connect(server.dsn("auth")) as connection:
        assert connection.execute("SELECT count(*) FROM audit.audit_logs").fetchone() == (4,)


async def test_the_migration_leaves_a_protected_audit_to_its_protection(running: tuple[System, Supervisor]) -> None:
    """The role of the service may not replace the function; the service has to start nevertheless."""
    system, _ = running
    server = postgres_server(system)
    execute(server, "auth", "UPDATE auth.alembic_version SET version_num = '0010'")
    execute(server, "auth", "ALTER TABLE auth.login_attempts ALTER failures TYPE integer")
    execute(server, "auth", "ALTER TABLE auth.users DROP COLUMN former_hashes")
    execute(server, "auth", EARLIER)
    await migrate(server.dsn("auth"), "countline_control.auth", "auth")
    with psycopg.connect(server.dsn("auth")) as connection:
        kind = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'auth.login_attempts'::regclass"
        found = connection.execute(f"{kind} AND attname = 'failures'".encode())
        assert found.fetchone() == ("double precision",)
    assert not is_protected(server)

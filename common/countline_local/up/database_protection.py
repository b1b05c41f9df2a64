"""Takes from the roles of services what they do not need: to own their databases, and to change rows of the audit."""

import asyncio
from typing import Final

import psycopg

from countline_common.cli.child_commands import call
from countline_common.data.audit_rights import IS_PROTECTED
from countline_common.errors import UnavailableError
from countline_common.logs import get_logger
from countline_common.secrets.secret_files import write_secret
from countline_local.parts.postgres import DATABASES, SUPERUSER, PostgresServer, database_rights, postgres_server
from countline_local.parts.system import System
from countline_local.supervision.supervisor import Supervisor
from countline_local.up.display import Display

AUTH: Final = "auth"
"""Name of the database with the audit, and of the role of its service."""
TIMEOUT_S: Final = 120.0
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_MS: Final = 30_000
OWNED_BY_SERVICES: Final = """
SELECT datname FROM pg_database WHERE datname = ANY(%s) AND pg_get_userbyid(datdba) <> CURRENT_USER ORDER BY datname
"""

_log = get_logger(__name__)


async def protect_databases(system: System, supervisor: Supervisor, _: Display) -> None:
    """Protect the databases once their tables exist; also those of a data folder of an earlier release.

    Raises:
        CountlineError: PostgreSQL refused, or a command took too long.
    """
    await supervisor.wait_ready()
    await asyncio.to_thread(_protect, system)


def _protect(system: System) -> None:
    server = postgres_server(system)
    _take_ownership(server)
    if _is_audit_protected(server):
        return
    file = system.data.run / "audit-dsn"
    write_secret(file, server.superuser_dsn(AUTH))
    try:
        call(
            "audit", "protect", "--dsn-file", str(file), "--role", AUTH,
            timeout_s=TIMEOUT_S, trouble="the audit was not protected",
        )  # fmt: skip
    finally:
        file.unlink(missing_ok=True)
    _log.info("audit.protected", role=AUTH)


def _take_ownership(server: PostgresServer) -> None:
    """Give databases to the superuser that belong to the role of their service: an owner may delete its database.

    Raises:
        UnavailableError: PostgreSQL does not answer, or refused.
    """
    options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
    try:
        with psycopg.connect(server.dsn(SUPERUSER), connect_timeout=CONNECT_TIMEOUT_S, options=options) as connection:
            owned = [name for (name,) in connection.execute(OWNED_BY_SERVICES, (list(DATABASES),))]
            for name in owned:
                connection.execute(f"ALTER DATABASE {name} OWNER TO {SUPERUSER}".encode())
                for statement in database_rights(name):
                    connection.execute(statement.encode())
    except psycopg.Error as error:
        raise UnavailableError(
            f"the databases were not taken from the roles of their services: {str(error).strip()}",
            hint="see logs/postgres.log, then start again",
        ) from error
    if owned:
        _log.info("databases.owned", databases=owned)


def _is_audit_protected(server: PostgresServer) -> bool:
    """Whether nothing has to be done. If PostgreSQL does not answer, the command says so better."""
    try:
        with psycopg.connect(server.dsn(AUTH), connect_timeout=CONNECT_TIMEOUT_S) as connection:
            row = connection.execute(IS_PROTECTED).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])

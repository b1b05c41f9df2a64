"""Takes the right to change rows of the audit from the role of the service, so that a new system is protected."""

import asyncio
from typing import Final

import psycopg

from countline_common.cli.child_commands import call
from countline_common.logs import get_logger
from countline_common.secrets.secret_files import write_secret
from countline_local.parts.postgres import postgres_server
from countline_local.parts.system import System
from countline_local.supervision.supervisor import Supervisor
from countline_local.up.display import Display

DATABASE: Final = "auth"
"""Name of the database, and of the role of its service."""
TIMEOUT_S: Final = 120.0
CONNECT_TIMEOUT_S: Final = 5
# Whether every table of the audit belongs to the role that cannot log in, and no other one.
IS_PROTECTED: Final = """
SELECT coalesce(bool_and(tableowner = 'countline_audit'), false) FROM pg_tables WHERE schemaname = 'audit'
"""

_log = get_logger(__name__)


async def protect_audit(system: System, supervisor: Supervisor, _: Display) -> None:
    """Protect the audit once its tables exist; also those of a data folder of an earlier release.

    Raises:
        CountlineError: PostgreSQL refused, or the command took too long.
    """
    await supervisor.wait_ready()
    await asyncio.to_thread(_protect, system)


def _protect(system: System) -> None:
    server = postgres_server(system)
    if _is_protected(server.superuser_dsn(DATABASE)):
        return
    file = system.data.run / "audit-dsn"
    write_secret(file, server.superuser_dsn(DATABASE))
    try:
        call(
            "audit", "protect", "--dsn-file", str(file), "--role", DATABASE,
            timeout_s=TIMEOUT_S, trouble="the audit was not protected",
        )  # fmt: skip
    finally:
        file.unlink(missing_ok=True)
    _log.info("audit.protected", role=DATABASE)


def _is_protected(dsn: str) -> bool:
    """Whether nothing has to be done. If PostgreSQL does not answer, the command says so better."""
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            row = connection.execute(IS_PROTECTED).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])

"""Takes the tables of the audit from the role of the service, so that it can read and insert, and nothing else.

The tables then belong to `countline_audit`, a role that cannot log in, and the database to the superuser who runs this:
its owner could delete it. Rows can be deleted through `audit.purge` only (`purge.sql`), which refuses rows that are
young, and which alone writes checkpoints of purges. Triggers refuse what is out of order (`guard.sql`). A superuser
runs this after the service of auth has started once, and again after an upgrade: `countline audit verify` says when.
"""

from importlib.resources import files
from typing import Final

import psycopg
from psycopg import sql

from countline_common.errors import CountlineError, InvalidInputError, UnavailableError

CONNECT_TIMEOUT_S: Final = 10
PURGE: Final = files("countline_control.audit").joinpath("purge.sql").read_text()
"""The function `audit.purge`. A migration creates it too, where the audit is not protected."""
GUARD: Final = files("countline_control.audit").joinpath("guard.sql").read_text()
"""The triggers that refuse rows and checkpoints out of order. A migration creates them too."""
_STATEMENTS: Final = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'countline_audit') THEN
        CREATE ROLE countline_audit NOLOGIN;
    END IF;
END $$;
ALTER DATABASE {database} OWNER TO CURRENT_USER;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {role};
ALTER SCHEMA audit OWNER TO countline_audit;
ALTER TABLE audit.audit_logs OWNER TO countline_audit;
ALTER TABLE audit.checkpoints OWNER TO countline_audit;
DROP FUNCTION IF EXISTS audit.purge(bigint, integer);
{purge};
ALTER FUNCTION audit.purge(bigint, integer, bigint, text, bytea) OWNER TO countline_audit;
{guard};
ALTER FUNCTION audit.guard_row() OWNER TO countline_audit;
ALTER FUNCTION audit.guard_checkpoint() OWNER TO countline_audit;
ALTER TABLE audit.audit_logs ENABLE TRIGGER guard;
ALTER TABLE audit.checkpoints ENABLE TRIGGER guard;
REVOKE ALL ON SCHEMA audit FROM PUBLIC, {role};
REVOKE ALL ON ALL TABLES IN SCHEMA audit FROM PUBLIC, {role};
REVOKE ALL ON FUNCTION audit.purge(bigint, integer, bigint, text, bytea) FROM PUBLIC, {role};
GRANT USAGE ON SCHEMA audit TO {role};
-- Without `received_at`: the moment from which retention counts is PostgreSQL's.
GRANT SELECT, INSERT (sequence, hashed_text, hash, signature) ON audit.audit_logs TO {role};
GRANT SELECT, INSERT ON audit.checkpoints TO {role};
-- The function writes as the owner, to whom these policies do not apply.
ALTER TABLE audit.checkpoints ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS readable ON audit.checkpoints;
CREATE POLICY readable ON audit.checkpoints FOR SELECT USING (true);
DROP POLICY IF EXISTS no_purges ON audit.checkpoints;
CREATE POLICY no_purges ON audit.checkpoints FOR INSERT WITH CHECK (NOT purge);
GRANT EXECUTE ON FUNCTION audit.purge(bigint, integer, bigint, text, bytea) TO {role};
"""


def statements(database: str, role: str) -> sql.Composed:
    """Return the SQL for a database and the role of the service."""
    return sql.SQL(_STATEMENTS).format(
        database=sql.Identifier(database), role=sql.Identifier(role), purge=sql.SQL(PURGE), guard=sql.SQL(GUARD)
    )


def protect(dsn: str, role: str) -> None:
    """Protect the tables of the audit, in one transaction. It can be repeated.

    Args:
        dsn: of the database of auth, for a superuser.
        role: with which the service of auth connects.

    Raises:
        InvalidInputError: the role does not exist, is a superuser, or the service has not started yet.
        UnavailableError: PostgreSQL does not answer.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            _check_role(connection, role)
            connection.execute(statements(connection.info.dbname, role))
    except psycopg.OperationalError as error:
        raise UnavailableError(
            f"PostgreSQL does not answer: {str(error).strip()}", hint="check the address and that PostgreSQL runs"
        ) from error
    except psycopg.Error as error:
        raise _refused(error) from error


def _check_role(connection: psycopg.Connection, role: str) -> None:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    if row is None:
        raise InvalidInputError(f"PostgreSQL has no role {role!r}", hint="give the role in COUNTLINE_AUTH_DSN")
    if row[0]:
        raise InvalidInputError(
            f"the role {role!r} is a superuser, which no privilege stops",
            hint="let the service of auth connect with a role of its own",
        )


def _refused(error: psycopg.Error) -> CountlineError:
    if isinstance(error, psycopg.errors.InvalidSchemaName | psycopg.errors.UndefinedTable):
        return InvalidInputError(
            "the database holds no audit", hint="name the database of auth, and start the service of auth once before"
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return InvalidInputError("this role may not do that", hint="give the address of a superuser")
    return InvalidInputError(f"PostgreSQL refused: {str(error).strip()}")

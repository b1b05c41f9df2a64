"""Takes the tables of the audit from the role of the service, so that it can read and insert, and nothing else.

The tables then belong to `countline_audit`, a role that cannot log in. Rows can be deleted through `audit.purge` only,
which refuses rows that are young. A superuser runs this once, after the service of auth has started once.
"""

from typing import Final

import psycopg
from psycopg import sql

from countline_common.errors import CountlineError, InvalidInputError, UnavailableError

CONNECT_TIMEOUT_S: Final = 10
_STATEMENTS: Final = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'countline_audit') THEN
        CREATE ROLE countline_audit NOLOGIN;
    END IF;
END $$;
ALTER SCHEMA audit OWNER TO countline_audit;
ALTER TABLE audit.audit_logs OWNER TO countline_audit;
ALTER TABLE audit.checkpoints OWNER TO countline_audit;
ALTER FUNCTION audit.purge(bigint, integer) OWNER TO countline_audit;
REVOKE ALL ON SCHEMA audit FROM PUBLIC, {role};
REVOKE ALL ON ALL TABLES IN SCHEMA audit FROM PUBLIC, {role};
REVOKE ALL ON FUNCTION audit.purge(bigint, integer) FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO {role};
-- Without `received_at`: the moment from which retention counts is PostgreSQL's.
GRANT SELECT, INSERT (sequence, hashed_text, hash, signature) ON audit.audit_logs TO {role};
GRANT SELECT, INSERT ON audit.checkpoints TO {role};
GRANT EXECUTE ON FUNCTION audit.purge(bigint, integer) TO {role};
"""


def statements(role: str) -> sql.Composed:
    """Return the SQL for the role of the service."""
    return sql.SQL(_STATEMENTS).format(role=sql.Identifier(role))


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
            connection.execute(statements(role))
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

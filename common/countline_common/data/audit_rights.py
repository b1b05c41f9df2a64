"""The question to PostgreSQL whether the role that asks may only read and insert rows of the audit.

`countline audit protect` brings this about. Auth asks as its own role, and `countline up` as the role of auth.
"""

from typing import Final

IS_PROTECTED: Final = """
WITH tables (name) AS (VALUES ('audit.audit_logs'), ('audit.checkpoints')),
owners (owner) AS (
    SELECT datdba FROM pg_database WHERE datname = current_database()
    UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'audit'
    UNION SELECT relowner FROM pg_class WHERE relnamespace = 'audit'::regnamespace
    UNION SELECT proowner FROM pg_proc WHERE pronamespace = 'audit'::regnamespace
)
SELECT NOT EXISTS (SELECT FROM owners WHERE pg_has_role(owner, 'MEMBER'))
    AND NOT EXISTS (
        SELECT FROM tables WHERE has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
            OR has_any_column_privilege(name, 'UPDATE, REFERENCES')
    )
    AND NOT has_column_privilege('audit.audit_logs', 'received_at', 'INSERT')
    AND NOT has_schema_privilege('audit', 'CREATE')
    AND row_security_active('audit.checkpoints')
    AND to_regprocedure('audit.purge(bigint,integer,bigint,text,bytea)') IS NOT NULL
    AND to_regprocedure('audit.purge(bigint,integer)') IS NULL
    AND 2 = (
        SELECT count(*) FROM pg_trigger JOIN tables ON tgrelid = to_regclass(name)
        WHERE tgname = 'guard' AND tgenabled IN ('O', 'A')
    )
"""
"""One row with one boolean. An error if the tables do not exist."""

"""The audit of all services, chained by hashes, in a schema of its own; rows of auth's own table move to its beginning.

The rows that move are not signed: no key exists while tables are made. The first checkpoint signs them.
"""

import json
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from countline_control.audit.chain import GENESIS, hash_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

S = "audit"

PURGE = """
    CREATE FUNCTION audit.purge(up_to bigint, days integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        deleted bigint;
    BEGIN
        IF days IS NULL OR days < 30 THEN
            RAISE EXCEPTION 'the audit keeps rows for at least 30 days';
        END IF;
        IF NOT EXISTS (SELECT FROM audit.checkpoints AS c WHERE c.sequence = up_to AND c.purge) THEN
            RAISE EXCEPTION 'no checkpoint stands for the rows up to %', up_to;
        END IF;
        IF EXISTS (SELECT FROM audit.audit_logs AS l
                   WHERE l.sequence <= up_to AND l.received_at >= now() - make_interval(days => days)) THEN
            RAISE EXCEPTION 'rows up to % are younger than % days', up_to, days;
        END IF;
        DELETE FROM audit.audit_logs AS l WHERE l.sequence <= up_to;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        RETURN deleted;
    END $$
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS audit")
    _create_logs()
    op.create_table(
        "checkpoints",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("purge", sa.Boolean, primary_key=True),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        schema=S,
    )
    op.execute(PURGE)
    op.add_column("outbox", sa.Column("held_until", sa.DateTime(timezone=True)), schema="auth")
    _move_rows()
    op.drop_table("audit", schema="auth")


def downgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("audit_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("detail", sa.dialects.postgresql.JSONB, nullable=False),
        schema="auth",
    )
    op.create_index("audit_at", "audit", ["at"], schema="auth")
    op.execute(
        "INSERT INTO auth.audit (at, actor, action, subject, request_id, detail) SELECT to_timestamp(at_us / 1e6),"
        " actor_name, method, resource, hashed_text::jsonb ->> 'request_id', hashed_text::jsonb"
        " FROM audit.audit_logs ORDER BY sequence"
    )
    op.drop_column("outbox", "held_until", schema="auth")
    op.execute("DROP SCHEMA audit CASCADE")


def _create_logs() -> None:
    def part(path: str) -> sa.Computed:
        return sa.Computed(f"((hashed_text)::jsonb #>> '{{{path}}}'::text[])", persisted=True)

    at_us = sa.Computed("(((hashed_text)::jsonb ->> 'at_us'))::bigint", persisted=True)
    op.create_table(
        "audit_logs",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hashed_text", sa.String, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("row_id", sa.String, part("id"), unique=True),
        sa.Column("actor_subject", sa.String, part("actor,subject")),
        sa.Column("actor_name", sa.String, part("actor,name")),
        sa.Column("method", sa.String, part("method")),
        sa.Column("resource", sa.String, part("resource")),
        sa.Column("outcome", sa.String, part("outcome")),
        sa.Column("at_us", sa.BigInteger, at_us),
        schema=S,
    )
    for name in ("at_us", "resource", "actor_name"):
        op.create_index(f"audit_logs_{name}", "audit_logs", [name], schema=S)


def _move_rows() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT * FROM auth.audit ORDER BY audit_id")).mappings()
    insert = sa.text(
        "INSERT INTO audit.audit_logs (sequence, hashed_text, hash, signature) VALUES (:sequence, :text, :hash, '')"
    )
    for values in _chained([dict(row) for row in rows]):
        connection.execute(insert, values)


def _chained(rows: list[dict]) -> Iterator[dict[str, object]]:
    """Yield the rows of auth's own table as rows of the chain."""
    hashed = GENESIS
    for sequence, row in enumerate(rows, 1):
        text = _hashed_text(row)
        hashed = hash_of(hashed, sequence, text)
        yield {"sequence": sequence, "text": text, "hash": hashed}


def _hashed_text(row: dict) -> str:
    action = str(row["action"])
    values = {
        "id": f"auth-{row['audit_id']}",
        "at_us": round(row["at"].timestamp() * 1e6),
        "actor": {"subject": "", "name": row["actor"]},
        "address": str(row["detail"].get("address", "")),
        "method": f"countline.v1.AuthService/{action}",
        "resource": f"users/{row['subject']}",
        "outcome": "UNAUTHENTICATED" if action in {"login_failed", "refresh_token_reused"} else "OK",
        "problem": "",
        "request_id": row["request_id"],
        "changes": [
            [name, "", json.dumps(value)] for name, value in sorted(row["detail"].items()) if name != "address"
        ],
    }
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

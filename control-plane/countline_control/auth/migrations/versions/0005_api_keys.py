"""API keys, and the service accounts that own keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

S = "auth"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    service_account = sa.Column("service_account", sa.Boolean, nullable=False, server_default=sa.text("false"))
    op.add_column("users", service_account, schema=S)
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey(f"{S}.users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("limited", sa.Boolean, nullable=False),
        sa.Column("last_used_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        schema=S,
    )
    op.create_index("ix_auth_api_keys_user_id", "api_keys", ["user_id"], schema=S)
    op.create_table(
        "key_grants",
        sa.Column("grant_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("key_id", sa.String, sa.ForeignKey(f"{S}.api_keys.key_id", ondelete="CASCADE"), nullable=False),
        sa.Column("role", sa.String, sa.ForeignKey(f"{S}.roles.role", ondelete="CASCADE"), nullable=False),
        sa.Column("site_id", sa.String, nullable=False),
        sa.Column("camera_ids", ARRAY(sa.String), nullable=False),
        schema=S,
    )
    for column in ("key_id", "role"):
        op.create_index(f"ix_auth_key_grants_{column}", "key_grants", [column], schema=S)


def downgrade() -> None:
    op.drop_table("key_grants", schema=S)
    op.drop_table("api_keys", schema=S)
    # Without their keys, service accounts are of no use; the earlier version knows no such roles.
    op.execute("DELETE FROM auth.users WHERE service_account")
    op.execute("DELETE FROM auth.roles WHERE role IN ('worker', 'service')")
    op.drop_column("users", "service_account", schema=S)

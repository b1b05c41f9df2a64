"""Identities of an identity provider that are linked to users, and grants that come from groups there."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

S = "auth"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    from_groups = sa.Column("from_groups", sa.Boolean, nullable=False, server_default=sa.text("false"))
    op.add_column("grants", from_groups, schema=S)
    op.create_table(
        "identities",
        sa.Column("identity_id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey(f"{S}.users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("issuer", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_login_at", MOMENT),
        sa.UniqueConstraint("issuer", "subject", name="identities_once"),
        schema=S,
    )
    op.create_index("ix_auth_identities_user_id", "identities", ["user_id"], schema=S)
    op.create_table(
        "oidc_logins",
        sa.Column("state_hash", sa.LargeBinary, primary_key=True),
        sa.Column("used_at", MOMENT, nullable=False),
        schema=S,
    )


def downgrade() -> None:
    op.drop_table("oidc_logins", schema=S)
    op.drop_table("identities", schema=S)
    # The earlier version would keep what groups gave for ever.
    op.execute("DELETE FROM auth.grants WHERE from_groups")
    op.drop_column("grants", "from_groups", schema=S)

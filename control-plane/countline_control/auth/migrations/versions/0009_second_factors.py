"""Second factors: their secrets, recovery codes, and logins that wait for a code."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

S = "auth"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "data_keys",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("master_key_id", sa.String, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("lost_at", MOMENT),
        schema=S,
    )
    op.create_table(
        "second_factors",
        _user(primary_key=True),
        sa.Column("active", sa.Boolean, primary_key=True),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("secret_key_id", sa.String, sa.ForeignKey(f"{S}.data_keys.key_id"), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        schema=S,
    )
    op.create_table(
        "recovery_codes", _user(primary_key=True), sa.Column("code_hash", sa.LargeBinary, primary_key=True), schema=S
    )
    op.create_table(
        "login_challenges",
        sa.Column("challenge_hash", sa.LargeBinary, primary_key=True),
        _user(nullable=False),
        sa.Column("access_revision", sa.Integer, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        schema=S,
    )
    for column in ("user_id", "expires_at"):
        op.create_index(f"ix_auth_login_challenges_{column}", "login_challenges", [column], schema=S)


def _user(**options: bool) -> sa.Column[str]:
    return sa.Column("user_id", sa.String, sa.ForeignKey(f"{S}.users.user_id", ondelete="CASCADE"), **options)


def downgrade() -> None:
    # An earlier release would let users in without their second factor.
    found = op.get_bind().execute(sa.text("SELECT count(*) FROM auth.second_factors WHERE active")).scalar_one()
    if found:
        raise RuntimeError(f"{found} users have a second factor, which an earlier release would not ask for")
    for table in ("login_challenges", "recovery_codes", "second_factors", "data_keys"):
        op.drop_table(table, schema=S)

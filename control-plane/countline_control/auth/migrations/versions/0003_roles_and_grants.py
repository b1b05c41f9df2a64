"""Roles, permissions and grants in tables of their own; profiles and states of users; what sessions come from.

Earlier users had a list of roles, `admin` or `viewer`, over everything. `admin` could do everything, so it becomes
`super-admin`. The service writes what each built-in role permits when it starts.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

S = "auth"
MOMENT = sa.DateTime(timezone=True)
EMPTY = sa.text("''")


def upgrade() -> None:
    _create_roles()
    _create_grants()
    _move_roles_of_users()
    _extend_users()
    _rename_sessions("sessions", "user_sessions")
    op.add_column("user_sessions", sa.Column("address", sa.String, nullable=False, server_default=EMPTY), schema=S)
    op.add_column("user_sessions", sa.Column("client", sa.String, nullable=False, server_default=EMPTY), schema=S)


def downgrade() -> None:
    op.drop_column("user_sessions", "client", schema=S)
    op.drop_column("user_sessions", "address", schema=S)
    _rename_sessions("user_sessions", "sessions")
    _lock_out_who_would_gain()
    op.add_column("users", sa.Column("roles", ARRAY(sa.String)), schema=S)
    op.execute(
        "UPDATE auth.users SET roles = CASE WHEN EXISTS (SELECT FROM auth.grants WHERE grants.user_id = users.user_id"
        " AND role = 'super-admin' AND site_id = '' AND camera_ids = '{}') THEN ARRAY['admin'] ELSE ARRAY['viewer'] END"
    )
    op.alter_column("users", "roles", nullable=False, schema=S)
    for name in EXTENSIONS:
        op.drop_column("users", name, schema=S)
    for table in ("grants", "role_permissions", "permissions", "roles"):
        op.drop_table(table, schema=S)


def _lock_out_who_would_gain() -> None:
    """Make the password of users useless who may do less than a viewer of the earlier version, or nothing."""
    op.execute(
        "UPDATE auth.users SET password_hash = '' WHERE disabled_at IS NOT NULL OR must_change_password OR NOT EXISTS"
        " (SELECT FROM auth.grants WHERE grants.user_id = users.user_id AND site_id = '' AND camera_ids = '{}'"
        " AND role IN ('super-admin', 'admin', 'operator', 'viewer'))"
    )


EXTENSIONS = (
    "display_name",
    "email",
    "disabled_at",
    "must_change_password",
    "password_expires_at",
    "last_login_at",
    "revision",
    "access_revision",
)


def _create_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("role", sa.String, primary_key=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("built_in", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        schema=S,
    )
    op.create_table(
        "permissions",
        sa.Column("permission", sa.String, primary_key=True),
        sa.Column("meaning", sa.String, nullable=False),
        schema=S,
    )
    of_role = sa.ForeignKey(f"{S}.roles.role", ondelete="CASCADE")
    of_permission = sa.ForeignKey(f"{S}.permissions.permission", ondelete="CASCADE")
    op.create_table(
        "role_permissions",
        sa.Column("role", sa.String, of_role, primary_key=True),
        sa.Column("permission", sa.String, of_permission, primary_key=True),
        schema=S,
    )


def _create_grants() -> None:
    op.create_table(
        "grants",
        sa.Column("grant_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey(f"{S}.users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("role", sa.String, sa.ForeignKey(f"{S}.roles.role"), nullable=False),
        sa.Column("site_id", sa.String, nullable=False),
        sa.Column("camera_ids", ARRAY(sa.String), nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.UniqueConstraint("user_id", "role", "site_id", "camera_ids", name="grants_once"),
        schema=S,
    )
    op.create_index("ix_auth_grants_user_id", "grants", ["user_id"], schema=S)
    op.create_index("ix_auth_grants_role", "grants", ["role"], schema=S)


def _move_roles_of_users() -> None:
    op.execute(
        "INSERT INTO auth.roles SELECT name, '', true, 1"
        " FROM unnest(ARRAY['super-admin', 'admin', 'operator', 'viewer', 'guest']) AS name"
    )
    op.execute(
        "INSERT INTO auth.grants (user_id, role, site_id, camera_ids, created_by, created_at)"
        " SELECT DISTINCT user_id, CASE name WHEN 'admin' THEN 'super-admin' ELSE 'viewer' END, '', ARRAY[]::varchar[],"
        " 'migration', created_at FROM auth.users, unnest(roles) AS name"
    )
    op.drop_column("users", "roles", schema=S)


def _extend_users() -> None:
    for name in ("display_name", "email"):
        op.add_column("users", sa.Column(name, sa.String, nullable=False, server_default=EMPTY), schema=S)
    for name in ("disabled_at", "password_expires_at", "last_login_at"):
        op.add_column("users", sa.Column(name, MOMENT), schema=S)
    must_change = sa.Column("must_change_password", sa.Boolean, nullable=False, server_default=sa.text("false"))
    op.add_column("users", must_change, schema=S)
    for name in ("revision", "access_revision"):
        op.add_column("users", sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("1")), schema=S)


def _rename_sessions(before: str, after: str) -> None:
    op.rename_table(before, after, schema=S)
    op.execute(f"ALTER INDEX auth.ix_auth_{before}_user_id RENAME TO ix_auth_{after}_user_id")

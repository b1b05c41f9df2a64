"""The schema `auth`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from countline_common.data.outbox import outbox_table
from countline_control.data_keys import data_key_table

SCHEMA = "auth"
metadata = MetaData(schema=SCHEMA)
_moment = DateTime(timezone=True)

users = Table(
    "users",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("username", String, nullable=False),
    # Case-folded: `Anna` and `anna` are one person.
    Column("username_key", String, nullable=False, unique=True),
    Column("password_hash", String, nullable=False),
    # Hashes of the passwords before it, the latest first: none of them is chosen again.
    Column("former_hashes", ARRAY(String), nullable=False, server_default=text("'{}'")),
    Column("created_at", _moment, nullable=False),
    Column("display_name", String, nullable=False, server_default=""),
    Column("email", String, nullable=False, server_default=""),
    Column("disabled_at", _moment),
    Column("password_expires_at", _moment),
    Column("last_login_at", _moment),
    Column("must_change_password", Boolean, nullable=False, server_default=text("false")),
    # Without a password: such a user works with API keys.
    Column("service_account", Boolean, nullable=False, server_default=text("false")),
    # Grows with each change of the user; a client that changes an older one is refused.
    Column("revision", Integer, nullable=False, server_default=text("1")),
    # Grows with each change of what the user may do; access tokens of an older one are refused.
    Column("access_revision", Integer, nullable=False, server_default=text("1")),
)

roles = Table(
    "roles",
    metadata,
    Column("role", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("built_in", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),
)

permissions = Table(
    "permissions",
    metadata,
    Column("permission", String, primary_key=True),
    Column("meaning", String, nullable=False),
)

role_permissions = Table(
    "role_permissions",
    metadata,
    Column("role", ForeignKey(roles.c.role, ondelete="CASCADE"), primary_key=True),
    Column("permission", ForeignKey(permissions.c.permission, ondelete="CASCADE"), primary_key=True),
)

grants = Table(
    "grants",
    metadata,
    Column("grant_id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("role", ForeignKey(roles.c.role), nullable=False, index=True),
    # A site, or a group of cameras; with neither the grant covers everything.
    Column("site_id", String, nullable=False),
    Column("camera_ids", ARRAY(String), nullable=False),
    # Comes from groups at the identity provider; the next login through it replaces the grant.
    Column("from_groups", Boolean, nullable=False, server_default=text("false")),
    Column("created_by", String, nullable=False),
    Column("created_at", _moment, nullable=False),
    UniqueConstraint("user_id", "role", "site_id", "camera_ids", name="grants_once"),
)

user_sessions = Table(
    "user_sessions",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", _moment, nullable=False),
    Column("revoked_at", _moment),
    Column("address", String, nullable=False, server_default=""),
    # What the client calls itself, such as `grpc-python-asyncio/1.70`.
    Column("client", String, nullable=False, server_default=""),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    # SHA-256: the tokens are random, so a fast hash is enough; a stolen database does not reveal them.
    Column("token_hash", LargeBinary, primary_key=True),
    Column("session_id", ForeignKey(user_sessions.c.session_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", _moment, nullable=False),
    Column("expires_at", _moment, nullable=False, index=True),
    Column("used_at", _moment),
)

api_keys = Table(
    "api_keys",
    metadata,
    # The public part of the key.
    Column("key_id", String, primary_key=True),
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String, nullable=False),
    # SHA-256 of the secret part, which is random; see `refresh_tokens`.
    Column("secret_hash", LargeBinary, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("expires_at", _moment, nullable=False),
    # Whether `key_grants` limit the key. Without this flag, a key would hold more once its last role is deleted.
    Column("limited", Boolean, nullable=False),
    Column("last_used_at", _moment),
    Column("revoked_at", _moment),
)

key_grants = Table(
    "key_grants",
    metadata,
    Column("grant_id", BigInteger, Identity(always=True), primary_key=True),
    Column("key_id", ForeignKey(api_keys.c.key_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("role", ForeignKey(roles.c.role, ondelete="CASCADE"), nullable=False, index=True),
    Column("site_id", String, nullable=False),
    Column("camera_ids", ARRAY(String), nullable=False),
)

data_keys = data_key_table(metadata)

second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), primary_key=True),
    # A secret that is not confirmed yet stands beside the one that it will replace.
    Column("active", Boolean, primary_key=True),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("secret_key_id", ForeignKey(data_keys.c.key_id), nullable=False),
    Column("since", _moment, nullable=False),
    # Step of the last code that was accepted; that code and earlier ones are refused.
    Column("last_step", BigInteger, nullable=False),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), primary_key=True),
    # SHA-256 of a code, which is random; see `refresh_tokens`. A used code is deleted.
    Column("code_hash", LargeBinary, primary_key=True),
)

login_challenges = Table(
    "login_challenges",
    metadata,
    # SHA-256; see `refresh_tokens`.
    Column("challenge_hash", LargeBinary, primary_key=True),
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    # A challenge ends when what the user may do, or the password, changes.
    Column("access_revision", Integer, nullable=False),
    Column("expires_at", _moment, nullable=False, index=True),
)

invites = Table(
    "invites",
    metadata,
    Column("invite_id", String, primary_key=True),
    # SHA-256; see `refresh_tokens`.
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    # List of role, site_id, camera_ids.
    Column("grants", JSONB, nullable=False),
    # Without a foreign key: the rows of deleted users expire unused.
    Column("creator_id", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("expires_at", _moment, nullable=False, index=True),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    # `user:…`, `address:…`, `pair:…:…` or `register:…:…` with hashes of names and addresses.
    Column("key", String, primary_key=True),
    # At `last_at`; forgiven little by little.
    Column("failures", Double, nullable=False),
    Column("last_at", _moment, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("identity_id", String, primary_key=True),
    Column("user_id", ForeignKey(users.c.user_id, ondelete="CASCADE"), nullable=False, index=True),
    # Address of the identity provider, and the id of the person there.
    Column("issuer", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("last_login_at", _moment),
    UniqueConstraint("issuer", "subject", name="identities_once"),
)

oidc_logins = Table(
    "oidc_logins",
    metadata,
    # SHA-256 of the state of a completed login: it completes no other one. Deleted once the state has expired.
    Column("state_hash", LargeBinary, primary_key=True),
    Column("used_at", _moment, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    # Name of a setting, or `maintenance`, which exists while maintenance is on and has its reason as the value.
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
    Column("changed_by", String, nullable=False),
    Column("changed_at", _moment, nullable=False),
)

outbox = outbox_table(metadata)

"""Users and tokens as messages of the contract."""

from countline.v1 import auth_pb2
from countline_common.access.scopes import EVERYTHING
from countline_common.times import to_timestamp
from countline_control.auth.access.roles import Role
from countline_control.auth.domain import Grant, IssuedTokens, StoredSession, StoredUser


def user_message(user: StoredUser) -> auth_pb2.User:
    """Translate a user."""
    return auth_pb2.User(
        user_id=user.user_id,
        username=user.username,
        roles=user.roles,
        created_at=to_timestamp(user.created_at.timestamp()),
        display_name=user.display_name,
        email=user.email,
        revision=user.revision,
        grants=[grant_message(grant) for grant in user.grants if grant.scope != EVERYTHING],
        disabled=user.disabled_at is not None,
        must_change_password=user.must_change_password,
        last_login_at=to_timestamp(user.last_login_at.timestamp()) if user.last_login_at else None,
        service_account=user.service_account,
        second_factor=user.second_factor,
    )


def session_message(session: StoredSession, current: str) -> auth_pb2.Session:
    """Translate a session; `current` is the id of the caller's own."""
    return auth_pb2.Session(
        session_id=session.session_id,
        created_at=to_timestamp(session.created_at.timestamp()),
        last_used_at=to_timestamp(session.last_used_at.timestamp()),
        expires_at=to_timestamp(session.expires_at.timestamp()),
        address=session.address,
        client=session.client,
        current=session.session_id == current,
    )


def grant_message(grant: Grant) -> auth_pb2.Grant:
    """Translate a role over a scope."""
    return auth_pb2.Grant(role=grant.role, site_id=grant.scope.site_id, camera_ids=sorted(grant.scope.camera_ids))


def role_message(role: Role) -> auth_pb2.Role:
    """Translate a role."""
    return auth_pb2.Role(
        name=role.name,
        title=role.title,
        permissions=sorted(role.permissions),
        built_in=role.built_in,
        revision=role.revision,
    )


def tokens_message(tokens: IssuedTokens) -> auth_pb2.Tokens:
    """Translate the tokens of a session."""
    return auth_pb2.Tokens(
        access_token=tokens.access,
        refresh_token=tokens.refresh,
        access_expires_at=to_timestamp(tokens.access_expires_at),
        refresh_expires_at=to_timestamp(tokens.refresh_expires_at),
    )

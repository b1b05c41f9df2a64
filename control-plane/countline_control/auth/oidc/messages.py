"""Linked identities and logins through a provider as messages of the contract."""

from countline.v1 import oidc_pb2
from countline_common.access.scopes import EVERYTHING
from countline_common.times import to_timestamp
from countline_control.auth.domain import StoredUser
from countline_control.auth.messages import grant_message
from countline_control.auth.oidc.groups import ProviderPerson
from countline_control.auth.oidc.store import StoredIdentity


def identity_message(identity: StoredIdentity) -> oidc_pb2.LinkedIdentity:
    """Translate a linked identity."""
    return oidc_pb2.LinkedIdentity(
        identity_id=identity.identity_id,
        issuer=identity.issuer,
        subject=identity.subject,
        created_at=to_timestamp(identity.created_at.timestamp()),
        last_login_at=to_timestamp(identity.last_login_at.timestamp()) if identity.last_login_at else None,
    )


def login_message(user: StoredUser, person: ProviderPerson, session_id: str = "") -> oidc_pb2.OidcLogin:
    """Describe the user of a login for the audit, before the login (without a session) or after it."""
    return oidc_pb2.OidcLogin(
        session_id=session_id,
        issuer=person.issuer,
        subject=person.subject,
        user_id=user.user_id,
        roles=user.roles,
        grants=[grant_message(grant) for grant in user.grants if grant.scope != EVERYTHING],
    )

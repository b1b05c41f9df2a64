"""The one check of who calls and whether that is permitted, and the header that carries a token.

gRPC servers, the REST gateway and the WebSocket share it. A caller is authorised in two steps: `authorize` before the
message is read, and `check_reach` once the message names a resource.
"""

import operator
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from countline_common.access.scopes import Reach
from countline_common.access.vocabulary import NOT_WHILE_ACTING, NOT_WITH_KEYS
from countline_common.audit.calls import AuditedCall
from countline_common.errors import PermissionDeniedError, UnauthenticatedError
from countline_common.grpc.permissions import MethodPolicy, ResourceRule
from countline_common.grpc.tokens import Principal, TokenVerifier

_SCHEME: Final = "Bearer"
FIRST: Final[Mapping[str, str]] = defaultdict(
    lambda: "update this client",
    {
        "choose a password": "countline password; over HTTP, POST /api/v1/auth/password with new_password",
        "set up a second factor": "countline auth factor enable; over HTTP, POST /api/v1/auth/factor with password, "
        "then POST /api/v1/auth/factor/confirm with code",
    },
)
"""How to do what a user has to do before anything else (`Principal.pending`)."""

Metadata = tuple[tuple[str, str], ...]
"""Names and values of a gRPC call."""
SiteOf = Callable[[str], Awaitable[str]]
"""Returns the site of a camera; empty if there is no such camera."""


async def authorize(verifier: TokenVerifier, authorization: str, method: str, policy: MethodPolicy) -> Principal:
    """Check token or API key and the permission, and return the caller of a method that is not public.

    Args:
        verifier: checks the token or key.
        authorization: the `authorization` header or metadata, empty if there was none.
        method: its name, for messages.
        policy: what the method requires.

    Raises:
        UnauthenticatedError: no token was sent, or it is not valid.
        PermissionDeniedError: the caller lacks the permission, or the method names none.
    """
    principal = await verifier.identify(bearer_token(authorization))
    check_permission(principal, method, policy)
    return principal


def check_permission(principal: Principal, method: str, policy: MethodPolicy) -> None:
    """Check that a caller holds the permission of a method over something.

    Raises:
        PermissionDeniedError: the caller lacks the permission, the method names none, or the method is closed to
            callers who act for another user or call with an API key.
    """
    if not policy.permission or policy.resource is None:
        raise PermissionDeniedError(f"{method} names no permission or no resource, so no caller is permitted")
    if principal.actor is not None and policy.permission in NOT_WHILE_ACTING:
        raise PermissionDeniedError(
            f"{principal.actor.name} may not call {method} while acting for {principal.name}",
            hint="call it with your own login",
        )
    if principal.key_id and policy.permission in NOT_WITH_KEYS:
        raise PermissionDeniedError(
            f"an API key cannot change the account of its owner, so it may not call {method}",
            hint="log in: countline login; an administrator changes service accounts",
        )
    require(principal, policy.permission, f"call {method}")


def record_caller(row: AuditedCall, principal: Principal) -> None:
    """Name in an audit row the real caller, and the user for whom it acts."""
    row.subject, row.name = principal.subject, principal.name
    if principal.actor is not None:
        row.on_behalf_of = (principal.subject, principal.name)
        row.subject, row.name = principal.actor.subject, principal.actor.name


async def check_reach(principal: Principal, method: str, policy: MethodPolicy, request: Any, site_of: SiteOf) -> None:
    """Check that the resource that a request names lies within the caller's reach.

    Args:
        principal: the caller, who holds the permission over something.
        method: its name, for messages.
        policy: what the method requires.
        request: the message; None for a stream, whose messages name no resource.
        site_of: finds the site of a camera.

    Raises:
        PermissionDeniedError: the resource lies outside, or does not exist: a caller must not learn which.
    """
    rule, reach = policy.resource, principal.reach(policy.permission)
    if reach.everything or (rule is not None and rule.own and reach):
        return
    if rule is None or request is None or not reach or not await _is_reached(reach, rule, request, site_of):
        raise outside(principal, method, policy.permission)


def outside(principal: Principal, method: str, permission: str) -> PermissionDeniedError:
    """Return the error for a resource outside a caller's reach, which may not exist either."""
    held = f"the permission '{permission}' is held over {principal.reach(permission)} only"
    return PermissionDeniedError(
        f"{principal.full_name} may not call {method} here: {held}", hint="ask an administrator for a wider grant"
    )


async def _is_reached(reach: Reach, rule: ResourceRule, request: Any, site_of: SiteOf) -> bool:
    if rule.site:
        return reach.covers_site(operator.attrgetter(rule.site)(request))
    if rule.camera:
        camera_id = operator.attrgetter(rule.camera)(request)
        if camera_id in reach.cameras:
            return True
        if camera_id:
            return bool(reach.sites) and reach.covers_site(await site_of(camera_id))
    return rule.filtered


async def no_sites(_: str) -> str:
    """Return no site: for services whose methods name no cameras."""
    return ""


def require(principal: Principal, permission: str, action: str) -> None:
    """Check that a caller holds a permission.

    Args:
        principal: the caller.
        permission: the permission, such as `analytics:read`.
        action: what the caller asked for, as it follows "may not" in the message.

    Raises:
        PermissionDeniedError: the caller lacks the permission.
    """
    if not principal.may(permission) and principal.pending:
        raise PermissionDeniedError(
            f"{principal.name} may not {action} before this: {principal.pending}", hint=FIRST[principal.pending]
        )
    if not principal.may(permission):
        raise PermissionDeniedError(
            f"{principal.full_name} may not {action}: the permission '{permission}' is missing",
            hint="ask an administrator for a role that has it",
        )


def bearer(token: str) -> str:
    """The value of the `authorization` header or metadata that carries an access token."""
    return f"{_SCHEME} {token}"


def bearer_metadata(token: str) -> Metadata:
    """The metadata of a gRPC call that carries an access token."""
    return (("authorization", bearer(token)),)


def bearer_token(authorization: str) -> str:
    """The token of an `Authorization: Bearer TOKEN` header.

    Raises:
        UnauthenticatedError: there is none.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != _SCHEME.lower() or not token.strip():
        raise UnauthenticatedError(
            "no access token was sent", hint="log in: countline login; over HTTP, send Authorization: Bearer TOKEN"
        )
    return token.strip()

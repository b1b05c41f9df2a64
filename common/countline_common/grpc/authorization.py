"""The one check of who calls and whether that is permitted, and the header that carries a token.

gRPC servers, the REST gateway and the WebSocket share it.
"""

from typing import Final

from countline_common.errors import PermissionDeniedError, UnauthenticatedError
from countline_common.grpc.permissions import MethodPolicy
from countline_common.grpc.tokens import Principal, TokenVerifier

_SCHEME: Final = "Bearer"

Metadata = tuple[tuple[str, str], ...]
"""Names and values of a gRPC call."""


def authorize(verifier: TokenVerifier, authorization: str, method: str, policy: MethodPolicy) -> Principal:
    """Check token and permission, and return the caller of a method that is not public.

    Args:
        verifier: checks the token.
        authorization: the `authorization` header or metadata, empty if there was none.
        method: its name, for messages.
        policy: what the method requires.

    Raises:
        UnauthenticatedError: no token was sent, or it is not valid.
        PermissionDeniedError: the caller lacks the permission, or the method names none.
    """
    principal = verifier.verify(bearer_token(authorization))
    if not policy.permission:
        raise PermissionDeniedError(f"{method} names no permission, so no caller is permitted")
    require(principal, policy.permission, f"call {method}")
    return principal


def require(principal: Principal, permission: str, action: str) -> None:
    """Check that a caller holds a permission.

    Args:
        principal: the caller.
        permission: the permission, such as `analytics:read`.
        action: what the caller asked for, as it follows "may not" in the message.

    Raises:
        PermissionDeniedError: the caller lacks the permission.
    """
    if not principal.may(permission):
        raise PermissionDeniedError(
            f"{principal.name} may not {action}: the permission {permission!r} is missing",
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

"""The one check of who calls a method and whether that is permitted; gRPC servers and the REST gateway share it."""

from countline_common.errors import PermissionDeniedError, UnauthenticatedError
from countline_common.grpc.permissions import MethodPolicy
from countline_common.grpc.tokens import Principal, TokenVerifier


def authorize(verifier: TokenVerifier, authorization: str, method: str, policy: MethodPolicy) -> Principal:
    """The caller of a method that is not public.

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
    if not principal.may(policy.permission):
        raise PermissionDeniedError(
            f"{principal.name} may not call {method}: the permission {policy.permission!r} is missing",
            hint="ask an administrator for a role that has it",
        )
    return principal


def bearer_token(authorization: str) -> str:
    """The token of an `Authorization: Bearer TOKEN` header.

    Raises:
        UnauthenticatedError: there is none.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError(
            "no access token was sent", hint="log in: countline login; over HTTP, send Authorization: Bearer TOKEN"
        )
    return token.strip()

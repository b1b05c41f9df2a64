"""Checks the ID token with which a provider names a person (OpenID Connect Core 1.0, section 3.1.3.7). Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.util import urlsafe_b64decode

from countline_common.errors import UnauthenticatedError
from countline_common.untrusted_json import parse_json
from countline_control.auth.oidc.flow import incomplete

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
)
"""Signatures with a public key only. `none` signs nothing; with HS256, who knows the public key could sign."""
SKEW_S: Final = 60
"""Permitted difference between the clocks of the provider and of this machine."""
LONGEST_TOKEN: Final = 64 * 1024
LONGEST_SUBJECT: Final = 255
MOST_KEYS: Final = 100
_UNUSABLE: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)
_SYMMETRIC: Final = "oct"


class UnknownKeyError(UnauthenticatedError):
    """The ID token was signed with a key that is not among the known ones."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token has to say."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str = ""
    """The token that came with it; `at_hash` is compared with it."""
    algorithms: frozenset[str] = ALGORITHMS
    """What the provider says that it uses. Others than ours are never accepted."""


def read_keys(document: Any) -> KeySet:
    """Return the public keys of a JWK set; keys of unknown kinds, and those that do not sign, are left out.

    Raises:
        ValueError: the document is no JWK set.
    """
    found = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(found, list):
        raise ValueError("the document is no JWK set")  # noqa: TRY004  (of the provider, not of a caller)
    return KeySet([key for each in found[:MOST_KEYS] for key in _imported(each)])


def _imported(data: Any) -> Iterable[Key]:
    if not isinstance(data, dict) or data.get("kty") == _SYMMETRIC or data.get("use", "sig") != "sig":
        return []
    try:
        return [JWKRegistry.import_key(data)]
    except _UNUSABLE:
        return []


def check_id_token(token: str, keys: KeySet, expected: Expected, now: float) -> Mapping[str, Any]:
    """Return the claims of an ID token.

    Args:
        token: a signed JWT.
        keys: of the provider.
        expected: what the token has to say.
        now: Unix seconds.

    Raises:
        UnknownKeyError: it names a key that is not among `keys`.
        UnauthenticatedError: it cannot be trusted, or is meant for another login.
    """
    if len(token) > LONGEST_TOKEN:
        raise _refused("is too long")
    try:
        parse_json(urlsafe_b64decode(token.partition(".")[0].encode()).decode())  # a bound on the depth
        decoded = jwt.decode(token, keys, algorithms=sorted(ALGORITHMS & expected.algorithms))
        _check_claims(decoded, expected, now)
    except InvalidKeyIdError as error:
        raise UnknownKeyError(str(_refused("was signed with an unknown key"))) from error
    except ExpiredTokenError as error:
        raise _refused("has expired; compare the clocks of both machines") from error
    except _UNUSABLE as error:
        raise _refused(f"is not valid: {_reason(error)}") from error
    return decoded.claims


def _check_claims(token: jwt.Token, expected: Expected, now: float) -> None:
    claims = token.claims
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name} is no time")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise ValueError("sub is no id")
    options = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
    }
    params = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": expected.access_token}
    CodeIDToken(claims, token.header, options, params).validate(now=int(now), leeway=SKEW_S)


def _reason(error: Exception) -> str:
    """Return which part is wrong; libraries name it in different ways."""
    return str(getattr(error, "description", "") or error or type(error).__name__)[:200]


def _refused(why: str) -> UnauthenticatedError:
    return incomplete(f"the ID token of the identity provider {why}")

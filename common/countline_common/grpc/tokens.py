"""Access tokens: Ed25519-signed JWTs that auth issues and every service can check with the public key.

A token names its subject (`sub`, `name`), roles, permissions and expiry. A check needs no lookup, so a token cannot be
revoked: it is short-lived instead. Times are Unix seconds.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from countline_common.errors import InvalidInputError, UnauthenticatedError
from countline_common.untrusted_json import parse_json

ALGORITHM: Final = "Ed25519"
ISSUER: Final = "countline"
AUDIENCE: Final = "countline"
EVERYTHING: Final = "*"
"""The permission that implies all others except those in `NEVER_IMPLIED`."""
CAMERA_SECRETS: Final = "cameras.secrets"
"""Permission to read the passwords of cameras. Our services hold it; users never do."""
NEVER_IMPLIED: Final = frozenset({CAMERA_SECRETS})
CLOCK_LEEWAY_S: Final = 5
"""Permitted difference between the clocks of two machines."""


_UNUSABLE: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
"""Errors of reading a token; JSON brings numbers beyond any float."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: a user, a worker or a service."""

    subject: str
    """Stable id."""
    name: str
    """Readable name, for logs and audit."""
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    expires_at: float = 0.0

    def may(self, permission: str) -> bool:
        """Whether this principal holds a permission."""
        if permission in self.permissions:
            return True
        return EVERYTHING in self.permissions and permission not in NEVER_IMPLIED


def generate_key_pair() -> tuple[bytes, bytes]:
    """A new signing key and its public half, both as PEM."""
    key = OKPKey.generate_key("Ed25519")
    return key.as_pem(private=True), key.as_pem(private=False)


class TokenSigner:
    """Signs tokens. Only auth and the set-up of a machine have the private key."""

    def __init__(self, private_pem: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = _load(private_pem, "private key")
        if not self._key.is_private:
            raise InvalidInputError("the key for signing tokens is a public key", hint="give the private one")
        self._header = {"alg": ALGORITHM, "kid": _key_id(self._key)}
        self._clock = clock

    @classmethod
    def from_file(cls, path: Path) -> "TokenSigner":
        """Read the private key from a PEM file."""
        return cls(_read(path))

    def sign(
        self, subject: str, name: str, *, roles: tuple[str, ...], permissions: frozenset[str], lifetime_s: float
    ) -> str:
        """A token for a principal, valid for `lifetime_s` seconds from now."""
        now = self._clock()
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "name": name,
            "roles": list(roles),
            "permissions": sorted(permissions),
            "iat": int(now),
            "exp": int(now + lifetime_s),
        }
        return jwt.encode(self._header, claims, self._key, algorithms=[ALGORITHM])


class TokenVerifier:
    """Checks tokens with the public key."""

    def __init__(self, public_pem: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = _load(public_pem, "public key")
        self._clock = clock

    @classmethod
    def from_file(cls, path: Path) -> "TokenVerifier":
        """Read the public key from a PEM file."""
        return cls(_read(path))

    def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            UnauthenticatedError: the token was not signed by our key, was changed, has expired, or is meant for another
                system.
        """
        try:
            parse_json(urlsafe_b64decode(token.partition(".")[0].encode()).decode())
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
            self._registry().validate(claims)
            return _principal(claims)
        except _UNUSABLE as error:
            reason = "has expired" if getattr(error, "error", "") == "expired_token" else "is not valid"
            raise UnauthenticatedError(f"the access token {reason}", hint="log in again") from error

    def _registry(self) -> JWTClaimsRegistry:
        return JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=CLOCK_LEEWAY_S,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            exp={"essential": True},
        )


def _principal(claims: dict[str, Any]) -> Principal:
    return Principal(
        subject=str(claims["sub"]),
        name=str(claims.get("name", claims["sub"])),
        roles=tuple(str(role) for role in claims.get("roles", ())),
        permissions=frozenset(str(permission) for permission in claims.get("permissions", ())),
        expires_at=float(claims["exp"]),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"the token key {path} cannot be read: {error.strerror}",
            hint="see COUNTLINE_TOKEN_PRIVATE_KEY_FILE and COUNTLINE_TOKEN_PUBLIC_KEY_FILE",
        ) from error


def _load(pem: bytes, what: str) -> OKPKey:
    try:
        return OKPKey.import_key(pem)
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidInputError(f"the {what} of tokens is no Ed25519 key in PEM", hint="make a new pair") from error


def _key_id(key: OKPKey) -> str:
    return hashlib.sha256(key.as_pem(private=False)).hexdigest()[:16]

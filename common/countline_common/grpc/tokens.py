"""Access tokens: Ed25519-signed JWTs that auth issues and every service can check with the public key.

A token names its subject (`sub`, `name`), roles, permissions with their scopes, and expiry. A check needs no lookup:
access that ended earlier is kept in memory (`Revocations`). A caller sends the same token many times, so its signature
is checked once; its expiry and its end are checked each time. API keys are no tokens: `key_exchange` exchanges them.
Times are Unix seconds.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError
from joserfc.jwk import OKPKey
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from countline_common.access.api_keys import is_key
from countline_common.access.revocations import Revocations
from countline_common.access.scopes import Held, Reach, Scope, reach
from countline_common.access.vocabulary import current_names
from countline_common.errors import InvalidInputError, UnauthenticatedError
from countline_common.untrusted_json import parse_json

ALGORITHM: Final = "Ed25519"
ISSUER: Final = "countline"
AUDIENCE: Final = "countline"
CLOCK_LEEWAY_S: Final = 5
"""An access token still works for so long after its end."""
CLOCK_SKEW_S: Final = 60
"""Permitted difference between the clocks of two machines: a token may come from so far in the future."""
MOST_KEPT_TOKENS: Final = 2048
"""Tokens whose signature need not be checked again. One takes a few kilobytes."""

_UNUSABLE: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
"""Errors of reading a token; JSON brings numbers beyond any float."""


@dataclass(frozen=True, slots=True)
class RealCaller:
    """The real caller of a token with which a user acts for another one."""

    subject: str
    name: str
    access_revision: int
    session_id: str
    """The login or the API key of the caller."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: a user, a worker or a service."""

    subject: str
    """Stable id."""
    name: str
    """Readable name, for logs and audit."""
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    """What the principal may do everywhere."""
    expires_at: float = 0.0
    session_id: str = ""
    """The login of a user; empty for workers and services."""
    scoped: tuple[Held, ...] = ()
    """What the principal may do over a site or a group of cameras."""
    access_revision: int = 0
    """Which state of the user's access the token shows; 0 for workers and services."""
    key_id: str = ""
    """The API key that was exchanged for the token; empty after a login. Then `session_id` is this id too."""
    pending: str = ""
    """What the user has to do before anything else, such as `choose a password`."""
    actor: RealCaller | None = None
    """The real caller, who acts for this user; None if the user itself calls."""

    @property
    def real_name(self) -> str:
        """Name of the real caller, for events and logs."""
        return self.actor.name if self.actor is not None else self.name

    @property
    def full_name(self) -> str:
        """Name for messages: `vera`, or `ann, acting for vera,`."""
        return f"{self.actor.name}, acting for {self.name}," if self.actor is not None else self.name

    @property
    def held(self) -> tuple[Held, ...]:
        """What this principal may do, and where."""
        return (Held(self.permissions), *self.scoped)

    def reach(self, permission: str) -> Reach:
        """Return everything over which this principal holds a permission."""
        return reach(self.held, permission)

    def may(self, permission: str) -> bool:
        """Whether this principal holds a permission over anything."""
        return any(permission in each.permissions for each in self.held)


class KeyCallers(Protocol):
    """Finds the caller of an API key."""

    async def principal(self, key: str) -> Principal: ...


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

    def derive(self, purpose: str) -> bytes:
        """Return 32 secret bytes that depend on the private key and a purpose (HKDF, RFC 5869).

        All processes that sign with the same key get the same bytes, also after a restart.
        """
        return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(self._key.as_pem(private=True))

    def sign(
        self,
        subject: str,
        name: str,
        *,
        roles: tuple[str, ...],
        permissions: frozenset[str],
        lifetime_s: float,
        session_id: str = "",
        scoped: tuple[Held, ...] = (),
        access_revision: int = 0,
        key_id: str = "",
        pending: str = "",
        actor: RealCaller | None = None,
    ) -> str:
        """A token for a principal, valid for `lifetime_s` seconds from now; `actor` calls in its place (RFC 8693)."""
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
        if session_id:
            claims["sid"] = session_id
        if access_revision:
            claims["rev"] = access_revision
        if key_id:
            claims["key"] = key_id
        if pending:
            claims["pending"] = pending
        if scoped:
            claims["scoped"] = _claims(scoped)
        if actor is not None:
            claims["act"] = {
                "sub": actor.subject,
                "name": actor.name,
                "rev": actor.access_revision,
                "sid": actor.session_id,
            }
        return jwt.encode(self._header, claims, self._key, algorithms=[ALGORITHM])


class TokenVerifier:
    """Checks tokens with the public key."""

    def __init__(self, public_pem: bytes, clock: Callable[[], float] = time.time) -> None:
        self.revocations = Revocations()
        """What has ended lately; a `RevocationFeed` fills it."""
        self.gate: Callable[[str], None] = lambda _: None
        """Raises if a method, named as gRPC names it, may not be called now by anybody: during maintenance."""
        self.keys: KeyCallers | None = None
        """Finds the callers of API keys; None for a process that takes access tokens only."""
        self._key = _load(public_pem, "public key")
        self._clock = clock
        self._opened = lru_cache(MOST_KEPT_TOKENS)(self._open)  # an error is not kept

    @classmethod
    def from_file(cls, path: Path) -> "TokenVerifier":
        """Read the public key from a PEM file."""
        return cls(_read(path))

    async def identify(self, credential: str) -> Principal:
        """The principal of an access token or an API key.

        Raises:
            UnauthenticatedError: the token or the key is not good.
            UnavailableError: auth does not answer a question about a key.
        """
        if not is_key(credential):
            return self.verify(credential)
        if self.keys is None:
            raise UnauthenticatedError("API keys cannot be used here", hint="send an access token")
        return await self.keys.principal(credential)

    async def again(self, credential: str, principal: Principal) -> Principal:
        """Return the caller of a long call as it is now; a key may permit something else than when the call began.

        While auth is away, the caller stays as it was.

        Raises:
            UnauthenticatedError: the login or the key has ended.
        """
        if not principal.key_id:
            self.check(principal)
            return principal
        try:
            return await self.identify(credential)
        except UnauthenticatedError:
            raise
        except Exception:  # noqa: BLE001  (auth or its database is away: nothing says that the key has ended)
            return principal

    def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            UnauthenticatedError: the token was not signed by our key, was changed or revoked, has expired, or is meant
                for another system.
        """
        try:
            principal = self._opened(token)
        except _UNUSABLE as error:
            raise _refused("has expired" if isinstance(error, ExpiredTokenError) else "is not valid") from error
        if principal.expires_at <= self._clock() - CLOCK_LEEWAY_S:
            raise _refused("has expired")
        self.check(principal)
        return principal

    def check(self, principal: Principal) -> None:
        """Check again a principal whose token was good.

        Raises:
            UnauthenticatedError: its session or access has ended, or that of the real caller, or the time to act for
                the user is over.
        """
        if self.revocations.refuses(principal.subject, principal.access_revision, principal.session_id):
            raise UnauthenticatedError("this login has ended or its permissions changed", hint="log in again")
        if (actor := principal.actor) is None:
            return
        if self.revocations.refuses(actor.subject, actor.access_revision, actor.session_id):
            raise UnauthenticatedError("the login of the real caller has ended or changed", hint="log in again")
        if principal.expires_at <= self._clock() - CLOCK_LEEWAY_S:  # no refresh follows: open streams end too
            raise _refused("has expired")

    def _open(self, token: str) -> Principal:
        """Check the signature and the claims of a token; raises one of `_UNUSABLE`."""
        parse_json(urlsafe_b64decode(token.partition(".")[0].encode()).decode())
        claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
        registry = _Claims(
            now=int(self._clock()),
            leeway=CLOCK_LEEWAY_S,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            exp={"essential": True},
        )
        registry.validate(claims)
        return _principal(claims)


def _refused(reason: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"the access token {reason}", hint="log in again")


class _Claims(JWTClaimsRegistry):
    """Checks claims. The time of issue has a tolerance of its own: a clock that is slow must not refuse new tokens."""

    def validate_iat(self, value: object) -> None:
        if not isinstance(value, int | float) or value > self.now + CLOCK_SKEW_S:
            raise InvalidClaimError("iat", "The token was issued in the future")


def _principal(claims: dict[str, Any]) -> Principal:
    return Principal(
        subject=str(claims["sub"]),
        name=str(claims.get("name", claims["sub"])),
        roles=tuple(str(role) for role in claims.get("roles", ())),
        permissions=current_names(str(permission) for permission in claims.get("permissions", ())),
        expires_at=float(claims["exp"]),
        session_id=str(claims.get("sid", "")),
        scoped=tuple(held for each in claims.get("scoped", ()) for held in _held(each)),
        access_revision=int(claims.get("rev", 0)),
        key_id=str(claims.get("key", "")),
        pending=str(claims.get("pending", "")),
        actor=_actor(claims["act"]) if "act" in claims else None,
    )


def _actor(claim: dict[str, Any]) -> RealCaller:
    return RealCaller(str(claim["sub"]), str(claim["name"]), int(claim["rev"]), str(claim["sid"]))


def _claims(scoped: Iterable[Held]) -> list[dict[str, Any]]:
    """Return what is held over scopes, each set of permissions once: a header has a limited length."""
    by_permissions: dict[frozenset[str], list[Scope]] = {}
    for held in scoped:
        by_permissions.setdefault(held.permissions, []).append(held.scope)
    return [
        {
            "permissions": sorted(permissions),
            "sites": sorted({scope.site_id for scope in scopes if scope.site_id}),
            "cameras": sorted(frozenset[str]().union(*(scope.camera_ids for scope in scopes))),
        }
        for permissions, scopes in by_permissions.items()
    ]


def _held(claim: dict[str, Any]) -> Iterator[Held]:
    permissions = current_names(str(permission) for permission in claim["permissions"])
    sites, cameras = [str(site_id) for site_id in claim["sites"]], frozenset(str(each) for each in claim["cameras"])
    if "" in sites:
        raise ValueError("a scope covers everything")
    yield from (Held(permissions, Scope(site_id)) for site_id in sites)
    if cameras:
        yield Held(permissions, Scope(camera_ids=cameras))


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

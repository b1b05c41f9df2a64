"""The rules of auth: roles, new users, and how long someone who guesses passwords has to wait. Pure.

Times are Unix seconds where they are floats.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from countline_common.access.vocabulary import PEOPLE, Permission
from countline_common.errors import FieldProblem, InvalidInputError, ResourceExhaustedError
from countline_common.http.client_address import Network, address, calling

ADMIN: Final = "admin"
VIEWER: Final = "viewer"
ROLES: Final[dict[str, frozenset[str]]] = {
    ADMIN: frozenset(PEOPLE),
    VIEWER: frozenset(
        {
            Permission.SELF_READ,
            Permission.SELF_WRITE,
            Permission.CAMERA_READ,
            Permission.WORKER_READ,
            Permission.MODEL_READ,
            Permission.ANALYTICS_READ,
            Permission.TRUTH_READ,
        }
    ),
}

MIN_PASSWORD: Final = 10
MAX_PASSWORD: Final = 1024
"""The time of hashing grows with the length."""

FREE_FAILURES: Final = 10
"""Wrong passwords for one user before waiting begins. An attempt counts as wrong until it has succeeded."""
FREE_ADDRESS_FAILURES: Final = 50
"""The same for one address, which many people may share."""
MAX_WAIT_S: Final = 300.0
FORGIVEN_AFTER_S: Final = 900.0
"""After this time without a failure, counting starts again at zero."""

REUSE_GRACE_S: Final = 30.0
"""A refresh token may be used again for this time: its first answer may be lost, or two processes may share it."""

_USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user as the database keeps it."""

    user_id: str
    username: str
    password_hash: str
    roles: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A refresh token with its session and user, as the database keeps them."""

    session_id: str
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    user: StoredUser


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """The tokens of a session."""

    access: str
    refresh: str
    access_expires_at: float
    refresh_expires_at: float


def permissions_of(roles: tuple[str, ...]) -> frozenset[str]:
    """Return all permissions of the roles; unknown roles have none."""
    return frozenset[str]().union(*(ROLES.get(role, frozenset()) for role in roles))


def username_key(username: str) -> str:
    """Return the form in which user names are compared."""
    return username.strip().casefold()


def check_new_user(username: str, password: str, roles: tuple[str, ...]) -> None:
    """Check a new user.

    Raises:
        InvalidInputError: names each field that cannot be used.
    """
    problems = (*_username_problems(username), *_password_problems(password), *_role_problems(roles))
    if problems:
        names = ", ".join(problem.field for problem in problems)
        raise InvalidInputError(f"the user cannot be created: {names} cannot be used", fields=problems)


def _username_problems(username: str) -> tuple[FieldProblem, ...]:
    if _USERNAME.fullmatch(username):
        return ()
    return (FieldProblem("username", "give 1 to 64 letters, digits or . _ @ + -, the first a letter or digit"),)


def _password_problems(password: str) -> tuple[FieldProblem, ...]:
    if MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        return ()
    problem = f"has {len(password)} characters; give {MIN_PASSWORD} to {MAX_PASSWORD}"
    return (FieldProblem("password", problem),)


def _role_problems(roles: tuple[str, ...]) -> tuple[FieldProblem, ...]:
    known = " or ".join(ROLES)
    if not roles:
        return (FieldProblem("roles", f"is empty; give {known}"),)
    return tuple(
        FieldProblem(f"roles[{i}]", f"{role!r} is not a role; give {known}")
        for i, role in enumerate(roles)
        if role not in ROLES
    )


@dataclass(frozen=True, slots=True)
class Attempts:
    """Wrong passwords so far, for one user name or from one address."""

    failures: int
    last_at: float


def wait_s(attempts: Attempts | None, free: int, now: float) -> float:
    """Return the seconds until the next attempt is allowed.

    After the free failures the wait doubles with each one: 1, 2, 4 … up to five minutes. It applies to any user name,
    existing or not, so that it does not reveal which names exist.
    """
    if attempts is None or attempts.failures < free or now - attempts.last_at > FORGIVEN_AFTER_S:
        return 0.0
    wait = min(2.0 ** min(attempts.failures - free, 30), MAX_WAIT_S)
    return max(0.0, attempts.last_at + wait - now)


def failures_after(attempts: Attempts | None, now: float) -> int:
    """Return the number of failures after one more."""
    if attempts is None or now - attempts.last_at > FORGIVEN_AFTER_S:
        return 1
    return attempts.failures + 1


def refuse_for(wait: float) -> ResourceExhaustedError:
    """Build the error for an attempt that comes too early."""
    seconds = max(1, round(wait))
    return ResourceExhaustedError("too many wrong passwords", hint=f"try again in {seconds} s")


def caller_address(peer: str, forwarded_for: str, trusted: Collection[Network]) -> str:
    """Return the address of a caller; empty if it is unknown, see `addresses.calling`.

    Args:
        peer: the peer in gRPC's form, such as `ipv4:10.0.0.7:5000`.
        forwarded_for: the header of the call.
        trusted: the networks of our proxies; the header is ignored if it comes from elsewhere.
    """
    connected = address(unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]"))
    return str(calling(connected, forwarded_for, trusted) or "")

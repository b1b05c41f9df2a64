"""The rules of auth, without IO: roles, what a new user must be like, and how long a guesser has to wait.

Times are Unix seconds.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from countline_common.addresses import Network, address, calling
from countline_common.errors import FieldProblem, InvalidInputError, ResourceExhaustedError
from countline_common.grpc.tokens import EVERYTHING

ADMIN: Final = "admin"
VIEWER: Final = "viewer"
ROLES: Final[dict[str, frozenset[str]]] = {
    ADMIN: frozenset({EVERYTHING}),
    VIEWER: frozenset({"self.read", "cameras.read", "workers.read", "models.read", "counts.read", "truth.read"}),
}

MIN_PASSWORD: Final = 10
MAX_PASSWORD: Final = 1024
"""Hashing time grows with the length; nobody types more."""

FREE_FAILURES: Final = 10
"""Wrong passwords for one user before waiting begins. Attempts under way count as wrong until they turn out right."""
FREE_ADDRESS_FAILURES: Final = 50
"""The same from one address, behind which many people may be."""
MAX_WAIT_S: Final = 300.0
FORGIVEN_AFTER_S: Final = 900.0
"""Without a failure for so long, the count begins anew."""

REUSE_GRACE_S: Final = 30.0
"""A refresh token may be used again for so long: its first answer may have been lost, or two processes may share it."""

_USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def permissions_of(roles: tuple[str, ...]) -> frozenset[str]:
    """Everything that the roles permit together; unknown roles permit nothing."""
    return frozenset[str]().union(*(ROLES.get(role, frozenset()) for role in roles))


def username_key(username: str) -> str:
    """What user names are compared by."""
    return username.strip().casefold()


def check_new_user(username: str, password: str, roles: tuple[str, ...]) -> None:
    """Raise where somebody cannot be made a user like this.

    Raises:
        InvalidInputError: with each field that is wrong.
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
        FieldProblem(f"roles[{i}]", f"{role!r} is no role; give {known}")
        for i, role in enumerate(roles)
        if role not in ROLES
    )


@dataclass(frozen=True, slots=True)
class Attempts:
    """Wrong passwords so far, under one user name or from one address."""

    failures: int
    last_at: float


def wait_s(attempts: Attempts | None, free: int, now: float) -> float:
    """Seconds until the next attempt is let in; 0 for at once.

    After the free ones the wait doubles with each failure: 1, 2, 4 … up to five minutes. Waiting is by the name, also
    when nobody has it, so that it does not tell which names exist.
    """
    if attempts is None or attempts.failures < free or now - attempts.last_at > FORGIVEN_AFTER_S:
        return 0.0
    wait = min(2.0 ** min(attempts.failures - free, 30), MAX_WAIT_S)
    return max(0.0, attempts.last_at + wait - now)


def failures_after(attempts: Attempts | None, now: float) -> int:
    """The count after one more failure."""
    if attempts is None or now - attempts.last_at > FORGIVEN_AFTER_S:
        return 1
    return attempts.failures + 1


def refuse_for(wait: float) -> ResourceExhaustedError:
    """The error for an attempt that comes too early."""
    seconds = max(1, round(wait))
    return ResourceExhaustedError("too many wrong passwords", hint=f"try again in {seconds} s")


def caller_address(peer: str, forwarded_for: str, trusted: Collection[Network]) -> str:
    """From where somebody calls; empty where that cannot be told, see `addresses.calling`.

    Args:
        peer: as gRPC writes it, such as `ipv4:10.0.0.7:5000`.
        forwarded_for: what came with the call.
        trusted: the networks of our proxies; what others say of themselves is not believed.
    """
    connected = address(unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]"))
    return str(calling(connected, forwarded_for, trusted) or "")

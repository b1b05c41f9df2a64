"""The rules of auth: roles, new users, and how long someone who guesses passwords has to wait. Pure.

Times are Unix seconds where they are floats.
"""

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from zxcvbn import zxcvbn

from countline_common.access.scopes import EVERYTHING, Held, Scope
from countline_common.access.vocabulary import Permission
from countline_common.errors import FieldProblem, InvalidInputError, ResourceExhaustedError

MIN_PASSWORD: Final = 10
MIN_OWN_REST: Final = 6
"""Characters that a password must have beside the user's own name."""
MIN_STRENGTH: Final = 3
"""zxcvbn's score: at least 10^8 guesses."""
STRENGTH_CHARACTERS: Final = 64
"""Characters whose strength is estimated: the time grows with the square of the length."""
ONE_TIME_S: Final = 24 * 3600.0
"""How long a one-time password can be used."""
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a one-time password ended that was used: before the clock of any machine."""
MAX_PASSWORD: Final = 1024
"""The time of hashing grows with the length."""

FORMER_PASSWORDS: Final = 10
"""So many passwords before the current one are not chosen again."""
FREE_FAILURES: Final = 10
"""Wrong passwords for one user before waiting begins. An attempt counts as wrong until it has succeeded."""
FREE_ADDRESS_FAILURES: Final = 50
"""The same for one address, which many people may share."""
FREE_REGISTRATIONS: Final = 10
"""Attempts to register from one address before waiting begins; successful ones count too."""
FREE_GATEWAY_REGISTRATIONS: Final = 100
"""The same for all people behind one gateway that does not send their addresses."""
MAX_WAIT_S: Final = 300.0
FORGIVEN_AFTER_S: Final = 900.0
"""The free failures are forgiven evenly over this time; after this time without a failure, all of them are."""

REUSE_GRACE_S: Final = 30.0
"""A refresh token may be used again for this time: its first answer may be lost, or two processes may share it."""

LONGEST_PROFILE: Final = 200
"""Characters of a display name, and of an address for mail."""

_USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class PasswordLogins(StrEnum):
    """Who can log in with a password."""

    EVERYONE = "everyone"
    SUPER_ADMINS = "super-admins"
    """Others log in through the identity provider. A super-admin can log in while the provider is away."""
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that a user holds over a scope."""

    role: str
    permissions: frozenset[str]
    """What the role permits."""
    scope: Scope = EVERYTHING
    from_groups: bool = False
    """Comes from groups at the identity provider; each login through it replaces these grants."""


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user as the database keeps it."""

    user_id: str
    username: str
    password_hash: str
    created_at: datetime
    grants: tuple[Grant, ...] = ()
    display_name: str = ""
    email: str = ""
    disabled_at: datetime | None = None
    must_change_password: bool = False
    password_expires_at: datetime | None = None
    """When a one-time password ends, `LONG_AGO` once it was used; None for a password of the user's own."""
    last_login_at: datetime | None = None
    service_account: bool = False
    """A user without a password, who works with API keys."""
    former_hashes: tuple[str, ...] = ()
    """Hashes of the passwords that the user chose before, the latest first."""
    second_factor: bool = False
    """Whether a login asks for a code too. `factor.store` changes it."""
    revision: int = 1
    access_revision: int = 1

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of the roles that the user holds over everything."""
        return tuple(grant.role for grant in self.grants if grant.scope == EVERYTHING)

    @property
    def held(self) -> tuple[Held, ...]:
        """What the roles of the user permit, and where."""
        return held_of(self.grants)

    @property
    def usable(self) -> tuple[Held, ...]:
        """What the user's keys may do now: only choose a password while a one-time password has to be replaced."""
        return (_OWN,) if self.must_change_password else self.held

    @property
    def used_hashes(self) -> tuple[str, ...]:
        """Hashes of passwords that are not to be chosen again. A one-time password was not the user's choice."""
        chosen = (self.password_hash,) if self.password_hash and not self.must_change_password else ()
        return (*chosen, *self.former_hashes)[:FORMER_PASSWORDS]

    def must_set_up_factor(self, required: Collection[str]) -> bool:
        """Whether a role of the user requires a second factor, and the user has none."""
        return not self.second_factor and self.requires_factor(required)

    def requires_factor(self, required: Collection[str]) -> bool:
        """Whether a role of the user is among those that require a second factor.

        A second factor stands beside a password, so a user without a password needs none.
        """
        return bool(self.password_hash) and any(grant.role in required for grant in self.grants)

    def pending(self, required: Collection[str]) -> str:
        """What the user has to do before anything else; empty if there is nothing.

        Args:
            required: roles that require a second factor.
        """
        if self.must_change_password:
            return "choose a password"
        return "set up a second factor" if self.must_set_up_factor(required) else ""

    def usable_in_session(self, required: Collection[str]) -> tuple[Held, ...]:
        """What the user may do after a login: only what concerns the own account while something is pending."""
        return (_OWN,) if self.pending(required) else self.held

    def revised(self) -> "StoredUser":
        """Return the user after a change with which the earlier access tokens end."""
        return replace(self, revision=self.revision + 1, access_revision=self.access_revision + 1)

    def may_log_in(self, now: datetime) -> bool:
        """Whether the right password opens a session."""
        expired = self.password_expires_at is not None and self.password_expires_at <= now
        return self.disabled_at is None and not expired


def held_of(grants: Iterable[Grant]) -> tuple[Held, ...]:
    """Return what grants permit, and where."""
    return tuple(Held(grant.permissions, grant.scope) for grant in grants)


def with_origins(wanted: Iterable[Grant], stored: Iterable[Grant]) -> tuple[Grant, ...]:
    """Return grants that an administrator wants; those that come from groups already go on to do so.

    Otherwise a change of other roles would keep what groups gave, although the groups give it no more.
    """
    given = {(grant.role, grant.scope): grant.from_groups for grant in stored}
    return tuple(replace(grant, from_groups=given.get((grant.role, grant.scope), False)) for grant in wanted)


_OWN: Final = Held(frozenset({Permission.SELF_READ, Permission.SELF_WRITE}))


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that has not ended."""

    session_id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    client: str


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


def username_key(username: str) -> str:
    """Return the form in which user names are compared."""
    return username.strip().casefold()


def check_new_user(username: str, password: str) -> None:
    """Check the name and the password of a new user.

    Raises:
        InvalidInputError: names each field that cannot be used.
    """
    problems = (*_username_problems(username), *password_problems(password, (username,)))
    if problems:
        names = ", ".join(problem.field for problem in problems)
        raise InvalidInputError(f"the user cannot be created: {names} cannot be used", fields=problems)


def check_username(username: str) -> None:
    """Check the name of a new user without a password.

    Raises:
        InvalidInputError: it cannot be used.
    """
    if problems := _username_problems(username):
        raise InvalidInputError("the user cannot be created: username cannot be used", fields=problems)


def check_profile(display_name: str, email: str) -> None:
    """Check what a user may write about a person.

    Raises:
        InvalidInputError: names each field that cannot be used.
    """
    problems = []
    if len(display_name) > LONGEST_PROFILE:
        problems.append(FieldProblem("display_name", f"has {len(display_name)} characters; give {LONGEST_PROFILE}"))
    if email and not _is_address(email):
        problems.append(FieldProblem("email", "is no address such as anna@example.org"))
    if problems:
        raise InvalidInputError("the profile cannot be stored", fields=tuple(problems))


def _is_address(email: str) -> bool:
    name, _, host = email.partition("@")
    return len(email) <= LONGEST_PROFILE and bool(name and host) and "@" not in host and email == "".join(email.split())


def _username_problems(username: str) -> tuple[FieldProblem, ...]:
    if _USERNAME.fullmatch(username):
        return ()
    return (FieldProblem("username", "give 1 to 64 letters, digits or . _ @ + -, the first a letter or digit"),)


def password_problems(password: str, own: Collection[str], field: str = "password") -> tuple[FieldProblem, ...]:
    """Return what is wrong with a new password.

    Args:
        password: the password.
        own: names of the user, which an attacker tries first.
        field: of the request.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        return (FieldProblem(field, f"has {len(password)} characters; give {MIN_PASSWORD} to {MAX_PASSWORD}"),)
    names = [username_key(name) for name in own if name]
    if any(len(name) > 2 and _rest(password, name) < MIN_OWN_REST for name in names):
        return (FieldProblem(field, "is the name of the user; choose another one"),)
    # zxcvbn estimates guesses as in Wheeler, "zxcvbn: Low-Budget Password Strength Estimation" (USENIX Security 2016).
    if zxcvbn(password[:STRENGTH_CHARACTERS], user_inputs=names)["score"] < MIN_STRENGTH:
        return (FieldProblem(field, "is easy to guess; take several uncommon words"),)
    return ()


def _rest(password: str, name: str) -> int:
    """Return the number of characters of a password without a name in it; all of them if it holds no name."""
    return len(password.casefold().replace(name, ""))


@dataclass(frozen=True, slots=True)
class Attempts:
    """Wrong passwords so far, for one user name or from one address."""

    failures: float
    """At `last_at`. Failures are forgiven little by little, so this is no whole number."""
    last_at: float


def wait_s(attempts: Attempts | None, free: int, now: float) -> float:
    """Return the seconds until the next attempt is allowed.

    After the free failures the wait doubles with each one: 1, 2, 4 … up to five minutes. It applies to any user name,
    existing or not, so that it does not reveal which names exist.
    """
    over = math.ceil(attempts.failures) - free if attempts is not None else -1
    if attempts is None or over < 0:
        return 0.0
    wait = min(2.0 ** min(over, 30), MAX_WAIT_S)
    return max(0.0, attempts.last_at + wait - now)


def failures_after(attempts: Attempts | None, free: int, now: float) -> float:
    """Return the number of failures after one more: a leaky bucket, which loses `free` failures in `FORGIVEN_AFTER_S`.

    A success does not empty a count that many people share. Without a leak, their typos would add up to a wait.
    """
    if attempts is None or now - attempts.last_at > FORGIVEN_AFTER_S:
        return 1.0
    forgiven = free * max(0.0, now - attempts.last_at) / FORGIVEN_AFTER_S
    return max(0.0, attempts.failures - forgiven) + 1.0


def refuse_for(wait: float) -> ResourceExhaustedError:
    """Build the error for an attempt that comes too early."""
    seconds = max(1, math.ceil(wait))
    return ResourceExhaustedError(
        "too many wrong passwords", hint=f"try again in {seconds} s", retry_after_s=float(seconds)
    )

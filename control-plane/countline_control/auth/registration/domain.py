"""The rules of registration and invites. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from countline_common.access.scopes import Scope
from countline_common.errors import ConflictError, FieldProblem, InvalidInputError, UnauthenticatedError

OPEN_ROLE: Final = "guest"
"""Role of an account that was registered without an invite."""
DEFAULT_LIFE: Final = timedelta(days=7)
LONGEST_LIFE: Final = timedelta(days=90)
MOST_INVITES: Final = 1000
"""Invites that can be used; a list shows all of them."""


@dataclass(frozen=True, slots=True)
class StoredInvite:
    """An invite as the database keeps it."""

    invite_id: str
    token_hash: bytes
    grants: tuple[tuple[str, Scope], ...]
    """Roles with their scopes."""
    creator_id: str
    created_by: str
    created_at: datetime
    expires_at: datetime


def check_mode(mode: str, *, with_invite: bool) -> None:
    """Check that the setting `registration` permits to register.

    Raises:
        ConflictError: it does not.
    """
    if mode == "closed":
        raise ConflictError("registration is closed", hint="ask an administrator for an account")
    if mode == "invite" and not with_invite:
        raise ConflictError("registration needs an invite", hint="ask an administrator for an invite")


def check_invites_work(mode: str) -> None:
    """Check that the setting `registration` lets an invite create an account.

    Raises:
        ConflictError: it does not.
    """
    if mode == "closed":
        raise ConflictError(
            "registration is closed, so an invite opens nothing",
            hint="open it first: countline settings set registration invite",
        )


def invite_expiry(wanted: datetime | None, now: datetime) -> datetime:
    """Return when a new invite expires.

    Raises:
        InvalidInputError: in the past, or too far in the future.
    """
    until = wanted or now + DEFAULT_LIFE
    if not now < until <= now + LONGEST_LIFE:
        problem = FieldProblem("expires_at", f"give a time within the next {LONGEST_LIFE.days} days")
        raise InvalidInputError("the invite cannot be created", fields=(problem,))
    return until


def unusable_invite() -> UnauthenticatedError:
    """Return the error for an invite that is unknown, used, revoked or expired, or whose maker may not give it now."""
    return UnauthenticatedError("the invite cannot be used", hint="ask for a new one")

"""The rules of API keys: how long they live, and what they hold. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from countline_common.access.scopes import EVERYTHING, Held, Scope, reach
from countline_common.access.vocabulary import NOT_WITH_KEYS
from countline_common.errors import FieldProblem, InvalidInputError
from countline_control.auth.domain import Grant, StoredUser, held_of

DEFAULT_LIFE: Final = timedelta(days=365)
LONGEST_LIFE: Final = timedelta(days=5 * 366)
LONGEST_NAME: Final = 80
MOST_KEYS: Final = 50
"""Keys of one user that work."""
LONGEST_OVERLAP_S: Final = 7 * 86_400
LISTED_AFTER: Final = timedelta(days=30)
"""A key is listed for so long after it ended; then its row is deleted."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key as the database keeps it."""

    key_id: str
    user_id: str
    """The owner."""
    name: str
    secret_hash: bytes
    created_at: datetime
    expires_at: datetime
    limited: bool = False
    """Whether the grants limit the key. A limited key whose grants are gone holds nothing."""
    grants: tuple[Grant, ...] = ()
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def works(self, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and now < self.expires_at

    def held(self, owner: StoredUser) -> tuple[Held, ...]:
        """What the key permits now: never more than its owner may do, and no change of the owner's account."""
        return tuple(Held(each.permissions - NOT_WITH_KEYS, each.scope) for each in self.may_give(owner))

    def may_give(self, owner: StoredUser) -> tuple[Held, ...]:
        """What the key may give to other users: all that its owner may do within its limits.

        That includes `NOT_WITH_KEYS`: a user who gets such a permission can change only the user's own account.
        """
        if not self.limited:
            return owner.usable
        return tuple(narrowed(owner.usable, held_of(self.grants)))


def narrowed(owner: Iterable[Held], limits: Iterable[Held]) -> Iterator[Held]:
    """Return what the owner holds within limits.

    The sites of cameras are unknown here. So a site of the one and a camera of the other have nothing in common, even
    if the camera stands in the site.
    """
    owner = tuple(owner)
    for limit in limits:
        for permission in sorted(limit.permissions):
            for scope in _common(reach(owner, permission).scopes(), limit.scope):
                yield Held(frozenset({permission}), scope)


def _common(scopes: Iterable[Scope], limit: Scope) -> Iterator[Scope]:
    for scope in scopes:
        if EVERYTHING in (scope, limit):
            yield limit if scope == EVERYTHING else scope
        elif scope.site_id == limit.site_id and (cameras := scope.camera_ids & limit.camera_ids):
            yield Scope(camera_ids=cameras)
        elif scope == limit:
            yield scope


def check_name(name: str) -> None:
    """Check the name of a new key.

    Raises:
        InvalidInputError: it is empty, too long, or more than one line.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        problem = FieldProblem("name", f"give 1 to {LONGEST_NAME} characters that say what the key is for")
        raise InvalidInputError("the key cannot be created", fields=(problem,))


def expiry(wanted: datetime | None, now: datetime) -> datetime:
    """Return when a new key expires.

    Raises:
        InvalidInputError: in the past, or too far in the future.
    """
    until = wanted or now + DEFAULT_LIFE
    if not now < until <= now + LONGEST_LIFE:
        problem = FieldProblem("expires_at", "give a time within the next five years")
        raise InvalidInputError("the key cannot be created", fields=(problem,))
    return until


def check_overlap(overlap_s: int) -> None:
    """Check for how long a replaced key shall work.

    Raises:
        InvalidInputError: less than 0 or more than a week.
    """
    if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
        problem = FieldProblem("overlap_s", f"give 0 to {LONGEST_OVERLAP_S} seconds")
        raise InvalidInputError("the key cannot be rotated", fields=(problem,))

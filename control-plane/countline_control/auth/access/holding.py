"""The rules of giving access: nobody gives what they do not hold, and one super-admin always remains. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from countline_common.access.scopes import Held, not_covered
from countline_common.errors import ConflictError, FieldProblem, InvalidInputError, PermissionDeniedError

MOST_NAMED: Final = 3
"""Permissions that an error names."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A caller with what the caller holds at this moment, whatever its token says."""

    subject: str
    name: str
    held: tuple[Held, ...]


def check_may_give(holder: Holder, wanted: Iterable[Held], action: str) -> None:
    """Check that a caller holds everything that an action gives, takes or controls.

    A caller who resets the password of a user can act as that user, so this holds for each change of a user.

    Args:
        holder: the caller.
        wanted: what the role or the user holds.
        action: what the caller wants, as it follows "may not" in the message.

    Raises:
        PermissionDeniedError: the caller lacks something.
    """
    lacking = not_covered(holder.held, wanted)
    if not lacking:
        return
    named = ", ".join(f"{permission!r} over {scope}" for permission, scope in lacking[:MOST_NAMED])
    more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    raise PermissionDeniedError(
        f"{holder.name} may not {action}: {holder.name} does not hold {named}{more}",
        hint="ask somebody who holds these permissions",
    )


def check_remains(others: int, name: str, action: str) -> None:
    """Check that a super-admin remains after a change.

    Args:
        others: enabled super-admins besides the changed user.
        name: of the changed user, who is one.
        action: past participle, such as `deleted`.

    Raises:
        ConflictError: the user is the last one.
    """
    if not others:
        raise ConflictError(
            f"{name!r} is the last super-admin and cannot be {action}",
            hint="make another user super-admin first: countline users set NAME --role super-admin",
        )


def unknown_roles(wanted: Iterable[str], known: Iterable[str]) -> InvalidInputError | None:
    """Return the error for names that are no role; None if all are known."""
    known = set(known)
    problems = tuple(
        FieldProblem(f"roles[{i}]", f"{name[:80]!r} is not a role; list the roles: countline roles list")
        for i, name in enumerate(wanted)
        if name not in known
    )
    return InvalidInputError("the roles cannot be granted", fields=problems) if problems else None

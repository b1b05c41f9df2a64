"""The rules of giving access: nobody gives what they do not hold, and one super-admin always remains. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from countline_common.access.scopes import EVERYTHING, Held, Scope, not_covered
from countline_common.access.vocabulary import MACHINES_ONLY, PEOPLE
from countline_common.errors import ConflictError, FieldProblem, PermissionDeniedError
from countline_control import names
from countline_control.auth.access.roles import MACHINE_ROLES

MOST_NAMED: Final = 3
"""Permissions that an error names."""
MOST_GRANTS: Final = 50
MOST_SCOPED_ROLES: Final = 4
MOST_NAMED_CHARACTERS: Final = 1500
"""Grants of one user, roles in them, and characters of their sites and cameras: all of it stands in an access token."""


@dataclass(frozen=True, slots=True)
class Grantor:
    """A caller with what the caller may give at this moment, whatever its token says."""

    subject: str
    name: str
    held: tuple[Held, ...]


def check_may_give(holder: Grantor, wanted: Iterable[Held], action: str) -> None:
    """Check that a caller holds everything that an action gives, takes or controls.

    A caller who resets the password of a user can act as that user, so this holds for each change of a user.

    Args:
        holder: the caller.
        wanted: what the role or the user holds.
        action: what the caller wants, as it follows "may not" in the message.

    Raises:
        PermissionDeniedError: the caller lacks something.
    """
    lacking = not_covered(_givable(holder.held), wanted)
    if not lacking:
        return
    named = ", ".join(f"'{permission}' over {scope}" for permission, scope in lacking[:MOST_NAMED])
    more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    raise PermissionDeniedError(
        f"{holder.name} may not {action}: {holder.name} does not hold {named}{more}",
        hint="ask somebody who holds these permissions",
    )


def _givable(held: tuple[Held, ...]) -> tuple[Held, ...]:
    """Return what a caller may give. Who holds all that people can hold also gives what only machines hold."""
    return held if not_covered(held, (Held(PEOPLE),)) else (*held, Held(MACHINES_ONLY))


def check_remains(others: int, name: str, action: str) -> None:
    """Check that a super-admin remains after a change.

    Args:
        others: enabled super-admins with a password besides the changed user.
        name: of the changed user, who is one.
        action: past participle, such as `deleted`.

    Raises:
        ConflictError: the user is the last one.
    """
    if not others:
        raise ConflictError(
            f"{name!r} is the last super-admin and cannot be {action}",
            hint="make another user with a password super-admin first: countline users set NAME --role super-admin",
        )


def grant_problems(
    wanted: Sequence[tuple[str, Scope]], known: Collection[str], everywhere: int, *, service_account: bool = False
) -> list[FieldProblem]:
    """Return what is wrong with roles over scopes.

    Args:
        wanted: roles with their scopes; the first ones, over everything, come from the field `roles`.
        known: names of roles.
        everywhere: number of those first ones.
        service_account: whether a service account or its key gets them.
    """
    if not wanted:
        return [FieldProblem("roles", "is empty; list the roles: countline roles list")]
    problems = []
    for i, (role, scope) in enumerate(wanted):
        path = f"roles[{i}]" if i < everywhere else f"grants[{i - everywhere}].role"
        if role not in known:
            problems.append(FieldProblem(path, f"{role[:80]!r} is not a role; list the roles: countline roles list"))
        if role in MACHINE_ROLES and (not service_account or scope != EVERYTHING):
            problems.append(FieldProblem(path, f"{role!r} is for service accounts only, over everything"))
        if i >= everywhere:
            problems.extend(scope_problems(f"grants[{i - everywhere}]", scope))
    if len({role for role, scope in wanted if scope != EVERYTHING}) > MOST_SCOPED_ROLES:
        problems.append(FieldProblem("grants", f"name more than {MOST_SCOPED_ROLES} roles"))
    named = sum(len(scope.site_id) + sum(map(len, scope.camera_ids)) for _, scope in wanted)
    if len(wanted) > MOST_GRANTS or named > MOST_NAMED_CHARACTERS:
        problem = f"are more than {MOST_GRANTS} or name too many cameras; grant whole sites instead"
        problems.append(FieldProblem("grants", problem))
    return problems


def scope_problems(path: str, scope: Scope) -> Iterator[FieldProblem]:
    """Yield what is wrong with the form of a scope that is not everything."""
    if bool(scope.site_id) == bool(scope.camera_ids):
        yield FieldProblem(path, "needs either a site or cameras; roles over everything go into `roles`")
    if scope.site_id and not names.is_label(scope.site_id):
        yield FieldProblem(f"{path}.site_id", f"{scope.site_id[:80]!r} is not the id of a site")
    for camera_id in sorted(scope.camera_ids):
        if not names.is_label(camera_id):
            yield FieldProblem(f"{path}.camera_ids", f"{camera_id[:80]!r} is not the id of a camera")

"""Roles: the built-in ones, and the rules for custom ones. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from countline_common.access.vocabulary import MACHINES_ONLY, PEOPLE, Permission, unknown
from countline_common.errors import FieldProblem, InvalidInputError

SUPER_ADMIN: Final = "super-admin"
ADMIN: Final = "admin"
OPERATOR: Final = "operator"
VIEWER: Final = "viewer"
GUEST: Final = "guest"

LONGEST_TITLE: Final = 120
MOST_ROLES: Final = 200
"""Custom roles of one installation."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions."""

    name: str
    title: str
    permissions: frozenset[str]
    built_in: bool = False
    """Built-in roles are the same everywhere and cannot be changed."""
    revision: int = 1


_GUEST: Final = frozenset(
    {Permission.SELF_READ, Permission.SELF_WRITE, Permission.CAMERA_READ, Permission.ANALYTICS_READ}
)
_VIEWER: Final = _GUEST | {
    Permission.TRUTH_READ,
    Permission.MODEL_READ,
    Permission.WORKER_READ,
    Permission.JOB_READ,
    Permission.NOTIFICATION_READ,
}
_OPERATOR: Final = _VIEWER | {
    Permission.CAMERA_WRITE,
    Permission.ANALYTICS_WRITE,
    Permission.TRUTH_WRITE,
    Permission.JOB_WRITE,
    Permission.NOTIFICATION_WRITE,
    Permission.LIVE_BROADCAST,
    Permission.DLQ_READ,
}
_ADMIN: Final = PEOPLE - {Permission.SYSTEM_ADMIN, Permission.USER_IMPERSONATE}

BUILT_IN: Final[dict[str, Role]] = {
    role.name: role
    for role in (
        Role(SUPER_ADMIN, "Everything, including the system's own settings", PEOPLE, built_in=True),
        Role(ADMIN, "Everything except the system's own settings and acting for users", _ADMIN, built_in=True),
        Role(OPERATOR, "Runs cameras, truth, reports and alerts", _OPERATOR, built_in=True),
        Role(VIEWER, "Sees cameras, counts, models and workers", _VIEWER, built_in=True),
        Role(GUEST, "Sees cameras and counts", _GUEST, built_in=True),
    )
}

MACHINE_ROLES: Final[dict[str, Role]] = {
    role.name: role
    for role in (
        Role(
            "worker",
            "Reports as a worker",
            frozenset({Permission.WORKER_CONNECT, Permission.WORKER_REPORT}),
            built_in=True,
        ),
        Role(
            "service",
            "Calls between services in separate processes",
            frozenset(
                {Permission.CAMERA_READ, Permission.CAMERA_SECRETS, Permission.MODEL_READ, Permission.WORKER_READ}
            ),
            built_in=True,
        ),
    )
}
"""Roles of service accounts only. A super-admin gives them, although no person holds what they permit."""


def check_custom(role: Role) -> None:
    """Check a custom role.

    Raises:
        InvalidInputError: names each field that cannot be used.
    """
    problems = (*_name_problems(role.name), *_title_problems(role.title), *_permission_problems(role.permissions))
    if problems:
        raise InvalidInputError("the role cannot be stored", fields=problems)


def _name_problems(name: str) -> tuple[FieldProblem, ...]:
    if not _NAME.fullmatch(name):
        problem = "give 1 to 63 lower-case letters, digits or hyphens, the first a letter"
        return (FieldProblem("role", problem),)
    if name in BUILT_IN or name in MACHINE_ROLES:
        return (FieldProblem("role", f"{name!r} is a built-in role; choose another name"),)
    return ()


def _title_problems(title: str) -> tuple[FieldProblem, ...]:
    if len(title) <= LONGEST_TITLE:
        return ()
    return (FieldProblem("title", f"has {len(title)} characters; {LONGEST_TITLE} is the limit"),)


def _permission_problems(permissions: Iterable[str]) -> tuple[FieldProblem, ...]:
    names = sorted(permissions)
    if not names:
        return (FieldProblem("permissions", "is empty; list the permissions: countline roles permissions"),)
    wrong = [FieldProblem("permissions", f"{name[:80]!r} is not a permission") for name in unknown(names)]
    machines = [
        FieldProblem("permissions", f"{name!r} is held by machines only") for name in names if name in MACHINES_ONLY
    ]
    return (*wrong, *machines)

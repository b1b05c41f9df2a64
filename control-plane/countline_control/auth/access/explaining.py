"""Explains whether a user may do something, grant by grant. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from countline_common.access.scopes import Held, Scope, reach
from countline_common.access.vocabulary import NOT_WITH_KEYS
from countline_control.auth.domain import Grant, StoredUser


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its reasons."""

    allowed: bool
    reasons: tuple[str, ...]
    """One for each grant, those that allow it first; or the state of the user that forbids all."""


def explain(
    user: StoredUser, permission: str, *, site_id: str, camera_id: str, required: Collection[str]
) -> Explanation:
    """Decide as the services do, and say why.

    Args:
        user: the user.
        permission: such as `camera:write`.
        site_id: of the resource, also of a camera; empty if the action concerns no site.
        camera_id: of the resource; empty if the action concerns no camera.
        required: roles that require a second factor.
    """
    name = user.username
    if user.disabled_at is not None:
        return Explanation(allowed=False, reasons=(f"user {name} is disabled",))
    if user.service_account and permission in NOT_WITH_KEYS:
        reason = f"user {name} is a service account, and API keys never permit {permission}"
        return Explanation(allowed=False, reasons=(reason,))
    if pending := user.pending(required):
        usable = frozenset[str]().union(*(held.permissions for held in user.usable_in_session(required)))
        reason = (
            f"user {name} has to {pending} first; until then user {name} may use only {' and '.join(sorted(usable))}"
        )
        return Explanation(permission in usable, (reason,))
    judged = [_judged(grant, permission, site_id, camera_id) for grant in user.grants]
    judged.sort(key=lambda each: not each[0])
    if not judged:
        return Explanation(allowed=False, reasons=(f"user {name} holds no role",))
    return Explanation(judged[0][0], tuple(reason for _, reason in judged))


def _judged(grant: Grant, permission: str, site_id: str, camera_id: str) -> tuple[bool, str]:
    held = f"role {grant.role} over {grant.scope}"
    if permission not in grant.permissions:
        return False, f"{held} does not permit {permission}"
    found = reach([Held(grant.permissions, grant.scope)], permission)
    if camera_id:
        allowed = found.covers_camera(camera_id, site_id)
        what = f"camera {camera_id}" + (f" of site {site_id}" if site_id else "")
    else:
        allowed = found.covers(Scope(site_id))
        what = f"site {site_id}" if site_id else "the whole system"
    return allowed, f"{held} permits {permission} and {'covers' if allowed else 'does not cover'} {what}"

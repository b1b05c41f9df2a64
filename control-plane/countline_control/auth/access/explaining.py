"""Explains whether a user may do something, grant by grant. Pure."""

from dataclasses import dataclass

from countline_common.access.scopes import Held, Scope, reach
from countline_control.auth.domain import Grant, StoredUser


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its reasons."""

    allowed: bool
    reasons: tuple[str, ...]
    """One for each grant, those that allow it first; or the state of the user that forbids all."""


def explain(user: StoredUser, permission: str, site_id: str, camera_id: str) -> Explanation:
    """Decide as the services do, and say why.

    Args:
        user: the user.
        permission: such as `camera:write`.
        site_id: of the resource; empty if the action concerns no site.
        camera_id: of the resource; empty if the action concerns no camera.
    """
    if user.disabled_at is not None:
        return Explanation(allowed=False, reasons=(f"user {user.username} is disabled",))
    judged = [_judged(grant, permission, site_id, camera_id) for grant in user.grants]
    judged.sort(key=lambda each: not each[0])
    if not judged:
        return Explanation(allowed=False, reasons=(f"user {user.username} holds no role",))
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

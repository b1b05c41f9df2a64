"""Scopes: the sites and cameras over which a caller holds a permission. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant covers: one site, a group of cameras, or (with neither) everything."""

    site_id: str = ""
    camera_ids: frozenset[str] = frozenset()

    def __str__(self) -> str:
        if self.site_id:
            return f"site {self.site_id}"
        return f"cameras {', '.join(sorted(self.camera_ids))}" if self.camera_ids else "everything"


EVERYTHING: Final = Scope()


@dataclass(frozen=True, slots=True)
class Held:
    """Permissions that somebody holds over one scope."""

    permissions: frozenset[str]
    scope: Scope = EVERYTHING


@dataclass(frozen=True, slots=True)
class Reach:
    """Everything over which a caller holds one permission; falsy if there is nothing."""

    everything: bool = False
    sites: frozenset[str] = frozenset()
    cameras: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.everything or bool(self.sites) or bool(self.cameras)

    def __str__(self) -> str:
        if self.everything:
            return "everything"
        named = (("site", self.sites), ("camera", self.cameras))
        return "; ".join(f"{what} {', '.join(sorted(ids))}" for what, ids in named if ids) or "nothing"

    def scopes(self) -> list[Scope]:
        """Return the scopes of which this reach is the union."""
        if self.everything:
            return [EVERYTHING]
        cameras = [Scope(camera_ids=self.cameras)] if self.cameras else []
        return [*(Scope(site_id) for site_id in sorted(self.sites)), *cameras]

    def covers_site(self, site_id: str) -> bool:
        """Whether the whole site lies within reach."""
        return self.everything or site_id in self.sites

    def covers_camera(self, camera_id: str, site_id: str) -> bool:
        """Whether a camera of a site lies within reach; `site_id` is empty if the site is unknown."""
        return self.covers_site(site_id) or camera_id in self.cameras

    def covers(self, scope: Scope) -> bool:
        """Whether a whole scope lies within reach.

        A group of cameras is covered if each camera is named: the sites of cameras are unknown here.
        """
        if scope.site_id:
            return self.covers_site(scope.site_id)
        return self.everything or (bool(scope.camera_ids) and scope.camera_ids <= self.cameras)


def reach(held: Iterable[Held], permission: str) -> Reach:
    """Return the union of the scopes over which a permission is held."""
    scopes = [each.scope for each in held if permission in each.permissions]
    return Reach(
        everything=EVERYTHING in scopes,
        sites=frozenset(scope.site_id for scope in scopes if scope.site_id),
        cameras=frozenset[str]().union(*(scope.camera_ids for scope in scopes)),
    )


def common(one: Iterable[Held], other: Iterable[Held]) -> tuple[Held, ...]:
    """Return what two holders both hold.

    A camera that one holds by itself and the other by its site is left out: the sites of cameras are unknown here.
    """
    other = tuple(other)
    found = (
        Held(a.permissions & b.permissions, scope)
        for a in one
        for b in other
        if (scope := _overlap(a.scope, b.scope)) is not None
    )
    return tuple(dict.fromkeys(held for held in found if held.permissions))


def _overlap(one: Scope, other: Scope) -> Scope | None:
    if one in (EVERYTHING, other):
        return other
    if other == EVERYTHING:
        return one
    cameras = one.camera_ids & other.camera_ids
    return Scope(camera_ids=cameras) if cameras else None


def not_covered(holder: Iterable[Held], wanted: Iterable[Held]) -> list[tuple[str, Scope]]:
    """Return what `wanted` holds beyond `holder`, as permissions with their scopes, in order; empty if nothing."""
    holder = tuple(holder)
    return [
        (permission, each.scope)
        for each in wanted
        for permission in sorted(each.permissions)
        if not reach(holder, permission).covers(each.scope)
    ]

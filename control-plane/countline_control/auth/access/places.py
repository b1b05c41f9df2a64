"""The sites and cameras that exist: a grant over another one is refused, since a typing error would grant nothing."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from countline_common.access.scopes import Scope
from countline_common.errors import FieldProblem, InvalidInputError, NotFoundError


@dataclass(frozen=True, slots=True)
class Places:
    """What exists."""

    site_ids: frozenset[str]
    site_of_cameras: Mapping[str, str]
    """Camera → its site."""

    @property
    def camera_ids(self) -> frozenset[str]:
        """All cameras."""
        return frozenset(self.site_of_cameras)


class PlaceSource(Protocol):
    """Where auth learns which places exist."""

    async def places(self) -> Places:
        """Return all sites and cameras.

        Raises:
            CountlineError: the service of cameras does not answer.
        """
        ...


def missing_places(places: Places, scopes: Collection[Scope], given: Collection[Scope]) -> Iterator[FieldProblem]:
    """Yield each scope that names what does not exist.

    Args:
        places: what exists.
        scopes: to check.
        given: scopes as the caller gave them, in its order; these give the positions.
    """
    positions = {scope: i for i, scope in enumerate(given)}
    for scope in scopes:
        path = f"grants[{positions[scope]}]"
        if scope.site_id and scope.site_id not in places.site_ids:
            yield FieldProblem(
                f"{path}.site_id", f"there is no site {scope.site_id!r}; list them: countline sites list"
            )
        for camera_id in sorted(scope.camera_ids - places.camera_ids):
            problem = f"there is no camera {camera_id!r}; list them: countline cameras list"
            yield FieldProblem(f"{path}.camera_ids", problem)


def site_of(places: Places | None, camera_id: str, given: str) -> str:
    """Return the site of a camera.

    Args:
        places: what exists; None if that is unknown here.
        camera_id: the camera.
        given: the site that a caller names with the camera; empty if none.

    Raises:
        InvalidInputError: the camera is of another site, or no site is given although the sites are unknown here.
        NotFoundError: there is no such camera.
    """
    if places is None:
        if not given:
            problem = "is needed with a camera: this service does not know the sites of cameras"
            raise InvalidInputError("the site of the camera is unknown", fields=(FieldProblem("site_id", problem),))
        return given
    if camera_id not in places.site_of_cameras:
        raise NotFoundError(f"there is no camera {camera_id[:80]!r}", hint="list the cameras: countline cameras list")
    found = places.site_of_cameras[camera_id]
    if given not in ("", found):
        problem = f"camera {camera_id!r} is of site {found!r}, not {given[:80]!r}"
        raise InvalidInputError("the site and the camera do not match", fields=(FieldProblem("site_id", problem),))
    return found

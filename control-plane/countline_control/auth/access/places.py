"""The sites and cameras that exist: a grant over another one is refused, since a typing error would grant nothing."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from countline_common.access.scopes import Scope
from countline_common.errors import FieldProblem


@dataclass(frozen=True, slots=True)
class Places:
    """What exists."""

    site_ids: frozenset[str]
    camera_ids: frozenset[str]


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

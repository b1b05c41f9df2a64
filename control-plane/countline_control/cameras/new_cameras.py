"""What a new camera may leave out: its id, and its site. Works inside the caller's transaction."""

import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import AlreadyExistsError, FieldProblem
from countline_control.cameras import checks, naming, store
from countline_control.cameras.domain import Camera, Site
from countline_control.names import first_of

FIRST_SITE: Final = "main"
"""The site of the first camera, if it names none."""
MOST_SITES: Final = 10
"""Enough to know whether there is one, and to name some."""
_Inserted = TypeVar("_Inserted")
InsertSite = Callable[[AsyncConnection, Site], Awaitable[object]]


async def site_of_new(connection: AsyncConnection, camera: Camera, insert_site: InsertSite) -> str:
    """Return the site of a new camera: the given one, or else the only one. The first camera of all makes one.

    Raises:
        InvalidInputError: there are several sites.
    """
    if camera.site_id:
        return camera.site_id
    found = await store.list_sites(connection, "", MOST_SITES)
    if not found:
        # Another camera may make the site at the same moment: it is there once that camera is stored.
        with contextlib.suppress(AlreadyExistsError):
            await insert_site(connection, Site(FIRST_SITE, "", "UTC", time.time()))
        return FIRST_SITE
    if len(found) > 1:
        known = first_of([site.site_id for site in found])
        problem = f"is not given, and there are several sites: {known}; give one"
        checks.refuse("the camera cannot be created", [FieldProblem("site_id", problem)])
    return found[0].site_id


async def insert_with_id(
    connection: AsyncConnection, camera: Camera, insert: Callable[[Camera], Awaitable[_Inserted]]
) -> _Inserted:
    """Insert a camera under its id; without one, under an id made of its name that no other camera has.

    Raises:
        AlreadyExistsError: another camera has the given id.
    """
    if camera.camera_id:
        return await insert(camera)
    while True:
        taken = await store.ids_like(connection, naming.stem_of(camera.name))
        # Another creation may store the same id at the same moment. Each time one does, its id is taken from now on.
        with contextlib.suppress(AlreadyExistsError):
            return await insert(replace(camera, camera_id=naming.id_of_name(camera.name, taken)))

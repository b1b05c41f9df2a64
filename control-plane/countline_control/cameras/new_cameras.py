"""What a new camera may leave out: its id, and its site. Works inside the caller's transaction."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import FieldProblem
from countline_control.cameras import checks, naming, store
from countline_control.cameras.domain import Camera, Site
from countline_control.names import first_of

FIRST_SITE: Final = "main"
"""The site of the first camera, if it names none."""
MOST_SITES: Final = 10
"""Enough to know whether there is one, and to name some."""
InsertSite = Callable[[AsyncConnection, Site], Awaitable[object]]


async def with_ids(connection: AsyncConnection, camera: Camera, insert_site: InsertSite) -> Camera:
    """Fill in the ids that a new camera leaves out: one made of its name, and the only site.

    Raises:
        InvalidInputError: there are several sites.
    """
    if not camera.site_id:
        camera = replace(camera, site_id=await _only_site(connection, insert_site))
    if not camera.camera_id:
        taken = await store.ids_like(connection, naming.stem_of(camera.name))
        camera = replace(camera, camera_id=naming.id_of_name(camera.name, taken))
    return camera


async def _only_site(connection: AsyncConnection, insert_site: InsertSite) -> str:
    """Return the id of the only site; the first camera of all makes one."""
    found = await store.list_sites(connection, "", MOST_SITES)
    if not found:
        await insert_site(connection, Site(FIRST_SITE, "", "UTC", time.time()))
        return FIRST_SITE
    if len(found) > 1:
        known = first_of([site.site_id for site in found])
        problem = f"is not given, and there are several sites: {known}; give one"
        checks.refuse("the camera cannot be created", [FieldProblem("site_id", problem)])
    return found[0].site_id

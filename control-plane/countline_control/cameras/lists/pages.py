"""SQL of the pages of a list. The database filters, sorts and limits, so a page costs the same wherever it lies.

Texts are sorted by their code points, whatever the collation of the database.
"""

from typing import Any, Final

from sqlalchemy import ARRAY, ColumnElement, Select, String, any_, asc, collate, desc, literal, or_, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.access.scopes import Reach
from countline_common.grpc.paging import Page
from countline_control.cameras import store
from countline_control.cameras.domain import Camera
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.cameras.lists.filters import (
    TIMES,
    CameraFilter,
    ObservedCameras,
    PageKey,
    order_of,
    page_key,
)
from countline_control.cameras.tables import cameras
from countline_control.data_keys import DataKeys

_CODE_POINTS: Final = "C"


async def read_page(
    connection: AsyncConnection,
    shown: CameraFilter,
    observed: ObservedCameras,
    reach: Reach,
    wanted: Page,
    keys: DataKeys,
) -> tuple[list[Camera], str]:
    """Read one page.

    Args:
        connection: of the caller's transaction.
        shown: filter and order.
        observed: the filter's fields about what workers report.
        reach: what the caller may see.
        wanted: the page.
        keys: open the addresses.

    Returns:
        Its cameras in order, credentials included, and the key after which the next page begins; empty if there is
        none.

    Raises:
        InvalidInputError: the page begins after a key that is not of this order.
    """
    field, direction = order_of(shown.order_by)
    query = store.camera_rows().where(
        store.camera_in(reach), *_conditions(shown), *_observed_conditions(shown, observed)
    )
    query = _after(query, shown, wanted.after) if wanted.after else query
    turned = desc if direction == "desc" else asc
    query = query.order_by(*(turned(column) for column in _sorted_by(field))).limit(wanted.size + 1)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    found = [await store.camera_of_row(connection, row, keys) for row in rows[: wanted.size]]
    if len(rows) <= wanted.size:
        return found, ""
    last = rows[wanted.size - 1]
    return found, PageKey(last[field], last["camera_id"]).text()


def _conditions(shown: CameraFilter) -> list[ColumnElement[bool]]:
    """Return the conditions about what is configured."""
    c, found = cameras.c, list[ColumnElement[bool]]()
    if shown.site_id:
        found.append(c.site_id == shown.site_id)
    if shown.status:
        found.append(c.status == shown.status.value)
    if shown.location:
        found.append(c.location.icontains(shown.location, autoescape=True))
    if shown.tag:
        found.append(c.tags.contains([shown.tag]))
    return found


def _observed_conditions(shown: CameraFilter, observed: ObservedCameras) -> list[ColumnElement[bool]]:
    """Return the conditions about what workers report."""
    c, found = cameras.c, list[ColumnElement[bool]]()
    if shown.observed:
        found.append(c.status == WantedStatus.ACTIVE.value)
    if observed.included is not None:
        found.append(_is_one_of(observed.included))
    if observed.excluded:
        found.append(~_is_one_of(observed.excluded))
    if shown.model:
        configured = c.spec["model"].as_string()
        named = or_(configured == shown.model, configured.startswith(f"{shown.model}@", autoescape=True))
        found.append(or_(named, _is_one_of(observed.counted)))
    return found


def _is_one_of(camera_ids: frozenset[str]) -> ColumnElement[bool]:
    # One parameter, however many ids: a statement takes at most 65,535.
    return cameras.c.camera_id == any_(literal(sorted(camera_ids), ARRAY(String)))


def _sorted_by(field: str) -> list[ColumnElement[Any]]:
    """Return the columns that give the order. The id makes it total."""
    camera_id = collate(cameras.c.camera_id, _CODE_POINTS)
    if field == "camera_id":
        return [camera_id]
    column = cameras.c[field]
    return [column if field in TIMES else collate(column, _CODE_POINTS), camera_id]


def _after(query: Select[Any], shown: CameraFilter, after: str) -> Select[Any]:
    """Limit a query to what follows a key."""
    field, direction = order_of(shown.order_by)
    key = page_key(after, shown.order_by)
    columns = _sorted_by(field)
    values = [key.camera_id] if field == "camera_id" else [key.value, key.camera_id]
    place, last = tuple_(*columns), tuple_(*(literal(value) for value in values))
    return query.where(place < last if direction == "desc" else place > last)

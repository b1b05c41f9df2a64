"""Pages of events, from the newest to the oldest."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from countline_analytics.instants import to_datetime, to_us
from countline_analytics.store.sql import query
from countline_common.grpc.paging import MAX_SIZE, invalid_page, next_token, page


async def read_page(engine: AsyncEngine, name: str, request: Any, **parameters: Any) -> tuple[Sequence[Any], str]:
    """The requested page, and the token of the next page, empty if there is none.

    Args:
        engine: of the analytics database.
        name: of a query among those of counts, with `after_t`, `after_id` and `limit` besides the given parameters.
        request: with `page_size` and `page_token`.
        parameters: other parameters of the query.

    Raises:
        InvalidInputError: the size is out of range, or the token was not made here.
    """
    if request.page_size > MAX_SIZE:
        raise invalid_page("page_size", f"is greater than {MAX_SIZE}; give 1 to {MAX_SIZE}, or 0 for 100")
    wanted = page(request.page_size, request.page_token)
    after_t, after_id = _parse_key(wanted.after) if wanted.after else (None, None)
    limits = {"after_t": after_t, "after_id": after_id, "limit": wanted.size + 1}
    async with engine.connect() as connection:
        rows = (await connection.execute(query("counts", name), {**parameters, **limits})).mappings().all()
    token = next_token(_key(rows[wanted.size - 1])) if len(rows) > wanted.size else ""
    return rows[: wanted.size], token


def _key(row: Any) -> str:
    """The place of an event in the list: its time in microseconds and its id."""
    return f"{to_us(row['t'])} {row['event_id']}"


def _parse_key(key: str) -> tuple[datetime, uuid.UUID]:
    t_us, _, event_id = key.partition(" ")
    try:
        return to_datetime(int(t_us)), uuid.UUID(event_id)
    except (ValueError, OverflowError) as error:
        raise invalid_page("page_token", "is not one that this service gave; begin without one") from error

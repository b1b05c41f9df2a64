"""Pages of a list that goes from the newest event to the oldest: how long one is, and where the next begins."""

import base64
import binascii
import struct
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from countline_analytics.instants import to_datetime, to_us
from countline_analytics.store.sql import query
from countline_common.errors import FieldProblem, InvalidInputError

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000
_TOKEN: Final = struct.Struct("!q16s")


def page_size(asked: int) -> int:
    """The number of events of a page.

    Raises:
        InvalidInputError: it is out of range.
    """
    if not 0 <= asked <= MAX_PAGE:
        raise InvalidInputError("the page size is out of range", fields=(FieldProblem("page_size", f"0..{MAX_PAGE}"),))
    return asked or DEFAULT_PAGE


async def read_page(engine: AsyncEngine, name: str, request: Any, **parameters: Any) -> tuple[Sequence[Any], str]:
    """The page that a request asks for, and the token of the next one, empty where there is none.

    Args:
        engine: of the analytics database.
        name: of a query among those of counts, with `after_t`, `after_id` and `limit` besides the given parameters.
        request: with `page_size` and `page_token`.
        parameters: what else the query takes.
    """
    size = page_size(request.page_size)
    after_t, after_id = read_token(request.page_token)
    limits = {"after_t": after_t, "after_id": after_id, "limit": size + 1}
    async with engine.connect() as connection:
        rows = (await connection.execute(query("counts", name), {**parameters, **limits})).mappings().all()
    return rows[:size], token_after(rows[size - 1]) if len(rows) > size else ""


def token_after(row: Any) -> str:
    """The place after an event (its `t` and `event_id`) in the list, opaque."""
    return base64.urlsafe_b64encode(_TOKEN.pack(to_us(row["t"]), row["event_id"].bytes)).decode().rstrip("=")


def read_token(token: str) -> tuple[datetime | None, uuid.UUID | None]:
    """Time and id of the last event of the page before; None for the first page.

    Raises:
        InvalidInputError: it is no token of ours.
    """
    if not token:
        return None, None
    try:
        t_us, event_id = _TOKEN.unpack(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return to_datetime(t_us), uuid.UUID(bytes=event_id)
    except (binascii.Error, struct.error, ValueError, OverflowError) as error:
        raise InvalidInputError(
            "the page token is none of ours", fields=(FieldProblem("page_token", "must come from an earlier answer"),)
        ) from error

"""Pages of a list that goes from the newest event to the oldest: how long one is, and where the next begins."""

import base64
import binascii
import struct
import uuid
from datetime import datetime
from typing import Any, Final

from countline_analytics.instants import to_datetime, to_us
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

"""The id of a request, by which its log lines in all parts are found.

A caller may choose it. It goes into logs, headers and gRPC metadata, so only short ids of harmless characters are
accepted; any other is replaced by a new one.
"""

import re
import secrets
from typing import Final

from structlog.contextvars import get_contextvars

REQUEST_ID_KEY: Final = "x-request-id"
"""Name in gRPC metadata."""
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def request_id_of(given: str) -> str:
    """Return the caller's id if it is well-formed, else a new one."""
    return given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(8)


def request_metadata() -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call that the current request needs; none outside a request.

    The id of the current request is the one that its log lines have.
    """
    current = get_contextvars().get("request_id", "")
    return ((REQUEST_ID_KEY, current),) if current else ()

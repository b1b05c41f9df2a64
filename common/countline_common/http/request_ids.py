"""The id of a request, by which its log lines in all parts are found.

A caller may choose it. It goes into logs, headers and gRPC metadata, so only short ids of harmless characters are
accepted; any other is replaced by a new one.
"""

import re
import secrets
from typing import Final

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def request_id_of(given: str) -> str:
    """Return the caller's id if it is well-formed, else a new one."""
    return given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(8)

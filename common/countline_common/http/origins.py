"""Origins of web pages: scheme, host and port, as RFC 6454 has them."""

from typing import Final
from urllib.parse import urlsplit

from countline_common.errors import InvalidInputError

SCHEMES: Final = frozenset({"http", "https"})


def checked_origin(text: str, variable: str) -> str:
    """Return the origin that a setting names, as browsers write it; empty if the setting is empty.

    Args:
        text: such as `https://counts.example.org/`.
        variable: the name of the setting, for messages.

    Raises:
        InvalidInputError: it is not an origin.
    """
    if not text.strip():
        return ""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise _wrong(text, variable) from error
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in SCHEMES or not parts.hostname or extra:
        raise _wrong(text, variable)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, default} else "")


def _wrong(text: str, variable: str) -> InvalidInputError:
    return InvalidInputError(
        f"{variable}: {text[:80]!r} is no address of a web server",
        hint="give scheme, host and port only, such as https://counts.example.org",
    )

"""Which addresses of streams can be used; one check for cameras and for commands.

No problem contains the address: a mistyped password is still a password.
"""

from typing import Final
from urllib.parse import SplitResult, urlsplit

STREAM_SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
FILE_SCHEME: Final = "file"
MAX_LENGTH: Final = 2048
KNOWN_SCHEMES: Final = "rtsp://, rtsps://, http://, https:// or file://"


def scheme(url: str) -> str:
    """The scheme in lower case; empty if there is none."""
    return url.partition(":")[0].lower() if "://" in url else ""


def split_address(url: str) -> SplitResult | None:
    """Split an address; None if its host or port is invalid."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a port number
    except ValueError:
        return None
    return parts


def text_problem(url: str) -> str:
    """What is wrong with the text of an address of any scheme; empty if it can be used."""
    if not url:
        return f"is empty; give an address that begins with {KNOWN_SCHEMES}"
    if len(url) > MAX_LENGTH:
        return f"has {len(url)} characters; {MAX_LENGTH} is the limit"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "contains a blank or a control character; write it as %20 and the like"
    if scheme(url) not in (*STREAM_SCHEMES, FILE_SCHEME):
        return f"has an unknown scheme; write {KNOWN_SCHEMES}"
    return ""


def stream_problem(url: str) -> str:
    """What is wrong with the parts of a stream's address; empty if it can be used."""
    parts = split_address(url)
    if parts is None or not parts.hostname:
        return "has no host or an invalid port; write %2F, %3F, %23, %40 for / ? # @ in a password"
    return ""

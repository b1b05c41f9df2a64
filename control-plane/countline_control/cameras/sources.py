"""Addresses of sources: which ones can be used, and how their passwords are masked and kept.

No error contains an address: a mistyped password is still a password.
"""

from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

from countline_common.errors import FieldProblem
from countline_common.logs import MASK, redact

STREAM_SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
FILE_SCHEME: Final = "file"
MAX_LENGTH: Final = 2048
FIELD: Final = "spec.source_url"

_KNOWN: Final = "rtsp://, rtsps://, http://, https:// or file://"


def scheme(url: str) -> str:
    """Return the scheme in lower case; empty if there is none."""
    return url.partition(":")[0].lower() if "://" in url else ""


def problems(url: str) -> list[FieldProblem]:
    """Check an address without opening it."""
    found = _text_problem(url) or (_file_problem(url) if scheme(url) == FILE_SCHEME else _stream_problem(url))
    return [FieldProblem(FIELD, found)] if found else []


def _text_problem(url: str) -> str:
    if not url:
        return f"is empty; give an address that begins with {_KNOWN}"
    if len(url) > MAX_LENGTH:
        return f"has {len(url)} characters; {MAX_LENGTH} is the limit"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "contains a blank or a control character; write it as %20 and the like"
    if scheme(url) not in (*STREAM_SCHEMES, FILE_SCHEME):
        return f"has an unknown scheme; write {_KNOWN}"
    return ""


def _file_problem(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        return "names a host; the file must be on the worker's own machine: file:///absolute/path.mp4"
    if not parts.path.strip("/") or parts.path.endswith("/"):
        return "names no file; write file:///absolute/path.mp4"
    if ".." in unquote(parts.path).split("/"):
        return "contains `..`; give the path without it"
    return ""


def _stream_problem(url: str) -> str:
    parts = _split(url)
    if parts is None or not parts.hostname:
        return "has no host or an invalid port; write %2F, %3F, %23, %40 for / ? # @ in a password"
    return ""


def _split(url: str) -> SplitResult | None:
    """Split an address; None if its host or port is invalid."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a port number
    except ValueError:
        return None
    return parts


def masked(url: str) -> str:
    """Replace passwords and secret parameters by `***`, for readers."""
    return redact(url)


def has_mask(url: str) -> bool:
    """Whether `***` stands in the place of a password: a reader sent the masked address back."""
    parts = _split(url)
    if parts is None:
        return False
    return unquote(parts.password or "") == MASK or any(value == MASK for _, value in parse_qsl(parts.query))


def with_stored_secrets(url: str, stored: str) -> str | None:
    """Replace each `***` by the stored secret; None if none is stored, or if host or user differ.

    Host and user must be the same: otherwise anyone who may edit a camera could send its password to any server.
    """
    if url == masked(stored):
        return stored
    new, old = _split(url), _split(stored)
    if new is None or old is None or (new.hostname, new.port, new.username) != (old.hostname, old.port, old.username):
        return None
    netloc = _netloc(new, old)
    query = _query(new.query, old.query)
    if netloc is None or query is None:
        return None
    return urlunsplit((new.scheme, netloc, new.path, query, new.fragment))


def _netloc(new: SplitResult, old: SplitResult) -> str | None:
    if unquote(new.password or "") != MASK:
        return new.netloc
    return old.netloc if old.password else None


def _query(new: str, old: str) -> str | None:
    stored = dict(pair.partition("=")[::2] for pair in old.split("&"))
    pairs = []
    for pair in new.split("&") if new else []:
        key, _, value = pair.partition("=")
        if value == MASK or unquote(value) == MASK:
            if key not in stored:
                return None
            pair = f"{key}={stored[key]}"  # noqa: PLW2901  (the stored pair takes the place of the masked one)
        pairs.append(pair)
    return "&".join(pairs)


def file_url(path: str) -> str:
    """Return the address of a file on the worker's machine."""
    return f"file://{quote(path)}"

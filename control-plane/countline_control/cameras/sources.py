"""Addresses of sources: which can be used, and how the passwords in them are hidden and kept.

Nothing here ever puts an address into an error: a password that was typed wrong is still a password.
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
    """The lower-case scheme; empty where there is none."""
    return url.partition(":")[0].lower() if "://" in url else ""


def problems(url: str) -> list[FieldProblem]:
    """What keeps an address from being opened at all, before anybody tries."""
    found = _text_problem(url) or (_file_problem(url) if scheme(url) == FILE_SCHEME else _stream_problem(url))
    return [FieldProblem(FIELD, found)] if found else []


def _text_problem(url: str) -> str:
    if not url:
        return f"is empty; give an address that begins with {_KNOWN}"
    if len(url) > MAX_LENGTH:
        return f"has {len(url)} characters; {MAX_LENGTH} are the most"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "contains a blank or a control character; write it as %20 and the like"
    if scheme(url) not in (*STREAM_SCHEMES, FILE_SCHEME):
        return f"begins with no scheme that is known; write {_KNOWN}"
    return ""


def _file_problem(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        return "names a host; a file lies on the worker's own machine: file:///absolute/path.mp4"
    if not parts.path.strip("/") or parts.path.endswith("/"):
        return "names no file; write file:///absolute/path.mp4"
    if ".." in unquote(parts.path).split("/"):
        return "contains `..`; give the path without it"
    return ""


def _stream_problem(url: str) -> str:
    parts = _split(url)
    if parts is None or not parts.hostname:
        return "has no host, or a port that is none; write %2F, %3F, %23, %40 for / ? # @ in a password"
    return ""


def _split(url: str) -> SplitResult | None:
    """The parts of an address; None where its host or port cannot be told."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no number of a port
    except ValueError:
        return None
    return parts


def masked(url: str) -> str:
    """The address for readers: passwords and secret parameters are `***`."""
    return redact(url)


def has_mask(url: str) -> bool:
    """Whether a reader's address came back, with `***` in the place of a password."""
    parts = _split(url)
    if parts is None:
        return False
    return unquote(parts.password or "") == MASK or any(value == MASK for _, value in parse_qsl(parts.query))


def with_stored_secrets(url: str, stored: str) -> str | None:
    """The address with each `***` replaced by what is stored there; None where nothing is, or host or user differ.

    Only for the same host and user: else a password could be sent to any server by whoever may edit a camera.
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
    """The address of a file on the worker's machine."""
    return f"file://{quote(path)}"

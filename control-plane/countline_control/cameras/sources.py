"""Addresses of sources: which ones can be used, and how their passwords are masked and kept.

No error contains an address: a mistyped password is still a password.
"""

from typing import Final
from urllib.parse import quote, unquote, urlunsplit

from countline_common.errors import FieldProblem
from countline_common.redaction import MASK, redact_address
from countline_common.stream_addresses import FILE_SCHEME, scheme, split_address, stream_problem, text_problem

FIELD: Final = "stream_url"


def problems(url: str) -> list[FieldProblem]:
    """Check an address without opening it."""
    found = text_problem(url) or (_file_problem(url) if scheme(url) == FILE_SCHEME else stream_problem(url))
    return [FieldProblem(FIELD, found)] if found else []


def _file_problem(url: str) -> str:
    parts = split_address(url)
    if parts is None or parts.netloc not in ("", "localhost"):
        return "names a host; the file must be on the worker's own machine: file:///absolute/path.mp4"
    if not parts.path.strip("/") or parts.path.endswith("/"):
        return "names no file; write file:///absolute/path.mp4"
    if ".." in unquote(parts.path).split("/"):
        return "contains `..`; give the path without it"
    return ""


def masked(url: str) -> str:
    """Replace passwords and secret parameters by `***`, for readers."""
    return redact_address(url)


def has_mask(url: str) -> bool:
    """Whether `***` stands in the place of a secret: a reader sent the masked address back."""
    return MASK in unquote(url)


def with_stored_secrets(url: str, stored: str) -> str | None:
    """Replace each `***` by the stored secret; None if none is stored, or if host or user differ.

    Host and user must be the same: otherwise anyone who may edit a camera could send its password to any server.
    """
    shown = masked(stored)
    if unquote(url) == unquote(shown):
        return stored
    new, old, hidden = split_address(url), split_address(stored), split_address(shown)
    if new is None or old is None or hidden is None or (new.hostname, new.port) != (old.hostname, old.port):
        return None
    netloc = _stored_part(new.netloc, old.netloc, hidden.netloc)
    path = _stored_part(new.path, old.path, hidden.path)
    query = _query(new.query, old.query)
    # Without the mask a new password is given, which may go to the same user only.
    if netloc is None or path is None or query is None or (MASK not in new.netloc and new.username != old.username):
        return None
    return urlunsplit((new.scheme, netloc, path, query, new.fragment))


def _stored_part(new: str, stored: str, shown: str) -> str | None:
    if MASK not in unquote(new):
        return new
    return stored if unquote(new) == unquote(shown) else None


def _query(new: str, old: str) -> str | None:
    stored = dict(pair.partition("=")[::2] for pair in old.split("&"))
    pairs = []
    for pair in new.split("&") if new else []:
        key, _, value = pair.partition("=")
        if MASK in unquote(value):
            if key not in stored or unquote(value) != unquote(masked(f"{key}={stored[key]}")).partition("=")[2]:
                return None
            pair = f"{key}={stored[key]}"  # noqa: PLW2901  (the stored pair takes the place of the masked one)
        pairs.append(pair)
    return "&".join(pairs)


def file_url(path: str) -> str:
    """Return the address of a file on the worker's machine."""
    return f"file://{quote(path)}"

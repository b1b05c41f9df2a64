"""What a server's answer means for a download."""

import re
from typing import Final

import aiohttp

from countline_common.errors import ConflictError, UnavailableError
from countline_models.pull.wanted import Wanted

GONE: Final = frozenset({401, 403, 404, 410})
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may change with another attempt."""


class RetryError(Exception):
    """A failure that may pass."""


class GoneError(Exception):
    """This address does not offer the file."""


def accepted_offset(response: aiohttp.ClientResponse, received: int, wanted: Wanted, address: str) -> int:
    """Where the bytes of an answer belong: after the `received` ones, or at the beginning (0).

    A server that does not support ranges, or whose file has changed, answers with the whole file.

    Raises:
        GoneError: the server does not offer the file.
        RetryError: the server may answer later.
        ConflictError: the file has another size.
        UnavailableError: the server answers with an unexpected status.
    """
    status = response.status
    if status in GONE:
        raise GoneError(f"{address} does not have it: {status} {response.reason}")
    if status in PASSING:
        raise RetryError(f"the server answers {status} {response.reason}")
    if status == 206 and (range_ := _range(response)) and range_[0] == received:
        check_size(range_[1], wanted, address)
        return received
    if status != 200:
        raise UnavailableError(f"{address} answers {status} {response.reason}", hint=wanted.by_hand)
    check_size(response.content_length or wanted.size_bytes, wanted, address)
    return 0


def _range(response: aiohttp.ClientResponse) -> tuple[int, int] | None:
    """The first byte of a part, and the size of the whole file."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    return (int(found[1]), int(found[2])) if found else None


def check_size(size_bytes: int, wanted: Wanted, address: str) -> None:
    """Raise `ConflictError` if the file has another size."""
    if size_bytes != wanted.size_bytes:
        raise ConflictError(
            f"{address} has a file of {size_bytes} bytes, not of {wanted.size_bytes}: it is another one",
            hint="do not use it: its authors have replaced it; nothing was kept",
        )


def reason_of(error: BaseException) -> str:
    """Why a connection failed, for people."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host} cannot be reached: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "the connection was cut off"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__

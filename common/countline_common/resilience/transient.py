"""Which failures of a remote call may pass by themselves: the only ones after which a call is repeated."""

import socket
from typing import Final

import aiohttp
import grpc

from countline_common.errors import UnavailableError

_BROKEN: Final = (
    ConnectionError,  # reset, refused, aborted, a broken pipe
    TimeoutError,
    socket.gaierror,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,  # the answer ended half-way
)
_CERTIFICATE: Final = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)


def is_transient(error: BaseException) -> bool:
    """Whether the other side was reset, late, not found by name, refused the connection, or answered 5xx / UNAVAILABLE.

    An `UnavailableError` that says when to come back is not: earlier calls are pointless.
    """
    if isinstance(error, UnavailableError):
        return error.retry_after_s is None
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status >= 500
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return isinstance(error, _BROKEN) and not isinstance(error, _CERTIFICATE)

"""Accepts connections of HTTP clients, within limits: of time, of number, of the size of a request's head.

aiohttp has the limits of time, but answers what it cannot parse as plain text and logs it as an error of ours.
"""

import asyncio
import errno
import secrets
import socket
from typing import Any, Final

from aiohttp import web

from countline_analytics.api.application import HttpError, failure
from countline_common.errors import UnavailableError
from countline_common.logs import get_logger
from countline_common.settings import host_port

MOST_CONNECTIONS: Final = 1000
"""Open connections of one address. Further ones are closed at once."""
LONGEST_HEAD_LINE: Final = 16 * 1024
"""Bytes of the request line, and of one header: as many as NGINX lets through."""
LINGER_S: Final = 2.0
"""After an early answer, such as 404, the rest of the body is read for so long, so that the client gets the answer."""

_log = get_logger(__name__)


class ClientConnection(web.RequestHandler):
    """The connection of one client.

    Args:
        server: handles the requests.
        idle_timeout_s: seconds after which a connection without a complete request head is closed, and one whose
            client does not read: nothing, or less than 48 KiB of a long answer, which is what asyncio waits for.
    """

    __slots__ = ("_idle_timeout_s", "_server", "_slow_reader")

    def __init__(self, server: web.Server, idle_timeout_s: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for "no log"
            keepalive_timeout=idle_timeout_s,
            lingering_time=LINGER_S,
            auto_decompress=False,  # aiohttp takes a gzip body that is cut off for a whole one
            max_line_size=LONGEST_HEAD_LINE,
            max_field_size=LONGEST_HEAD_LINE,
        )
        self._server = server
        self._idle_timeout_s = idle_timeout_s
        self._slow_reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # The kernel ends a connection on which it cannot send. asyncio alone would wait for ever to send the rest.
        limit_ms = round(self._idle_timeout_s * 1000)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
        if len(self._server.connections) > MOST_CONNECTIONS:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_slow_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            loop = asyncio.get_running_loop()
            self._slow_reader = loop.call_later(self._idle_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_slow_reader()
        super().resume_writing()

    def _stop_slow_reader(self) -> None:
        if self._slow_reader is not None:
            self._slow_reader.cancel()
            self._slow_reader = None

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an exception outside of every handler, unless the caller's body caused it: that was answered."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  (arguments are those of aiohttp)
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Return the response to a request that cannot be parsed, or that failed outside of every handler."""
        request_id = secrets.token_hex(8)
        if status >= 500:
            _log.error("http.fault", request_id=request_id, exc_info=exc)
            error = HttpError("INTERNAL", f"internal error; search the log for request {request_id}")
        else:
            _log.info("http.malformed", request_id=request_id, error=type(exc).__name__)
            error = HttpError("INVALID_ARGUMENT", "the request is not HTTP, or its path or a header is too long")
        response = failure(error, request_id)
        response.force_close()
        return response


async def listen(runner: web.AppRunner, address: str, idle_timeout_s: float) -> asyncio.Server:
    """Accept connections for an application that is set up.

    Raises:
        UnavailableError: another process uses the address.
    """
    host, port = host_port(address)
    server: Any = runner.server
    try:
        return await asyncio.get_running_loop().create_server(
            lambda: ClientConnection(server, idle_timeout_s), host, port, backlog=128
        )
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UnavailableError(
            f"{address} is taken by another process", hint="stop the other process, or set another address"
        ) from error

"""Adds to every HTTP response: request id, security headers, compression, and errors in one shape."""

import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web
from prometheus_client import Histogram
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from structlog.contextvars import bound_contextvars

from countline_analytics.api.gateway import REQUEST_ID
from countline_analytics.api.protection.bodies import BODY_TIMEOUT_S
from countline_analytics.api.protection.cors import cors
from countline_analytics.api.protection.rates import NEAREST, RateLimits, limited
from countline_common.errors import CountlineError, DeadlineExceededError, InternalError, UnavailableError
from countline_common.http.client_address import Network, address
from countline_common.http.errors import http_status, problem
from countline_common.http.request_ids import request_id_of
from countline_common.logs import get_logger

COMPRESSED_ABOVE_BYTES: Final = 1000
REQUEST_ID_HEADER: Final = "X-Request-Id"
SECURITY_HEADERS: Final = {
    # The page shows camera pictures from memory (blob:).
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

TRANSPORT_SECURITY: Final = "max-age=31536000"
PROXIES: Final = web.AppKey("proxies", tuple)

REQUESTS: Final = Histogram("countline_http_server_seconds", "Duration of requests", ["method", "route", "status"])

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Protection:
    """What protects an application from its callers."""

    body_timeout_s: float
    """Seconds in which the body of a request must arrive."""
    rates: RateLimits
    cors_origins: frozenset[str] = frozenset()
    proxies: tuple[Network, ...] = ()
    """Networks of trusted proxies."""
    public_origin: str = ""
    """The gateway's address for browsers; empty if it is not configured."""


def make_application(protection: Protection) -> web.Application:
    """Return an application without routes."""
    # The first one is the outermost.
    app = web.Application(
        middlewares=[_identified, _finished, cors(protection.cors_origins), _mapped, limited(protection.rates)]
    )
    app[BODY_TIMEOUT_S] = protection.body_timeout_s
    app[PROXIES] = protection.proxies
    return app


@web.middleware
async def _identified(request: web.Request, handler: Next) -> web.StreamResponse:
    """Give the request an id (the caller's own, if it is well-formed) and measure its duration."""
    request[REQUEST_ID] = request_id_of(request.headers.get(REQUEST_ID_HEADER, ""))
    started = time.perf_counter()
    with bound_contextvars(request_id=request[REQUEST_ID]):
        response = await handler(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    REQUESTS.labels(request.method, route, response.status).observe(time.perf_counter() - started)
    if not response.prepared:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    return response


@web.middleware
async def _finished(request: web.Request, handler: Next) -> web.StreamResponse:
    """Add headers and compression to the response."""
    response = await handler(request)
    if response.prepared:  # a WebSocket that has ended
        return response
    if request.content.exception() is not None:
        response.force_close()  # the body was unreadable: where the next request begins is unknown
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if _came_by_tls(request):
        response.headers.setdefault("Strict-Transport-Security", TRANSPORT_SECURITY)
    if nearest := request.get(NEAREST):
        response.headers.update(nearest.headers)
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
    body = response.body if isinstance(response, web.Response) else None
    if isinstance(body, bytes) and len(body) > COMPRESSED_ABOVE_BYTES:
        response.enable_compression()
    return response


def _came_by_tls(request: web.Request) -> bool:
    """Whether the browser used HTTPS, as a trusted proxy reports it: TLS ends there."""
    peer = address(request.remote or "")
    trusted = peer is not None and any(peer in network for network in request.app[PROXIES])
    return request.secure or (trusted and request.headers.get("X-Forwarded-Proto", "").lower() == "https")


@web.middleware
async def _mapped(request: web.Request, handler: Next) -> web.StreamResponse:
    """Turn exceptions into error responses, and answer OPTIONS."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = {"Allow": ",".join(sorted({*error.allowed_methods, "OPTIONS"}))}
        if request.method == "OPTIONS":
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=allowed)
        return failure(_of_aiohttp(error), request[REQUEST_ID], allowed)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return failure(_of_aiohttp(error), request[REQUEST_ID])
    except Exception as error:  # noqa: BLE001  (the caller gets the one error shape; the log gets the details)
        return failure(_ours(error, request), request[REQUEST_ID])


def _ours(error: Exception, request: web.Request) -> CountlineError:
    """Return an exception as the error that the caller gets. All but our own are logged."""
    if isinstance(error, CountlineError):
        return error
    at = {"path": request.path, "request_id": request[REQUEST_ID]}
    if isinstance(error, TimeoutError | PoolTimeoutError):
        _log.warning("http.timeout", **at, error=str(error))
        return DeadlineExceededError("the request took too long", hint="ask for a shorter time span")
    if isinstance(error, DBAPIError):
        _log.error("http.database", **at, error=str(error.orig))
        return UnavailableError("the database does not answer", hint="try again later")
    _log.error("http.fault", **at, exc_info=error)
    return InternalError("internal error", hint=f"search the log for request {request[REQUEST_ID]}")


class HttpError(CountlineError):
    """An error of HTTP itself, such as an unknown path."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _of_aiohttp(error: web.HTTPException) -> CountlineError:
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 408: "REQUEST_TIMEOUT", 413: "PAYLOAD_TOO_LARGE"}
    texts = {
        404: "no such path",
        405: "this path does not support the method",
        408: "the body of the request did not arrive in time",
        413: "the body is too large",
    }
    code = codes.get(error.status, "INVALID_ARGUMENT" if error.status < 500 else "INTERNAL")
    return HttpError(code, texts.get(error.status, error.reason))


def failure(error: CountlineError, request_id: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as a response."""
    response = web.Response(
        text=json.dumps(problem(error, request_id)),
        status=http_status(error),
        headers=headers,
        content_type="application/json",
    )
    if response.status == HTTPStatus.REQUEST_TIMEOUT:
        response.force_close()
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if response.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response

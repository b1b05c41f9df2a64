"""CORS: which other web sites may call the API from a browser. By default none may.

Only exact origins are accepted. Cookies are never permitted across origins: the cookie of a login is for our own page,
and another site sends an access token in its `Authorization` header.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from countline_common.errors import InvalidInputError

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS: Final = "Authorization, Content-Type, X-Request-Id"
EXPOSED: Final = "Location, Retry-After, X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
PREFLIGHT_KEPT_S: Final = "600"
VARIABLE: Final = "COUNTLINE_GATEWAY_CORS_ORIGINS"

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def origins(text: str) -> frozenset[str]:
    """Parse origins, separated by commas.

    Raises:
        InvalidInputError: one of them is not an exact origin.
    """
    found = frozenset(part.strip() for part in text.split(",") if part.strip())
    for origin in sorted(found):
        if not _is_origin(origin):
            raise InvalidInputError(
                f"{VARIABLE}: {origin[:100]!r} is not an origin",
                hint="write each as SCHEME://HOST or SCHEME://HOST:PORT in lower case, such as https://shop.example.org",
            )
    return found


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname or "*" in text:
        return False
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    # A browser sends no port that is the scheme's own, so an origin with it would never match.
    usual = {"http": 80, "https": 443}[parts.scheme]
    return port != usual and text == f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"


def cors(permitted: frozenset[str]) -> Middleware:
    """Return a middleware that lets browsers on other sites read our answers.

    Args:
        permitted: their origins.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Next) -> web.StreamResponse:
        response = await handler(request)
        if response.prepared or not permitted or not request.path.startswith("/api/"):
            return response
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)  # a cache must not give one site the answer of another
        origin = request.headers.get(hdrs.ORIGIN, "")
        if origin in permitted:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
            if _is_preflight(request):
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = METHODS
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = HEADERS
                response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = PREFLIGHT_KEPT_S
        return response

    return answer


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers

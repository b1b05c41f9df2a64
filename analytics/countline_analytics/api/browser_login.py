"""Keeps the refresh token of a browser in a cookie that no script can read.

A script that gets into the page can read what the page stores. It cannot read this cookie, which is `HttpOnly`. Another
site cannot use the cookie: it is `SameSite=Strict`, and a request with it must name this gateway as its `Origin`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from google.protobuf.message import Message

from countline_analytics.api.services import Method
from countline_common.errors import PermissionDeniedError

COOKIE: Final = "countline_refresh"
COOKIE_PATH: Final = "/api/v1/auth"
MODE_HEADER: Final = "X-Countline-Session"
"""A client that sends `cookie` in this header gets its refresh token as a cookie, and not in the body."""
LOGIN_SERVICES: Final = frozenset({"countline.v1.AuthService", "countline.v1.FactorService"})
"""Services whose methods open, renew or end sessions."""
ENDINGS: Final = frozenset({"Logout", "LogoutEverywhere"})
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class BrowserLogin:
    """The cookie of one request.

    Args:
        secure: whether the browser reached the gateway over TLS.
        ends: whether the request ends the session.
    """

    secure: bool
    ends: bool = False

    def answer(self, response: Message) -> "LoginCookie | None":
        """Take the refresh token out of a response; return the cookie that carries it instead."""
        if self.ends:
            return LoginCookie(self.secure)
        if "tokens" not in response.DESCRIPTOR.fields_by_name or not response.HasField("tokens"):
            return None
        tokens = response.tokens  # type: ignore[attr-defined]  # checked above
        lifetime_s = tokens.refresh_expires_at.seconds - tokens.access_expires_at.seconds
        cookie = LoginCookie(self.secure, tokens.refresh_token, lifetime_s)
        tokens.refresh_token = ""
        return cookie


@dataclass(frozen=True, slots=True)
class LoginCookie:
    """A cookie to set, or to delete if the token is empty."""

    secure: bool
    token: str = ""
    lifetime_s: int = 0

    def set_on(self, response: web.StreamResponse) -> None:
        """Add the cookie to a response."""
        response.set_cookie(
            COOKIE,
            self.token,
            max_age=self.lifetime_s if self.token else 0,
            path=COOKIE_PATH,
            secure=self.secure,
            httponly=True,
            samesite="Strict",
        )


def browser_login(request: web.Request, method: Method, message: Message, public_origin: str) -> BrowserLogin | None:
    """Return how a request uses the cookie, and put the cookie's token into its message; None without a cookie.

    Args:
        request: the HTTP request.
        method: the method that it calls.
        message: the request of the method.
        public_origin: the gateway's address for browsers; empty if it is not configured.

    Raises:
        PermissionDeniedError: the request would use the cookie, and comes from another site.
    """
    if method.service not in LOGIN_SERVICES or not _is_about_sessions(method):
        return None
    takes = "refresh_token" in message.DESCRIPTOR.fields_by_name and not message.refresh_token  # type: ignore[attr-defined]
    token = request.cookies.get(COOKIE, "") if takes else ""
    if not token and request.headers.get(MODE_HEADER) != "cookie":
        return None
    origin = own_origin(request, public_origin)
    if takes:
        message.refresh_token = token  # type: ignore[attr-defined]
    return BrowserLogin(urlsplit(origin).scheme == "https", method.descriptor.name in ENDINGS)


def _is_about_sessions(method: Method) -> bool:
    """Whether a method takes or gives a refresh token, or ends the session. A browser sends no `Origin` with reads."""
    takes = "refresh_token" in method.descriptor.input_type.fields_by_name
    gives = "tokens" in method.descriptor.output_type.fields_by_name
    return takes or gives or method.descriptor.name in ENDINGS


def own_origin(request: web.Request, public_origin: str) -> str:
    """Return the `Origin` of a request that comes from our own page.

    Raises:
        PermissionDeniedError: it comes from another site, or does not say from where.
    """
    origin = request.headers.get("Origin", "")
    if (origin and origin == public_origin) or _is_at(origin, request.host):
        return origin
    raise PermissionDeniedError(
        "the login of the browser was not used: the request does not come from the page of this gateway",
        hint="open the dashboard at the gateway's own address; other clients send their tokens in the body",
    )


def _is_at(origin: str, host: str) -> bool:
    """Whether an origin is the page of the server that a `Host` header names, over HTTP or HTTPS."""
    scheme, separator, place = origin.partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None or not separator or not place:
        return False
    # Browsers leave out the default port; some proxies and clients write it.
    return place.casefold() in {host.casefold(), host.casefold().removesuffix(f":{port}")}

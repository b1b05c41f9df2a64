"""The login of a browser through an identity provider: two routes of the gateway.

`POST /api/v1/auth/oidc/start` answers with the address of the provider's login page and gives the browser a cookie. The
provider sends the browser to `GET /api/v1/auth/oidc/callback`, which completes the login in this browser only, sets the
cookie of the session and redirects to the dashboard. That request comes by a link from another site, so the first
cookie is `SameSite=Lax`; the cookie of the session stays `Strict`, since the page of the dashboard itself asks for it.
"""

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from google.protobuf.message import Message

from countline.v1 import oidc_pb2
from countline_analytics.api.browser_login import BrowserLogin, own_origin
from countline_analytics.api.gateway import REQUEST_ID, CallContext, Upstream, success
from countline_analytics.api.protection.rates import ADDRESS, RateLimits
from countline_analytics.api.services import Method
from countline_analytics.api.time_limits import time_limit
from countline_common.access.oidc_redirects import GATEWAY_CALLBACK
from countline_common.errors import CountlineError
from countline_common.grpc.permissions import method_policy
from countline_common.logs import get_logger

OIDC_SERVICE: Final = "countline.v1.OidcService"
LOGIN_COOKIE: Final = "countline_oidc"
FOLDER: Final = "/api/v1/auth/oidc"
START_PATH: Final = f"{FOLDER}/start"
LOGIN_S: Final = 600
"""As long as auth accepts the answer of the provider."""
PAGE: Final = "/"
"""The only place to which the callback redirects: an address in a request would let another site choose it."""
ERROR_PARAMETER: Final = "login_error"

_log = get_logger(__name__)


def add_oidc_routes(app: web.Application, upstream: Upstream, rates: RateLimits, public_origin: str) -> None:
    """Add both routes.

    Args:
        app: gets the routes.
        upstream: the service of logins through a provider.
        rates: counts the requests of each address.
        public_origin: the gateway's address for browsers; empty if it is not configured.
    """

    async def start(request: web.Request) -> web.StreamResponse:
        await rates.count_login(request)
        origin = own_origin(request, public_origin)
        message = oidc_pb2.StartOidcLoginRequest(redirect_uri=f"{public_origin or origin}{GATEWAY_CALLBACK}")
        started: Any = await _call(upstream, request, "StartOidcLogin", message)
        answer = await success(oidc_pb2.StartOidcLoginResponse(authorization_url=started.authorization_url))
        _set_cookie(answer, started.login, LOGIN_S, secure=urlsplit(origin).scheme == "https")
        return answer

    async def callback(request: web.Request) -> web.StreamResponse:
        await rates.count_login(request)
        given = request.query
        message = oidc_pb2.FinishOidcLoginRequest(
            login=request.cookies.get(LOGIN_COOKIE, ""),
            state=given.get("state", ""),
            code=given.get("code", ""),
            issuer=given.get("iss", ""),
            error=given.get("error", ""),
        )
        try:
            response: Any = await _call(upstream, request, "FinishOidcLogin", message)
        except CountlineError as error:
            # A person sees this answer: the page says what went wrong. Only our own code reaches its address, since a
            # text from the request would let another site put words into our page.
            _log.info("oidc.refused", code=error.code, problem=error.message, request_id=request[REQUEST_ID])
            answer = _redirect(f"{PAGE}?{urlencode({ERROR_PARAMETER: error.code.lower()})}")
        else:
            answer = _redirect(PAGE)
            secure = urlsplit(response.redirect_uri).scheme == "https"
            cookie = BrowserLogin(secure).answer(response)
            assert cookie is not None  # the answer of a login has tokens
            cookie.set_on(answer)
        _set_cookie(answer, "", 0, secure=False)
        return answer

    app.router.add_post(START_PATH, start)
    app.router.add_get(GATEWAY_CALLBACK, callback, allow_head=False)


async def _call(upstream: Upstream, request: web.Request, name: str, message: Message) -> Message:
    descriptor = oidc_pb2.DESCRIPTOR.services_by_name["OidcService"].methods_by_name[name]
    method = Method(descriptor, (), method_policy(f"/{OIDC_SERVICE}/{name}"))
    context = CallContext("", request[REQUEST_ID], time_limit(START_PATH, "POST"), request[ADDRESS])
    return await upstream.call(method, message, context)


def _redirect(to: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": to, "Cache-Control": "no-store"})


def _set_cookie(response: web.StreamResponse, value: str, lifetime_s: int, *, secure: bool) -> None:
    response.set_cookie(
        LOGIN_COOKIE, value, max_age=lifetime_s, path=FOLDER, secure=secure, httponly=True, samesite="Lax"
    )

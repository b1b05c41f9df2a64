"""The gateway: REST for every service of the contract, derived from its annotations.

The gateway checks the caller's token before it reads a body. It calls the control-plane's services by gRPC with that
token; each service checks the caller's permission. This process answers the service of analytics itself and checks the
same option of the contract.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote

import grpc
from aiohttp import web
from google.protobuf import message_factory
from google.protobuf.message import Message
from sqlalchemy.exc import InterfaceError, OperationalError

from countline_analytics.api.browser_login import browser_login
from countline_analytics.api.protection.bodies import json_body
from countline_analytics.api.protection.rates import ADDRESS, RateLimits
from countline_analytics.api.services import Method
from countline_analytics.api.time_limits import TimeLimit, time_limit, within
from countline_analytics.api.transcoding import Route, build_request
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.service import Handler
from countline_common.audit.calls import OK, AuditedCall, AuditTrail, resource_of, set_current_call
from countline_common.errors import CountlineError, InvalidInputError, UnauthenticatedError, UnavailableError
from countline_common.grpc.authorization import bearer_token, check_permission, check_reach, record_caller
from countline_common.grpc.errors import translated
from countline_common.grpc.tokens import Principal, TokenVerifier
from countline_common.http.request_ids import REQUEST_ID_KEY
from countline_common.http.rest_json import to_json

MOST_BODY_BYTES: Final = 8 * 1024 * 1024
MOST_PUBLIC_BODY_BYTES: Final = 64 * 1024
"""Limit for methods that need no token, such as a login."""
LARGE_BYTES: Final = 20_000
"""Larger answers are rendered in a thread, so that the event loop keeps running."""
LONGEST_AUTHORIZATION: Final = 7000
"""Characters. A token names permissions and scopes; gRPC takes 8 KB of metadata."""
REQUEST_ID: Final = web.RequestKey("request_id", str)


@dataclass(frozen=True, slots=True)
class CallContext:
    """Headers and addresses that accompany a request."""

    authorization: str
    """The header as received; empty if there was none."""
    request_id: str
    limit: TimeLimit
    """Time and retries of the request."""
    client_address: str = ""
    """Address of the caller; empty if unknown (`client_address`)."""


class Upstream(Protocol):
    """Answers the methods of a service."""

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        """Answer a request.

        Raises:
            CountlineError: the service refuses or fails.
        """
        ...


class RemoteUpstream:
    """A service behind gRPC.

    Args:
        channel: connects to the service.
        address: HOST:PORT of the service, for errors.
    """

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self._channel = channel
        self._address = address

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        response_class = message_factory.GetMessageClass(method.descriptor.output_type)
        call = self._channel.unary_unary(
            method.path, request_serializer=_serialized, response_deserializer=response_class.FromString
        )
        metadata = [(REQUEST_ID_KEY, context.request_id)]
        if context.authorization:
            metadata.append(("authorization", context.authorization))
        if context.client_address:
            metadata.append(("x-forwarded-for", context.client_address))

        async def attempt(left_s: float) -> Message:
            with translated(self._address):
                response: Message = await call(request, timeout=left_s, metadata=metadata)
            return response

        return await within(context.limit, attempt)


def _serialized(message: Message) -> bytes:
    # Call the serializer of the concrete class: that of the base class raises, and gRPC would send an empty message.
    return message.SerializeToString()


class LocalUpstream:
    """A service in this process.

    Args:
        handlers: its methods by name.
        verifier: checks access tokens.
        site_of: finds the site of a camera for a caller.
        trail: completes the audit rows of calls.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        verifier: TokenVerifier,
        site_of: Callable[[Caller, str], Awaitable[str]],
        trail: AuditTrail,
    ) -> None:
        self._handlers = handlers
        self._verifier = verifier
        self._site_of = site_of
        self._trail = trail

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        principal = await self._verifier.identify(bearer_token(context.authorization))
        if not method.policy.audited:
            return await self._answer(method, request, principal, context)
        name = method.path.strip("/")
        audited = AuditedCall(name, context.request_id, context.client_address)
        record_caller(audited, principal)
        audited.resource = resource_of(name, request)
        set_current_call(audited)
        try:
            response = await self._answer(method, request, principal, context)
        except BaseException as error:
            await self._trail.finish(audited, *_outcome(error))
            raise
        finally:
            set_current_call(None)  # the next request of the connection runs in the same task
        await self._trail.finish(audited, OK, "")
        return response

    async def _answer(self, method: Method, request: Message, principal: Principal, context: CallContext) -> Message:
        check_permission(principal, method.path, method.policy)
        self._verifier.gate(method.path)
        caller = Caller(principal, context.authorization, principal.reach(method.policy.permission))
        site_of = partial(self._site_of, caller)
        await check_reach(caller.principal, method.path, method.policy, request, site_of)

        async def attempt(_: float) -> Message:
            try:
                response: Message = await self._handlers[method.descriptor.name](request, caller)
            except (OperationalError, InterfaceError) as error:
                if not error.connection_invalidated:
                    raise
                raise UnavailableError("the database does not answer", hint="try again later") from error
            return response

        return await within(context.limit, attempt)


def _outcome(error: BaseException) -> tuple[str, str]:
    """Return the status of a call that failed, and why."""
    if isinstance(error, CountlineError):
        return error.code, error.message
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED", "the caller disconnected"
    if isinstance(error, TimeoutError):
        return "DEADLINE_EXCEEDED", "the call took too long"
    return "INTERNAL", "something went wrong on our side"


class WatchedUpstream:
    """A service whose changes are announced to other parts of this process.

    Args:
        upstream: the service.
        changed: called after each successful call that may have changed something.
    """

    def __init__(self, upstream: Upstream, changed: Callable[[], None]) -> None:
        self._upstream = upstream
        self._changed = changed

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        response = await self._upstream.call(method, request, context)
        if not method.only_reads:
            self._changed()
        return response


class UnroutedServiceError(InvalidInputError):
    """The contract opens a service to HTTP, but no upstream answers it."""


def add_routes(
    app: web.Application,
    methods: Iterable[Method],
    upstreams: Mapping[str, Upstream],
    verifier: TokenVerifier,
    rates: RateLimits,
    public_origin: str = "",
) -> None:
    """Add a route for each annotation.

    Args:
        app: gets the routes.
        methods: methods of the contract.
        upstreams: by full name of the service.
        verifier: checks access tokens.
        rates: counts the requests of each caller.
        public_origin: the gateway's address for browsers; empty if it is not configured.

    Raises:
        UnroutedServiceError: a service has no upstream.
    """
    for method in methods:
        upstream = upstreams.get(method.service)
        if upstream is None:
            raise UnroutedServiceError(f"{method.service} has HTTP routes but no upstream")
        for route in method.routes:
            handler = _handler(method, route, upstream, verifier, rates, public_origin)
            app.router.add_route(route.method, route.aiohttp_path, handler)
            if route.method == "GET":
                app.router.add_route("HEAD", route.aiohttp_path, handler)


def _handler(
    method: Method, route: Route, upstream: Upstream, verifier: TokenVerifier, rates: RateLimits, public_origin: str
) -> Any:
    limit = time_limit(route.path, route.method)
    most_bytes = MOST_PUBLIC_BODY_BYTES if method.policy.public else MOST_BODY_BYTES

    async def handle(request: web.Request) -> web.StreamResponse:
        context = CallContext(_authorization(request), request[REQUEST_ID], limit, request[ADDRESS])
        if method.policy.public:
            await rates.count_login(request)
        else:
            token = bearer_token(context.authorization)
            await rates.count_caller(request, await verifier.identify(token), token)
        values = [request.match_info[name] for name in route.parameters]
        body = await json_body(request, most_bytes)
        message = build_request(method.descriptor.input_type, route, values, request.query.items(), body)
        browser = browser_login(request, method, message, public_origin)
        response = await upstream.call(method, message, context)
        cookie = browser.answer(response) if browser is not None else None
        data = getattr(response, route.response_body) if route.response_body else response
        if item := method.creates(route):
            location = f"{request.rel_url.raw_path}/{quote(str(getattr(data, item)), safe='')}"
            return await success(data, HTTPStatus.CREATED, {"Location": location})
        answer = await success(data)
        if cookie is not None:
            cookie.set_on(answer)
        return answer

    return handle


def _authorization(request: web.Request) -> str:
    """Return the header `Authorization`; empty if there is none.

    Raises:
        UnauthenticatedError: it cannot hold a token of ours, or there are several.
    """
    given = request.headers.getall("Authorization", ())
    found = given[0] if given else ""
    # gRPC refuses long metadata with a status that says nothing about tokens. A proxy and this process could each check
    # another one of several headers.
    if len(given) > 1 or len(found) > LONGEST_AUTHORIZATION or not found.isascii() or not found.isprintable():
        raise UnauthenticatedError("the Authorization header holds no token of ours", hint="log in again")
    return found


async def success(
    message: Message, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a message as a success response."""
    if message.ByteSize() > LARGE_BYTES:
        text = await asyncio.to_thread(_render, message)
    else:
        text = _render(message)
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def _render(message: Message) -> str:
    return json.dumps({"success": True, "data": to_json(message)}, ensure_ascii=False, separators=(",", ":"))

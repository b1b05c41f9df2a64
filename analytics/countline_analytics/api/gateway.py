"""The gateway: REST for every service of the contract, derived from its annotations.

Control-plane services are called by gRPC with the caller's own token, and decide themselves what the caller may do;
the services of analytics are answered in this process, which decides by the same option of the contract.
"""

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from aiohttp import web
from google.protobuf import message_factory
from google.protobuf.message import Message

from countline_analytics.api.services import Method
from countline_analytics.api.transcoding import Route, build_request
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.service import Handler
from countline_common.addresses import Network, address, calling
from countline_common.errors import InvalidInputError, UnauthenticatedError
from countline_common.grpc.authorization import authorize
from countline_common.grpc.errors import translated
from countline_common.grpc.tokens import TokenVerifier
from countline_common.http.rest_json import to_json

CALL_TIMEOUT_S: Final = 15.0
MODEL_CHANGE_TIMEOUT_S: Final = 250.0
"""Of calls that change models: Triton loads, and may build an engine first. The service itself gives up before."""
LARGE_BYTES: Final = 20_000
"""Answers above this are rendered in a thread, so that the event loop turns meanwhile."""
REQUEST_ID: Final = web.RequestKey("request_id", str)


@dataclass(frozen=True, slots=True)
class CallContext:
    """What goes along with a request."""

    authorization: str
    """The header as it came; empty where there was none."""
    request_id: str
    client_address: str = ""
    """Of whoever calls; empty where it says nothing about them, see `client_address`."""


class Backend(Protocol):
    """Where the methods of a service are answered."""

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        """Answer a request.

        Raises:
            CountlineError: what the service says is wrong.
        """
        ...


class RemoteBackend:
    """A service behind gRPC.

    Args:
        channel: to it.
        change_timeout_s: how long a call may take that changes something; None for as long as any other.
    """

    def __init__(self, channel: grpc.aio.Channel, change_timeout_s: float | None = None) -> None:
        self._channel = channel
        self._change_timeout_s = change_timeout_s

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        """See `Backend`."""
        response_class = message_factory.GetMessageClass(method.descriptor.output_type)
        call = self._channel.unary_unary(
            method.path, request_serializer=_serialized, response_deserializer=response_class.FromString
        )
        metadata = [("x-request-id", context.request_id)]
        if context.authorization:
            metadata.append(("authorization", context.authorization))
        if context.client_address:
            metadata.append(("x-forwarded-for", context.client_address))
        with translated():
            response: Message = await call(request, timeout=self._timeout_s(method), metadata=metadata)
        return response

    def _timeout_s(self, method: Method) -> float:
        return CALL_TIMEOUT_S if method.only_reads else self._change_timeout_s or CALL_TIMEOUT_S


def _serialized(message: Message) -> bytes:
    # Each class has a serializer of its own; that of the base class raises, and gRPC would send an empty message.
    return message.SerializeToString()


class LocalBackend:
    """A service in this process."""

    def __init__(self, handlers: Mapping[str, Handler], verifier: TokenVerifier) -> None:
        self._handlers = handlers
        self._verifier = verifier

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        """See `Backend`."""
        caller = self._caller(method, context)
        async with asyncio.timeout(CALL_TIMEOUT_S):
            response: Message = await self._handlers[method.descriptor.name](request, caller)
        return response

    def _caller(self, method: Method, context: CallContext) -> Caller:
        principal = authorize(self._verifier, context.authorization, method.path, method.policy)
        return Caller(principal, context.authorization)


class UnroutedServiceError(InvalidInputError):
    """The contract opens a service to HTTP, and nobody said where it is answered."""


def add_routes(
    app: web.Application,
    methods: Iterable[Method],
    backends: Mapping[str, Backend],
    proxies: Collection[Network] = (),
) -> None:
    """Add a route for each annotation.

    Args:
        app: what the routes are added to.
        methods: of the contract.
        backends: by full name of the service.
        proxies: networks of the proxies in front, whose word for a client's address is taken.

    Raises:
        UnroutedServiceError: a service has no backend.
    """
    for method in methods:
        backend = backends.get(method.service)
        if backend is None:
            raise UnroutedServiceError(f"{method.service} has HTTP routes and no backend")
        for route in method.routes:
            app.router.add_route(route.method, route.aiohttp_path, _handler(method, route, backend, proxies))


def _handler(method: Method, route: Route, backend: Backend, proxies: Collection[Network]) -> Any:
    async def handle(request: web.Request) -> web.StreamResponse:
        values = [request.match_info[f"v{i}"] for i in range(len(route.variables))]
        body = await _json_body(request)
        message = build_request(method.descriptor.input_type, route, values, request.query.items(), body)
        response = await backend.call(method, message, _context(request, proxies))
        return await success(response)

    return handle


def _context(request: web.Request, proxies: Collection[Network]) -> CallContext:
    authorization = request.headers.get("Authorization", "")
    if not authorization.isascii() or not authorization.isprintable():
        raise UnauthenticatedError("the Authorization header holds what no token has", hint="log in again")
    # Each proxy may add a header of its own instead of adding to the one that came.
    forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", ()))
    return CallContext(authorization, request[REQUEST_ID], client_address(request.remote or "", forwarded_for, proxies))


def client_address(peer: str, forwarded_for: str, proxies: Collection[Network]) -> str:
    """The address of whoever calls; empty where it says nothing about them.

    That is so behind a proxy that does not say for whom it asks, and on the loopback of this machine, where a proxy may
    stand that nobody told us of: to count wrong passwords by its address would let one person lock out all the others.

    Args:
        peer: who has connected.
        forwarded_for: what came along.
        proxies: networks of the proxies whose word is taken.
    """
    connected = address(peer)
    found = calling(connected, forwarded_for, proxies)
    if found is None or (found == connected and found.is_loopback):
        return ""
    return str(found)


async def _json_body(request: web.Request) -> Any:
    """The body, parsed; None where there is none."""
    data = await request.read()
    if not data.strip():
        return None
    try:
        return json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the body is no JSON: {error}", hint="send a JSON object") from error


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


async def success(message: Message) -> web.Response:
    """A message as a successful answer."""
    if message.ByteSize() > LARGE_BYTES:
        text = await asyncio.to_thread(_render, message)
    else:
        text = _render(message)
    return web.Response(text=text, content_type="application/json")


def _render(message: Message) -> str:
    return json.dumps({"success": True, "data": to_json(message)}, ensure_ascii=False, separators=(",", ":"))

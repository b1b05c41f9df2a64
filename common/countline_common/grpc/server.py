"""A gRPC server as every service of ours runs it.

Who may call is decided, errors are mapped, calls are logged and measured, health and reflection are there, and it
stops without cutting off what is under way. A method is open to whoever holds the permission that its .proto names;
one that names none is closed to everybody. Who calls is found by `current_principal()` from inside a method.
Reflection and health are open: they tell what this repository publishes anyhow.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from prometheus_client import Counter, Gauge, Histogram

from countline_common.errors import (
    CountlineError,
    DeadlineExceededError,
    InternalError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from countline_common.grpc.errors import to_status
from countline_common.grpc.permissions import OPEN_SERVICES, method_policy
from countline_common.grpc.tokens import Principal, TokenVerifier
from countline_common.logs import get_logger
from countline_common.settings import host_port
from countline_common.waiting import happens

CALL_LIMIT_S: Final = 30.0
"""How long one call may take where its server says nothing else, whatever deadline the caller set; streams are not
limited."""
CHECK_PERIOD_S: Final = 1.0
CHECK_TIMEOUT_S: Final = 3.0
STOP_GRACE_S: Final = 5.0
MESSAGE_LIMIT: Final = 16 * 1024 * 1024
OPTIONS: Final = [
    ("grpc.so_reuseport", 0),  # a second process on the same port is an error, not a partner
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # A peer that vanished without a word is noticed after at most 15 s, instead of when TCP gives up.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]
REQUEST_ID_KEY: Final = "x-request-id"

CALLS: Final = Histogram("countline_grpc_server_seconds", "Time that calls took", ["method", "code"])
OPEN_CALLS: Final = Gauge("countline_grpc_server_open_calls", "Calls and streams under way", ["method"])
REFUSED: Final = Counter("countline_grpc_server_refused_total", "Calls without the right to make them", ["method"])

Context = grpc.aio.ServicerContext[Any, Any]
"""What gRPC hands to each method beside the request."""
Translate = Callable[[Exception], CountlineError | None]
"""What an exception of a library stands for; None where it is a fault of ours."""
Check = Callable[[], Awaitable[None]]
"""Returns when a service can work and raises, with a reason, when it cannot."""

_log = get_logger(__name__)
_principal: ContextVar[Principal | None] = ContextVar("principal", default=None)
_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_principal() -> Principal:
    """Who makes the call that is being answered.

    Raises:
        UnauthenticatedError: nobody that is known; can only happen in a public method.
    """
    principal = _principal.get()
    if principal is None:
        raise UnauthenticatedError("nobody is logged in", hint="log in: countline login")
    return principal


def current_request_id() -> str:
    """The number of the call that is being answered, as it stands in the log and in the error that the caller gets."""
    return _request_id.get()


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a server."""

    name: str
    """Full name, such as `countline.v1.AuthService`."""
    register: Callable[[grpc.aio.Server], None]
    check: Check
    """Whether it can work; gRPC's health service and load balancers go by it."""


class _Call:
    """One call on its way through: authorised, measured, its errors mapped."""

    def __init__(self, method: str, context: Any, verifier: TokenVerifier, translate: Translate) -> None:
        self._method = method
        self._context = context
        self._verifier = verifier
        self._translate = translate
        self._metadata = dict(context.invocation_metadata() or ())
        self._started = time.perf_counter()
        self._id = str(self._metadata.get(REQUEST_ID_KEY) or secrets.token_hex(8))[:64]

    def __enter__(self) -> Self:
        _request_id.set(self._id)
        _principal.set(None)
        OPEN_CALLS.labels(self._method).inc()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        OPEN_CALLS.labels(self._method).dec()

    def authorize(self) -> None:
        """Let the caller pass or raise."""
        policy = method_policy(self._method)
        if policy.public:
            return
        try:
            _principal.set(self._permitted(policy.permission))
        except CountlineError:
            REFUSED.labels(self._method).inc()
            raise

    def _permitted(self, permission: str) -> Principal:
        principal = self._verifier.verify(self._token())
        if not permission:
            raise PermissionDeniedError(f"{self._method} states no permission, so nobody may call it")
        if not principal.may(permission):
            raise PermissionDeniedError(
                f"{principal.name} may not call {self._method}: the permission {permission!r} is missing",
                hint="ask an administrator for a role that has it",
            )
        return principal

    def _token(self) -> str:
        scheme, _, token = str(self._metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError("no access token was sent", hint="log in: countline login")
        return token.strip()

    def succeeded(self) -> None:
        """Note the end of a call that went well."""
        self._note("OK")

    async def fail(self, error: BaseException) -> None:
        """End the call with the status that an exception stands for; always raises."""
        if isinstance(error, asyncio.CancelledError) or self._context.done():
            self._note("CANCELLED")
            raise error
        if isinstance(error, grpc.aio.AbortError):
            raise error
        stands_for = self._stands_for(error)
        self._note(stands_for.code, stands_for.message)
        status = rpc_status.to_status(to_status(stands_for, self._id))
        await self._context.abort(status.code, status.details, status.trailing_metadata)

    def _stands_for(self, error: BaseException) -> CountlineError:
        if isinstance(error, CountlineError):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineExceededError(f"{self._method} took too long", hint="try again later")
        translated = self._translate(error) if isinstance(error, Exception) else None
        if translated is not None:
            return translated
        _log.error("grpc.fault", method=self._method, request_id=self._id, exc_info=error)
        return InternalError("something went wrong on our side", hint=f"look for request {self._id} in the log")

    def _note(self, code: str, problem: str = "") -> None:
        seconds = time.perf_counter() - self._started
        CALLS.labels(self._method, code).observe(seconds)
        if self._method.strip("/").partition("/")[0] in OPEN_SERVICES:
            return  # probes would drown everything else
        principal = _principal.get()
        _log.info(
            "grpc.call",
            method=self._method,
            code=code,
            ms=round(seconds * 1e3, 1),
            request_id=self._id,
            user=principal.name if principal else None,
            **({"problem": problem} if problem else {}),
        )


class _Gatekeeper(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps the handler of every method in a `_Call`."""

    def __init__(self, verifier: TokenVerifier, translate: Translate, call_limit_s: float) -> None:
        self._verifier = verifier
        self._translate = translate
        self._call_limit_s = call_limit_s

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(method, handler.stream_stream), *codec)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), *codec)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self._unary(method, handler.stream_unary), *codec)
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), *codec)

    def _unary(self, method: str, behaviour: Any) -> Any:
        async def call(request: Any, context: Any) -> Any:
            with _Call(method, context, self._verifier, self._translate) as call:
                try:
                    call.authorize()
                    async with asyncio.timeout(self._call_limit_s):
                        response = await behaviour(request, context)
                except BaseException as error:  # noqa: BLE001  (mapped to a status, or raised again)
                    return await call.fail(error)
                call.succeeded()
                return response

        return call

    def _stream(self, method: str, behaviour: Any) -> Any:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            with _Call(method, context, self._verifier, self._translate) as call:
                try:
                    call.authorize()
                    answered = behaviour(request, context)
                    if hasattr(answered, "__aiter__"):
                        async with contextlib.aclosing(answered) as responses:
                            async for response in responses:
                                yield response
                    else:  # health and reflection write by themselves
                        await answered
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (as above)
                    await call.fail(error)
                    return
                call.succeeded()

        return call


class GrpcServer:
    """Services on one address, as an async context manager.

    Args:
        address: `host:port`; port 0 picks a free one, see `address` afterwards.
        services: what is served.
        verifier: checks access tokens.
        translate: maps exceptions of libraries, such as those of a database that is away.
        before_stop: called first when stopping, to end streams that would otherwise last for ever.
        call_limit_s: how long one call may take.
    """

    def __init__(
        self,
        address: str,
        services: tuple[Service, ...],
        verifier: TokenVerifier,
        *,
        translate: Translate = lambda _: None,
        before_stop: Callable[[], None] = lambda: None,
        call_limit_s: float = CALL_LIMIT_S,
    ) -> None:
        host_port(address)
        self._wanted_address = address
        self._services = services
        self._interceptor = _Gatekeeper(verifier, translate, call_limit_s)
        self._before_stop = before_stop
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.address = address
        """Where it listens, once started."""

    async def __aenter__(self) -> Self:
        server = grpc.aio.server(interceptors=(self._interceptor,), options=OPTIONS)
        for service in self._services:
            service.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [service.name for service in self._services]
        reflection.enable_server_reflection([*names, *sorted(OPEN_SERVICES)], server)
        self.address = self._bind(server)
        await self._update_health()
        await server.start()
        self._server = server
        self._watch = asyncio.create_task(self._watch_health(), name=f"health of {self.address}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._stopping.set()
            await self._watch
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            self._before_stop()
            await self._server.stop(STOP_GRACE_S)

    def _bind(self, server: grpc.aio.Server) -> str:
        host, _, _ = self._wanted_address.rpartition(":")
        try:
            port = server.add_insecure_port(self._wanted_address)
        except RuntimeError as error:
            raise UnavailableError(
                f"{self._wanted_address} cannot be listened on", hint="another process has the port: choose another one"
            ) from error
        return f"{host}:{port}"

    async def _watch_health(self) -> None:
        while not self._stopping.is_set():
            await happens(self._stopping, CHECK_PERIOD_S)
            await self._update_health()

    async def _update_health(self) -> None:
        results = await asyncio.gather(*(_passes(service.check) for service in self._services))
        by_name: Mapping[str, bool] = dict(zip((service.name for service in self._services), results, strict=True))
        for name, serving in {**by_name, "": all(results)}.items():
            status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            await self._health.set(name, status)


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except Exception as error:  # noqa: BLE001  (whatever a check raises means: not now)
        _log.debug("grpc.check_failed", error=str(error))
        return False
    return True

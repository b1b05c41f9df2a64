"""What happens to every call before and after its method runs: authorisation, time limit, errors, log, metrics.

A method can read who calls it with `current_principal()`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Self

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from prometheus_client import Counter, Gauge, Histogram
from structlog.contextvars import bind_contextvars

from countline_common.audit.calls import AuditedCall, AuditTrail, resource_of, set_current_call
from countline_common.errors import (
    CountlineError,
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from countline_common.grpc.authorization import (
    SiteOf,
    bearer_token,
    check_permission,
    check_reach,
    no_sites,
    record_caller,
)
from countline_common.grpc.errors import to_status
from countline_common.grpc.permissions import OPEN_SERVICES, method_policy
from countline_common.grpc.texts import check_texts
from countline_common.grpc.tokens import Principal, TokenVerifier
from countline_common.http.client_address import Network, caller_address
from countline_common.http.request_ids import REQUEST_ID_KEY, request_id_of
from countline_common.logs import get_logger

DRAIN_S: Final = 2.0
"""How long the messages of a refused stream are read at most."""
RECHECK_S: Final = 1.0
"""How often the access of the caller of an open stream is checked again."""
DRAIN_GAP_S: Final = 0.1
"""The caller of a refused stream that sends nothing for so long has sent all."""

CALLS: Final = Histogram("countline_grpc_server_seconds", "Time that calls took", ["method", "code"])
OPEN_CALLS: Final = Gauge("countline_grpc_server_open_calls", "Calls and streams in progress", ["method"])
REFUSED: Final = Counter("countline_grpc_server_refused_total", "Calls without a token or permission", ["method"])

Context = grpc.aio.ServicerContext[Any, Any]
"""What gRPC passes to each method beside the request."""
Translate = Callable[[Exception], CountlineError | None]
"""Maps an exception of a library to an error of ours; None if the exception is a bug."""

_log = get_logger(__name__)
_principal: ContextVar[Principal | None] = ContextVar("principal", default=None)


def current_principal() -> Principal:
    """The caller of the current call.

    Raises:
        UnauthenticatedError: the caller is unknown; this happens in public methods only.
    """
    principal = _principal.get()
    if principal is None:
        raise UnauthenticatedError("you are not logged in", hint="log in: countline login")
    return principal


@dataclass(frozen=True, slots=True)
class CallRules:
    """What a server does with every call.

    Args:
        verifier: checks access tokens.
        translate: maps exceptions of libraries.
        call_limit_s: seconds that a method with one answer may take.
        message_limit_s: seconds in which a message has to arrive, also each one of a stream.
        site_of: finds the site of a camera that a request names.
        trails: by full name of a service, where the rows of its calls go.
        proxies: networks of our own proxies: their header names the address of a caller.
    """

    verifier: TokenVerifier
    translate: Translate
    call_limit_s: float
    message_limit_s: float
    site_of: SiteOf = no_sites
    trails: Mapping[str, AuditTrail] = field(default_factory=dict)
    proxies: Collection[Network] = ()


class _Call:
    """One call: authorises it, measures it, maps its errors, and completes its audit row."""

    def __init__(self, method: str, context: Any, rules: CallRules) -> None:
        self._method = method
        self._site_of = rules.site_of
        self._context = context
        self._verifier = rules.verifier
        self._translate = rules.translate
        self._metadata = dict(context.invocation_metadata() or ())
        self._started = time.perf_counter()
        self._id = request_id_of(str(self._metadata.get(REQUEST_ID_KEY, "")))
        self._trail = rules.trails.get(method.strip("/").partition("/")[0])
        self._audited = self._new_row(rules) if self._trail and method_policy(method).audited else None

    def _new_row(self, rules: CallRules) -> AuditedCall:
        forwarded_for = str(self._metadata.get("x-forwarded-for", ""))
        address = caller_address(self._context.peer(), forwarded_for, rules.proxies)
        return AuditedCall(self._method.strip("/"), self._id, address)

    def __enter__(self) -> Self:
        bind_contextvars(request_id=self._id)
        _principal.set(None)
        set_current_call(self._audited)
        OPEN_CALLS.labels(self._method).inc()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        OPEN_CALLS.labels(self._method).dec()

    async def authorize(self) -> None:
        """Find the caller and check its permission; a public method needs neither.

        Raises:
            UnauthenticatedError: no valid token was sent.
            PermissionDeniedError: the caller lacks the method's permission.
        """
        policy = method_policy(self._method)
        if policy.public:
            self._verifier.gate(self._method)
            return
        try:
            authorization = str(self._metadata.get("authorization", ""))
            principal = await self._verifier.identify(bearer_token(authorization))
            _principal.set(principal)
            if self._audited is not None:
                record_caller(self._audited, principal)
            check_permission(principal, self._method, policy)
            self._verifier.gate(self._method)
        except CountlineError:
            REFUSED.labels(self._method).inc()
            raise

    async def permitted(self, messages: "_Messages", *, streams: bool) -> Any:
        """Return what the method takes, its one message or all of them, if the caller may send it.

        The audit names what a known caller wanted, also if the caller may not call the method at all.

        Raises:
            CountlineError: the caller is refused, or the message is not one of the method.
        """
        try:
            await self.authorize()
        except CountlineError:
            if self._audited is not None and _principal.get() is not None:
                wanted = None
                with contextlib.suppress(CountlineError):
                    wanted = None if streams else await messages.only()
                self._audited.resource = resource_of(self._audited.method, wanted)
            raise
        request = messages if streams else await messages.only()
        await self.check_reach(None if streams else request)
        return request

    async def check_reach(self, request: Any) -> None:
        """Check that the resource that a message names lies within the caller's reach; None for a stream.

        Raises:
            PermissionDeniedError: it lies outside.
        """
        if self._audited is not None:
            self._audited.resource = resource_of(self._audited.method, request)
        principal = _principal.get()
        if principal is None:
            return  # a public method
        try:
            await check_reach(principal, self._method, method_policy(self._method), request, self._site_of)
        except CountlineError:
            REFUSED.labels(self._method).inc()
            raise

    @contextlib.asynccontextmanager
    async def while_permitted(self) -> AsyncIterator[None]:
        """End what runs inside when the access of the caller ends, such as by a logout.

        Raises:
            UnauthenticatedError: the access has ended.
        """
        principal = _principal.get()
        if principal is None:  # a public method
            yield
            return
        try:
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(self._watch(principal, limit), name=f"access of {self._method}")
                watch.add_done_callback(_discard)
                try:
                    yield
                finally:
                    watch.cancel()
        except TimeoutError:
            if limit.expired():
                await watch
            raise

    async def _watch(self, principal: Principal, limit: asyncio.Timeout) -> None:
        credential = bearer_token(str(self._metadata.get("authorization", "")))
        try:
            while True:
                await self._verifier.again(credential, principal)
                await asyncio.sleep(RECHECK_S)
        except UnauthenticatedError:
            limit.reschedule(asyncio.get_running_loop().time())
            raise

    async def succeeded(self) -> None:
        """Log and measure a call that succeeded."""
        await self._audit("OK")
        self._record("OK")

    async def _audit(self, code: str, problem: str = "") -> None:
        """Complete the audit row. A call without a valid token leaves none: its caller is unknown.

        A login that has to wait leaves none either: a flood of logins would fill the audit and load the database.
        """
        is_known = _principal.get() is not None or (
            method_policy(self._method).public and code != ResourceExhaustedError.code
        )
        if self._trail is not None and self._audited is not None and is_known and not self._audited.elsewhere:
            await self._trail.finish(self._audited, code, problem)

    async def fail(self, error: BaseException) -> None:
        """End the call with the status of an exception; always raises."""
        if isinstance(error, asyncio.CancelledError) or self._context.done():
            self._record("CANCELLED")
            await self._audit("CANCELLED", "the caller disconnected")
            raise error
        if isinstance(error, grpc.aio.AbortError):
            raise error
        mapped = self._as_ours(error)
        await self._audit(mapped.code, mapped.message)
        self._record(mapped.code, mapped.message)
        status = rpc_status.to_status(to_status(mapped, self._id))
        await self._context.abort(status.code, status.details, status.trailing_metadata)

    def _as_ours(self, error: BaseException) -> CountlineError:
        if isinstance(error, CountlineError):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineExceededError(f"{self._method} took too long", hint="try again later")
        translated = self._translate(error) if isinstance(error, Exception) else None
        if translated is not None:
            return translated
        _log.error("grpc.fault", method=self._method, request_id=self._id, exc_info=error)
        return InternalError("something went wrong on our side", hint=f"look for request {self._id} in the log")

    def _record(self, code: str, problem: str = "") -> None:
        seconds = time.perf_counter() - self._started
        CALLS.labels(self._method, code).observe(seconds)
        if self._method.strip("/").partition("/")[0] in OPEN_SERVICES:
            return  # health probes would fill the log
        principal = _principal.get()
        _log.info(
            "grpc.call",
            method=self._method,
            code=code,
            ms=round(seconds * 1e3, 1),
            request_id=self._id,
            user=principal.real_name if principal else None,
            **({"on_behalf_of": principal.name} if principal and principal.actor else {}),
            **({"problem": problem} if problem else {}),
        )


class _Malformed:
    """Takes the place of a request that is no message of its type."""


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A reader of requests that leaves the refusal to the call: gRPC's own would be INTERNAL with a traceback."""
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except (DecodeError, ValueError):
            return _Malformed()

    return read


class _Messages:
    """The messages of a caller, each of which has to arrive in time; an async iterator.

    Args:
        requests: gRPC's messages.
        limit_s: seconds in which the next message has to arrive.
    """

    def __init__(self, requests: AsyncIterator[Any], limit_s: float) -> None:
        self._requests = requests
        self._limit_s = limit_s
        self._reading: asyncio.Future[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Wait for the next message and check every text in it.

        Raises:
            StopAsyncIteration: the caller sends no more.
            DeadlineExceededError: the message did not arrive in time.
            InvalidInputError: the message is malformed, or holds a text that no service takes.
        """
        if not await self._arrives(self._limit_s):
            raise DeadlineExceededError(
                f"no whole message arrived within {self._limit_s:g} s",
                hint="send the message at once, or a smaller one",
            )
        assert self._reading is not None
        request, self._reading = self._reading.result(), None
        if isinstance(request, _Malformed):
            raise InvalidInputError("the request is malformed", hint="send a message of the method's request type")
        check_texts(request)
        return request

    async def only(self) -> Any:
        """The one message of a method that takes no stream; raises like `__anext__`, or if there is none."""
        try:
            return await anext(self)
        except StopAsyncIteration:
            hint = "send a message of the method's request type"
            raise InvalidInputError("the call has no message", hint=hint) from None

    async def drain(self) -> None:
        """Drop what the caller of a stream that is refused still sends, for a short while.

        gRPC's Python client that writes to a refused stream reports INTERNAL instead of the refusal.
        """
        until = time.monotonic() + DRAIN_S
        with contextlib.suppress(StopAsyncIteration):
            while time.monotonic() < until and await self._arrives(DRAIN_GAP_S):
                assert self._reading is not None
                self._reading.result()
                self._reading = None

    async def _arrives(self, limit_s: float) -> bool:
        """Whether the next message arrives in time. Its read goes on if not: gRPC's reads must not be cancelled."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._requests))
            self._reading.add_done_callback(_discard)
        await asyncio.wait({self._reading}, timeout=limit_s)
        return self._reading.done()


def _discard(reading: asyncio.Future[Any]) -> None:
    """Take the result of a read, so that asyncio does not log its exception."""
    if not reading.cancelled():
        reading.exception()


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps the handler of every method: authorisation, time limits, errors, log and metrics.

    gRPC serves each method as one that takes a stream of messages, which is the same on the wire. gRPC waits without a
    limit for the message of a method that takes one, and the caller is unknown meanwhile; here a caller is identified
    before its message is read, and a message has to arrive in time.

    Args:
        rules: what it does with every call.
    """

    def __init__(self, rules: CallRules) -> None:
        self._rules = rules

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method, streams = handler_call_details.method, handler.request_streaming
        codec = (_tolerant(handler.request_deserializer), handler.response_serializer)
        if handler.response_streaming:
            behaviour = handler.stream_stream or handler.unary_stream
            return grpc.stream_stream_rpc_method_handler(self._stream(method, behaviour, streams=streams), *codec)
        behaviour = handler.stream_unary or handler.unary_unary
        return grpc.stream_unary_rpc_method_handler(self._unary(method, behaviour, streams=streams), *codec)

    def _unary(self, method: str, behaviour: Any, *, streams: bool) -> Any:
        async def call(requests: Any, context: Any) -> Any:
            with _Call(method, context, self._rules) as call:
                messages = _Messages(requests, self._rules.message_limit_s)
                try:
                    request = await call.permitted(messages, streams=streams)
                    async with asyncio.timeout(self._rules.call_limit_s):
                        response = await behaviour(request, context)
                except BaseException as error:  # noqa: BLE001  (mapped to a status, or raised again)
                    return await call.fail(error)
                await call.succeeded()
                return response

        return call

    def _stream(self, method: str, behaviour: Any, *, streams: bool) -> Any:
        async def call(requests: Any, context: Any) -> AsyncIterator[Any]:
            with _Call(method, context, self._rules) as call:
                messages = _Messages(requests, self._rules.message_limit_s)
                try:
                    request = await call.permitted(messages, streams=streams)
                    answered = behaviour(request, context)
                    if hasattr(answered, "__aiter__"):
                        async with call.while_permitted(), contextlib.aclosing(answered) as responses:
                            async for response in responses:
                                yield response
                    else:  # health and reflection write their responses themselves
                        await answered
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (as above)
                    if streams and isinstance(error, CountlineError):
                        await messages.drain()
                    await call.fail(error)
                    return
                await call.succeeded()

        return call

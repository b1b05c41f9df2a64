"""Calls to a copy of the service of workers that does not schedule: the copy that does answers them.

So workers and clients may reach any copy, such as through a load balancer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeAlias, TypedDict, TypeVar

import grpc.aio

from countline.v1 import workers_pb2_grpc
from countline.v1.workers_pb2 import ConnectRequest, ConnectResponse
from countline_common.audit.calls import current_call
from countline_common.errors import UnavailableError
from countline_common.grpc.authorization import Metadata
from countline_common.grpc.calls import Context
from countline_common.grpc.channels import open_channel
from countline_common.grpc.errors import translated
from countline_common.http.request_ids import request_metadata
from countline_common.tasks import cancel
from countline_common.tls.files import TlsFiles
from countline_control.workers.lease import SchedulingLease

FORWARDED: Final = "countline-forwarded"
"""Name in the metadata of a call that a copy has passed on. It is passed on once."""
CALL_TIMEOUT_S: Final = 3.0
CLOSE_SETTLES_S: Final = 0.1
"""For a moment a broken connection may look like a side that was closed on purpose."""
_UNCERTAIN: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""Statuses of a call that may not have reached the holder."""
_OPTIONS: Final = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000))

_Answer = TypeVar("_Answer")
WorkerStub: TypeAlias = "workers_pb2_grpc.WorkerServiceAsyncStub"  # exists in the type stubs only


class CallOptions(TypedDict):
    """Arguments of a stub's method beside the request."""

    metadata: Metadata
    timeout: float


class Forwarding:
    """Passes calls on to the copy that holds the lease.

    Args:
        lease: knows the holder.
        tls: certificate files of the channel to it; None without TLS.
    """

    def __init__(self, lease: SchedulingLease, tls: TlsFiles | None) -> None:
        self._lease = lease
        self._tls = tls

    def applies(self, context: Context) -> bool:
        """Whether another copy can answer a call."""
        return self._lease.holder is not None and not self.was_forwarded(context)

    def was_forwarded(self, context: Context) -> bool:
        """Whether another copy has passed on a call to this one."""
        return FORWARDED in dict(context.invocation_metadata() or ())

    async def call(self, context: Context, ask: Callable[[WorkerStub, CallOptions], Awaitable[_Answer]]) -> _Answer:
        """Ask the holder on behalf of the caller.

        Args:
            context: of the caller's call.
            ask: calls the holder with the given options.

        Raises:
            CountlineError: the holder refuses, or does not answer.
        """
        async with self._holder() as (stub, _):
            with translated(), _row_of_holder():
                return await ask(stub, CallOptions(metadata=_metadata(context), timeout=CALL_TIMEOUT_S))

    async def connect(
        self, requests: AsyncIterator[ConnectRequest], context: Context
    ) -> AsyncGenerator[ConnectResponse, None]:
        """Connect a worker to the holder until either side ends, or another copy takes the lease.

        Raises:
            CountlineError: the holder refuses the worker, does not answer, or schedules no more.
        """
        async with self._holder() as (stub, number):
            call = stub.Connect(_settled(requests), metadata=_metadata(context))
            moved = asyncio.create_task(self._lease.moved(number), name="another copy takes the lease")
            try:
                with translated():
                    while (response := await _next(call, moved)) is not None:
                        yield response
            finally:
                call.cancel()
                await cancel(moved)

    @asynccontextmanager
    async def _holder(self) -> AsyncIterator[tuple[WorkerStub, int]]:
        holder = self._lease.holder
        if holder is None:
            raise no_holder()
        async with open_channel(holder.address, self._tls, options=_OPTIONS) as channel:
            yield workers_pb2_grpc.WorkerServiceStub(channel), holder.number


@contextmanager
def _row_of_holder() -> Iterator[None]:
    """Leave the audit row of a call to the holder, which writes it with the change.

    If the holder cannot be asked, or its answer does not arrive, this copy writes one.
    """
    call = current_call()
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if call is not None:
            call.elsewhere = error.code() not in _UNCERTAIN
        raise
    if call is not None:
        call.elsewhere = True


def no_holder() -> UnavailableError:
    """Build the error for a call while no copy schedules."""
    return UnavailableError("no copy of the control-plane schedules workers now", hint="try again in some seconds")


def _metadata(context: Context) -> Metadata:
    """Return the caller's token and address, and the id of the request.

    The holder believes the address only if it counts this copy as a proxy, as it does for every other caller.
    """
    given = dict(context.invocation_metadata() or ())
    authorization = (("authorization", str(given["authorization"])),) if "authorization" in given else ()
    call = current_call()
    address = (("x-forwarded-for", call.address),) if call is not None and call.address else ()
    return (*authorization, *address, *request_metadata(), (FORWARDED, "1"))


async def _settled(requests: AsyncIterator[ConnectRequest]) -> AsyncIterator[ConnectRequest]:
    async for request in requests:
        yield request
    await asyncio.sleep(CLOSE_SETTLES_S)


async def _next(
    call: "grpc.aio.StreamStreamCall[Any, ConnectResponse]", moved: "asyncio.Task[None]"
) -> ConnectResponse | None:
    """Return the holder's next response; None once it has ended the stream.

    Raises:
        UnavailableError: another copy has taken the lease.
    """
    reading = asyncio.ensure_future(call.read())
    try:
        await asyncio.wait({reading, moved}, return_when=asyncio.FIRST_COMPLETED)
        if moved.done():
            raise UnavailableError("another copy of the control-plane schedules now", hint="connect again")
        response = reading.result()
    finally:
        await cancel(reading)
    return response if isinstance(response, ConnectResponse) else None

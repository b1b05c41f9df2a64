"""Guards the gRPC calls to a service of ours by the breaker and the bulkhead of its `Dependency`.

It is an interceptor of the channel, so that every call of the process to the service is counted. Retries are left to
callers, which know what may be repeated. Streams pass: they live for hours, and their callers reconnect with growing
pauses. Probes of health pass, so that a breaker never answers for the service.
"""

import asyncio
import time
from typing import Any, Final

import grpc
import grpc.aio
from grpc_status import rpc_status

from countline_common.errors import CountlineError
from countline_common.grpc.channels import open_channel
from countline_common.grpc.errors import to_status
from countline_common.resilience.dependency import Admission, Dependency
from countline_common.tls.files import TlsFiles

HEALTH: Final = b"/grpc.health."
OWN_DETAILS: Final = "grpc-status-details-bin"
"""Only the service itself sends this: a status with it is an answer, such as UNAVAILABLE during maintenance."""

ENOUGH: Final = 0.9
"""A call that had less than this share of the usual deadline says nothing of the service by missing it. A call that is
cancelled after this share of its own time missed it: callers bound calls from outside too, and often end them first."""


def open_guarded_channel(address: str, tls: TlsFiles | None, dependency: Dependency) -> grpc.aio.Channel:
    """Open a connection to a service, to be closed by the caller. Its calls are limited by `dependency`.

    Args:
        address: HOST:PORT.
        tls: as for `open_channel`.
        dependency: of this address alone.

    Raises:
        InvalidInputError: the certificate files cannot be used.
    """
    interceptor: Any = _GuardsCalls(dependency)  # grpc-stubs know one class for all kinds of interceptors
    channel = open_channel(address, tls, interceptors=[interceptor])
    # A service that restarts is back within seconds. Its new connection ends the pause of the breaker.
    dependency.breaker.is_connected = lambda: channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY
    return channel


class _GuardsCalls(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    """A refused call fails like one of the service: UNAVAILABLE while the breaker is open, else RESOURCE_EXHAUSTED."""

    def __init__(self, dependency: Dependency) -> None:
        self._dependency = dependency

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        if bytes(details.method).startswith(HEALTH):
            return await continuation(details, request)
        within_s = self._dependency.limits.deadline_s if details.timeout is None else details.timeout
        try:
            async with self._dependency.admitted(within_s) as admission:
                call = await continuation(details._replace(timeout=admission.left_s), request)
                await self._judge(call, admission)
                return call
        except CountlineError as error:
            raise _as_rpc_error(error) from None

    async def _judge(self, call: Any, admission: Admission) -> None:
        """Wait for the outcome, and record it."""
        began_s = time.monotonic()
        try:
            code, sent = await call.code(), await call.trailing_metadata()
        except asyncio.CancelledError:
            call.cancel()
            if time.monotonic() - began_s >= ENOUGH * admission.left_s and self._had_enough(admission):
                self._dependency.record(admission.attempt, failed=True)
            raise
        is_answer = any(key == OWN_DETAILS for key, _ in sent or ())
        if is_answer or code not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            if code is not grpc.StatusCode.CANCELLED:
                self._dependency.record(admission.attempt, failed=False)
        elif code is grpc.StatusCode.UNAVAILABLE or self._had_enough(admission):
            self._dependency.record(admission.attempt, failed=True)

    def _had_enough(self, admission: Admission) -> bool:
        return admission.left_s >= ENOUGH * self._dependency.limits.deadline_s


def _as_rpc_error(error: CountlineError) -> grpc.aio.AioRpcError:
    status = rpc_status.to_status(to_status(error))
    trailing = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, status.details, None)

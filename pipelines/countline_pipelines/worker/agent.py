"""The stream to the control-plane: sends a report every second and on change, receives assignments.

The worker goes on counting while the control-plane is away; the agent reconnects with growing pauses. A worker that
stops closes its side of the stream, so that its cameras may move to other workers at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import grpc
import grpc.aio

from countline.v1 import workers_pb2, workers_pb2_grpc
from countline_common.errors import ConflictError, CountlineError, UnavailableError
from countline_common.grpc.authorization import bearer_metadata
from countline_common.grpc.channels import open_channel, proxy_remark
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.tls.diagnosis import diagnose
from countline_common.tls.files import TlsFiles
from countline_common.waiting import happens

REPORT_EVERY_S: Final = 1.0
LONGEST_PAUSE_S: Final = 3.0
WELL_AFTER_S: Final = 5.0
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
_log = get_logger(__name__)


class Agent:
    """Holds the stream.

    Args:
        address: of the control-plane's worker service.
        token: returns the worker's token; empty for none.
        report: returns the worker's report as of now.
        apply: called with the whole set of assignments each time it arrives.
        tls: certificate files, read again for each stream; None without TLS.
    """

    def __init__(
        self,
        address: str,
        token: Callable[[], str],
        report: Callable[[], workers_pb2.ConnectRequest],
        apply: Callable[[Sequence[workers_pb2.Assignment]], Awaitable[None]],
        tls: TlsFiles | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._token = token
        self._report = report
        self._apply = apply
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._left = asyncio.Event()
        self._trouble = "no connection yet"

    def notify(self) -> None:
        """Send a report now; from the event loop."""
        self._changed.set()

    async def check(self) -> None:
        """Check the stream, for `/readyz`.

        Raises:
            UnavailableError: there is no stream.
        """
        if self._trouble:
            raise UnavailableError(
                f"no connection to the control-plane at {self._address}: {self._trouble}",
                hint=proxy_remark(self._address),
            )

    async def run(self) -> None:
        """Hold the stream until cancelled, or until `leave` is called.

        Raises:
            ConflictError: another process has taken over this worker's name.
        """
        backoff = Backoff(longest_s=LONGEST_PAUSE_S)
        loop = asyncio.get_running_loop()
        while not self._leaving.is_set():
            began = loop.time()
            try:
                await self._hold()
                self._trouble = "the control-plane ended the stream"
            except grpc.aio.AioRpcError as error:
                self._trouble = f"{error.code().name}: {error.details()}"
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    raise _replaced(error) from error
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    self._trouble = await self._cause() or self._trouble
            except CountlineError as error:  # the certificate files cannot be used now
                self._trouble = error.message
            self._left.set()
            if self._leaving.is_set():
                return
            self._left.clear()
            if loop.time() - began > WELL_AFTER_S:
                backoff.reset()
            _log.warning("control.lost", address=self._address, reason=self._trouble)
            await asyncio.sleep(backoff.next_s())

    async def leave(self, timeout_s: float) -> None:
        """Close the stream, if there is one; wait at most `timeout_s`."""
        self._leaving.set()
        self._changed.set()
        if not self._trouble:
            await happens(self._left, timeout_s)

    async def _hold(self) -> None:
        async with open_channel(self._address, self._tls, options=_OPTIONS) as channel:
            stub = workers_pb2_grpc.WorkerServiceStub(channel)
            token = self._token()
            metadata = bearer_metadata(token) if token else ()
            call = stub.Connect(self._reports(), metadata=metadata)
            async for response in call:
                if self._trouble:
                    _log.info("control.connected", address=self._address)
                    self._trouble = ""
                await self._apply(list(response.assignments))
                self._changed.set()

    async def _cause(self) -> str:
        """Why TLS keeps the worker from the control-plane; empty if it does not."""
        try:
            cause = await asyncio.to_thread(diagnose, self._address, self._tls)
        except CountlineError as error:
            cause = error
        return f"{cause.message}; {cause.hint}" if cause is not None else ""

    async def _reports(self) -> AsyncIterator[workers_pb2.ConnectRequest]:
        while True:
            self._changed.clear()
            yield self._report()
            if self._leaving.is_set():
                return
            await happens(self._changed, REPORT_EVERY_S)


def _replaced(error: grpc.aio.AioRpcError) -> ConflictError:
    return ConflictError(
        error.details() or "the control-plane rejected this worker",
        hint="give each worker a name of its own (COUNTLINE_WORKER_NAME)",
    )

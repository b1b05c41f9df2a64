"""A gRPC channel with TLS that is opened anew when its certificate files change.

gRPC reads a client's certificate once for each channel. A process that runs for months would else show a certificate
that has expired. Calls that began on the old channel finish there.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.tasks import cancel
from countline_common.tls.files import TlsFiles
from countline_common.tls.stamps import Stamp, stamp

LOOK_EVERY_S: Final = 1.0
CALLS_END_WITHIN_S: Final = 300.0
"""Longer than any call that is no stream. What still runs on the old channel is cancelled after this time."""

_log = get_logger(__name__)


class RenewingChannel(grpc.aio.Channel):
    """Passes each call to the newest channel.

    Args:
        files: the certificate files.
        open_now: opens a channel with what the files hold; raises CountlineError if they cannot be used.
    """

    def __init__(self, files: TlsFiles, open_now: Callable[[], grpc.aio.Channel]) -> None:
        self._files = files
        self._open_now = open_now
        self._stamp: Stamp = stamp(files)
        self._channel = open_now()
        self._looked_at = time.monotonic()
        self._methods: dict[tuple[str, str], Any] = {}
        self._closing: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def method(self, kind: str, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The callable of a method on the newest channel.

        Args:
            kind: such as `unary_unary`.
            name: of the method.
            arguments: with which the stub asked for it: the serialisers.
            options: the same, by name.
        """
        self._renew()
        known = self._methods.get((kind, name))
        if known is None:
            known = self._methods[kind, name] = getattr(self._channel, kind)(name, *arguments, **options)
        return known

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method of one request and one response."""
        return _Method(self, "unary_unary", method, arguments, options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method of one request and many responses."""
        return _Method(self, "unary_stream", method, arguments, options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method of many requests and one response."""
        return _Method(self, "stream_unary", method, arguments, options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method of many requests and many responses."""
        return _Method(self, "stream_stream", method, arguments, options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """State of the newest channel."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state of the newest channel is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the newest channel is connected."""
        await self._channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Close every channel; calls get `grace` seconds to finish."""
        old = dict(self._closing)
        await cancel(*old)
        for channel in (*old.values(), self._channel):
            await channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _renew(self) -> None:
        """Open a new channel if the files changed; while they cannot be used, the old one serves on."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        try:
            current = stamp(self._files)
            if current == self._stamp:
                return
            channel = self._open_now()
        except (CountlineError, OSError) as error:
            _log.error("tls.not_reloaded", error=str(error))
            return
        old, self._channel, self._stamp = self._channel, channel, current
        self._methods.clear()
        task = asyncio.create_task(old.close(CALLS_END_WITHIN_S), name="close a channel with an old certificate")
        self._closing[task] = old
        task.add_done_callback(lambda done: self._closing.pop(done, None))
        _log.info("tls.reloaded", certificate=str(self._files.certificate))


class _Method:
    """A method of the contract; each call goes to the newest channel."""

    def __init__(
        self, channel: RenewingChannel, kind: str, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._wanted = (kind, name, arguments, options)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._channel.method(*self._wanted)(*arguments, **options)

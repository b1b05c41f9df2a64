"""Work on a connection to NATS that goes on through outages: the loop of everything that follows a stream."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from countline_common.data.database import is_away
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_common.waiting import happens

CHECK_PERIOD_S: Final = 0.5
STOP_GRACE_S: Final = 1.0
BATCH: Final = 100
FETCH_WAIT_S: Final = 0.5
CONSUMER_CHECK_S: Final = 10.0
"""Seldom: the connection may close while this waits for an answer, which nats-py then awaits for five seconds."""

_log = get_logger(__name__)


class StreamFollower(ABC):
    """Follows a stream until `stop`, and begins again after each outage of NATS or of the database.

    Args:
        name: what it follows, in the log.
        jetstream: returns the connection to NATS; None while NATS is away.
        stopping: ends `run` when it is set, as `stop` does.
    """

    def __init__(
        self, name: str, jetstream: Callable[[], JetStreamContext | None], stopping: asyncio.Event | None = None
    ) -> None:
        self._name = name
        self._jetstream = jetstream
        self._stopping = stopping or asyncio.Event()
        self._backoff = Backoff()

    @abstractmethod
    async def follow(self, jetstream: JetStreamContext) -> None:
        """Follow over one connection, to its end; an error begins anew after a pause."""

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow until `stop` is called."""
        while not self._stopping.is_set():
            pause_s = CHECK_PERIOD_S
            try:
                if (jetstream := self._jetstream()) is not None:
                    await self._until_stopped(self.follow(jetstream))
            except Exception as error:  # noqa: BLE001  (the task survives every error; messages stay in the stream)
                if not is_away(error):
                    _log.warning("stream.retry", follower=self._name, error=redact(str(error)) or type(error).__name__)
                pause_s = self._backoff.next_s()
            await happens(self._stopping, pause_s)

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, or until shortly after `stop`: nats-py waits long on a connection that closes."""
        working = asyncio.create_task(work, name=f"follower of {self._name}")
        stopped = asyncio.create_task(self._stopping.wait(), name=f"stop of {self._name}")
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({working}, timeout=STOP_GRACE_S)
        finally:
            await cancel(stopped, working)
        if not working.cancelled():
            working.result()

    async def consume(
        self,
        subscription: JetStreamContext.PullSubscription,
        take: Callable[[list[Msg]], Awaitable[None]],
        check_s: float = CONSUMER_CHECK_S,
    ) -> None:
        """Hand over what arrives, batch by batch, until the connection is lost or `stop` is called.

        Args:
            subscription: its messages; it is closed at the end.
            take: gets the messages, also none, so that it learns that the connection works.
            check_s: how often to ask whether an idle consumer still exists: JetStream may have deleted it.

        Raises:
            nats.errors.Error: the connection or the consumer is gone.
        """
        self._backoff.reset()
        checked_at = time.monotonic()
        try:
            while not self._stopping.is_set() and self._jetstream() is not None:
                messages = await _fetched(subscription)
                if not messages and time.monotonic() - checked_at >= check_s:
                    await subscription.consumer_info()
                    checked_at = time.monotonic()
                await take(messages)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()


async def _fetched(subscription: JetStreamContext.PullSubscription) -> list[Msg]:
    try:
        return list(await subscription.fetch(BATCH, timeout=FETCH_WAIT_S))
    except (TimeoutError, nats.errors.TimeoutError):
        return []

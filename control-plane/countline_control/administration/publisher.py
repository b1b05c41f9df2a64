"""Keeps the bucket that all parts read equal to the database, and applies the state to this process without NATS."""

import asyncio
from collections.abc import Callable

from nats.js import JetStreamContext
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from countline_common.administration.current import CurrentSettings
from countline_common.data.administration_feed import FAILURES, PERIOD_S, STATE, TIMEOUT_S, open_bucket
from countline_common.data.database import is_away
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.waiting import happens
from countline_control.administration import store
from countline_control.database import Database

_log = get_logger(__name__)


class StatePublisher:
    """Publishes what is set.

    Args:
        database: holds the schema `auth`.
        jetstream: returns the connection to NATS; None while NATS is away.
        current: the settings of this process.
    """

    def __init__(
        self, database: Database, jetstream: Callable[[], JetStreamContext | None], current: CurrentSettings
    ) -> None:
        self._database = database
        self._jetstream = jetstream
        self._current = current
        self._stopping = False
        self.changed = asyncio.Event()
        """Set it after a change, so that it is published at once."""

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping = True
        self.changed.set()

    async def run(self) -> None:
        """Compare every second, so that a change of another process or an emptied NATS is seen too."""
        while not self._stopping:
            self.changed.clear()
            try:
                await self._publish()
            except Exception as error:  # noqa: BLE001  (the task survives every error; an absent database is not logged)
                if not is_away(error):
                    _log.warning("administration.publish_failed", error=redact(str(error)) or type(error).__name__)
            await happens(self.changed, PERIOD_S)

    async def _publish(self) -> None:
        state = store.state_of(await self._database.read(store.read_all))
        if state != self._current.state:
            self._current.replace(state)
        if (jetstream := self._jetstream()) is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                bucket = await open_bucket(jetstream)
                if await _published(bucket) != state.to_bytes():
                    await bucket.put(STATE, state.to_bytes())
        except FAILURES as error:
            _log.debug("administration.retry", error=redact(str(error)) or type(error).__name__)


async def _published(bucket: KeyValue) -> bytes:
    try:
        return (await bucket.get(STATE)).value or b""
    except KeyNotFoundError:
        return b""

"""Carries what an administrator has set to all processes, in a key-value bucket of JetStream.

The process that owns the database keeps the bucket equal to it; all others read the bucket every second. So a process
that starts late, or that lost NATS for a while, gets the current state. Without NATS a process keeps what it knows.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig
from nats.js.errors import APIError, BucketNotFoundError, KeyNotFoundError
from nats.js.kv import KeyValue

from countline_common.administration.current import AdministrationState, CurrentSettings
from countline_common.data.bus import may_publish
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.waiting import happens

BUCKET: Final = "countline_administration"
BUCKET_STREAM: Final = f"KV_{BUCKET}"
STATE: Final = "state"
UNTRUSTED: Final = "worker"
"""A worker reads what cameras send, and may run on a machine of other people. It sets no setting but its log level."""
PERIOD_S: Final = 1.0
TIMEOUT_S: Final = 3.0
FAILURES: Final = (nats.errors.Error, APIError, OSError, TimeoutError)

_log = get_logger(__name__)


async def open_bucket(jetstream: JetStreamContext) -> KeyValue:
    """Return the bucket. It is created if there is none and the user of the connection may create it.

    Raises:
        nats.js.errors.BucketNotFoundError: there is none yet.
    """
    try:
        return await jetstream.key_value(BUCKET)
    except BucketNotFoundError:
        if not await may_publish(jetstream, f"$JS.API.STREAM.CREATE.{BUCKET_STREAM}"):
            raise
        return await jetstream.create_key_value(KeyValueConfig(bucket=BUCKET, history=1))


class AdministrationFeed:
    """Reads the state into the settings of a process, and reports the values of its environment.

    Args:
        part: name of the process.
        jetstream: returns the connection to NATS; None while NATS is away.
        current: gets the state.
        reads: False if the process reads the database itself, which is always newer.
    """

    def __init__(
        self,
        part: str,
        jetstream: Callable[[], JetStreamContext | None],
        current: CurrentSettings,
        *,
        reads: bool = True,
    ) -> None:
        self._reads = reads
        self._part = part
        self._jetstream = jetstream
        self._current = current
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow until `stop` is called."""
        bucket: KeyValue | None = None
        while not self._stopping.is_set():
            jetstream = self._jetstream()
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    if jetstream is not None:
                        bucket = bucket or await self._open(jetstream)
                        if self._reads:
                            await self._read(bucket)
            except FAILURES as error:
                _log.debug("administration.retry", error=redact(str(error)) or type(error).__name__)
                bucket = None
            await happens(self._stopping, PERIOD_S)

    async def _open(self, jetstream: JetStreamContext) -> KeyValue:
        bucket = await open_bucket(jetstream)
        await bucket.put(f"base.{self._part}", json.dumps(self._current.base).encode())
        return bucket

    async def _read(self, bucket: KeyValue) -> None:
        try:
            entry = await bucket.get(STATE)
            state = AdministrationState.from_bytes(entry.value or b"")
        except KeyNotFoundError:
            return
        except ValueError:
            _log.warning("administration.undecodable")
            return
        if state != self._current.state:
            self._current.replace(state)
            _log.info("administration.changed", values=dict(state.values), maintenance=state.maintenance.on)


async def reported_bases(jetstream: JetStreamContext) -> dict[str, str]:
    """Return the values that the environments of the parts set.

    What a worker writes neither hides the values of other parts nor keeps the settings from being shown and changed.
    """
    found: dict[str, str] = {}
    async with asyncio.timeout(TIMEOUT_S):
        bucket = await open_bucket(jetstream)
        try:
            names = [name for name in await bucket.keys() if name.startswith("base.")]
        except nats.js.errors.NoKeysError:
            return {}
        for name in sorted(names):
            part = name.removeprefix("base.")
            found |= _base_of(part, (await bucket.get(name)).value or b"{}")
    return found


def _base_of(part: str, data: bytes) -> dict[str, str]:
    """Return what a part reports about its environment; nothing if that cannot be decoded."""
    try:
        values = {str(name): str(value) for name, value in json.loads(data).items()}
    except (ValueError, AttributeError, RecursionError):
        _log.warning("administration.undecodable", part=part)
        return {}
    return {name: value for name, value in values.items() if part != UNTRUSTED or name == f"log_level.{part}"}

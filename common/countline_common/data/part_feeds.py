"""What each process of ours does over NATS beside its work, in one place: follow settings, publish logs, report itself.

A process that has no NATS works as before: its settings stay, and its newest log lines wait in a bounded memory.
"""

import asyncio
import hashlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final
from uuid import uuid4

from nats.js import JetStreamContext
from nats.js.errors import NoStreamResponseError, NotFoundError

from countline.v1.logs_pb2 import LogBatch
from countline.v1.parts_pb2 import PART_STATE_HEALTHY, PART_STATE_UNHEALTHY, Part, PartReport, SchemaMigrations
from countline_common.administration.current import CurrentSettings
from countline_common.data import bus
from countline_common.data.administration_feed import FAILURES, AdministrationFeed
from countline_common.http.health import Check, failing
from countline_common.logbook.lines import line_of
from countline_common.logbook.tap import LogTap
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.times import to_timestamp
from countline_common.waiting import happens

LOG_PERIOD_S: Final = 1.0
MOST_CHARACTERS: Final = 256 * 1024
"""Of the log lines that a process publishes in one period; NATS takes messages of 1 MiB."""
REPORT_PERIOD_S: Final = 2.0
TIMEOUT_S: Final = 3.0
LAST_TIMEOUT_S: Final = 0.5
"""Of the last attempt, for which a process that stops waits."""

_log = get_logger(__name__)

OpenJetStream = Callable[[], JetStreamContext | None]
"""Returns the connection to NATS; None while NATS is away."""
ReadMigrations = Callable[[], Awaitable[SchemaMigrations]]


@dataclass(frozen=True, slots=True)
class RunningPart:
    """One process, as it reports itself."""

    name: str
    """Such as `worker`."""
    instance: str = ""
    """Distinguishes processes of one name, such as the name of a worker."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    """Health checks by name."""
    migrations: list[ReadMigrations] = field(default_factory=list)
    """Each reads the state of one schema that the process uses."""
    machine: str = field(default_factory=socket.gethostname)
    started_at: float = field(default_factory=time.time)
    """Unix seconds."""

    @property
    def key(self) -> str:
        """Distinguishes all processes, over restarts."""
        return hashlib.sha256(f"{self.instance}\0{self.machine}".encode()).hexdigest()[:16]


class PartFeeds:
    """The feeds of one process.

    Args:
        part: this process.
        settings_of: name under which the process reports the settings of its environment.
        jetstream: returns the connection to NATS.
        current: settings that may change while the process runs.
        reads: False if the process reads the database of settings itself.
    """

    def __init__(
        self,
        part: RunningPart,
        settings_of: str,
        jetstream: OpenJetStream,
        current: CurrentSettings,
        *,
        reads: bool = True,
    ) -> None:
        self._administration = AdministrationFeed(settings_of, jetstream, current, reads=reads)
        self._logs = _LogFeed(part, jetstream)
        self._reports = _ReportFeed(part, jetstream)

    async def run(self) -> None:
        """Work until `stop` is called, through outages of NATS."""
        async with asyncio.TaskGroup() as tasks:
            for feed in (self._administration, self._logs, self._reports):
                tasks.create_task(feed.run(), name=type(feed).__name__)

    def stop(self) -> None:
        """Let `run` end."""
        for feed in (self._administration, self._logs, self._reports):
            feed.stop()


class _Feed:
    """Does something over NATS in each period; a failure waits for the next period."""

    def __init__(self, part: RunningPart, jetstream: OpenJetStream, stream: str, period_s: float) -> None:
        self._part = part
        self._jetstream = jetstream
        self._stream = stream
        self._period_s = period_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop` is called, and then once more."""
        while not await happens(self._stopping, self._period_s):
            await self._try(TIMEOUT_S)
        await self._try(LAST_TIMEOUT_S)

    async def _try(self, timeout_s: float) -> None:
        if (jetstream := self._jetstream()) is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(jetstream)
        except (NoStreamResponseError, NotFoundError):
            await self._restore(jetstream)  # the store of NATS was emptied; the next period publishes
        except Exception as error:  # noqa: BLE001  (no part ends because it cannot say how it is)
            # At the level debug, lest each failure makes a line that has to be published.
            _log.debug("part.retry", stream=self._stream, error=redact(str(error)) or type(error).__name__)

    async def _restore(self, jetstream: JetStreamContext) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await bus.ensure_streams(jetstream)
        except FAILURES as error:
            _log.debug("part.retry", stream=self._stream, error=redact(str(error)) or type(error).__name__)

    async def _send(self, jetstream: JetStreamContext) -> None:
        raise NotImplementedError


class _LogFeed(_Feed):
    """Publishes what the process logs. What it could not publish yet comes first in the next period."""

    def __init__(self, part: RunningPart, jetstream: OpenJetStream) -> None:
        super().__init__(part, jetstream, bus.LOGS, LOG_PERIOD_S)
        self._tap = LogTap()
        self._batch = LogBatch()
        self._message_id = ""

    async def run(self) -> None:
        """Work until `stop` is called, and then once more."""
        self._tap.attach()
        try:
            await super().run()
        finally:
            self._tap.detach()

    async def _send(self, jetstream: JetStreamContext) -> None:
        if not self._message_id:
            texts, dropped = self._tap.take(MOST_CHARACTERS)
            self._batch.dropped += dropped
            lines = (line_of(text, self._part.name, self._part.machine) for text in texts)
            self._batch.lines.extend(line for line in lines if line is not None)
            if not self._batch.lines:
                return
            self._message_id = uuid4().hex
        subject = bus.logs_subject(self._part.name)
        headers = {"Nats-Msg-Id": self._message_id}
        await jetstream.publish(subject, self._batch.SerializeToString(), headers=headers, stream=bus.LOGS)
        self._batch, self._message_id = LogBatch(), ""


class _ReportFeed(_Feed):
    """Reports what runs here."""

    def __init__(self, part: RunningPart, jetstream: OpenJetStream) -> None:
        super().__init__(part, jetstream, bus.PARTS, REPORT_PERIOD_S)

    async def _send(self, jetstream: JetStreamContext) -> None:
        subject = bus.parts_subject(self._part.name, self._part.key)
        await jetstream.publish(subject, (await self._report()).SerializeToString(), stream=bus.PARTS)

    async def _report(self) -> PartReport:
        problems = await failing(self._part.checks)
        part = Part(
            name=self._part.name,
            instance=self._part.instance,
            machine=self._part.machine,
            version=version("countline"),
            started_at=to_timestamp(self._part.started_at),
            state=PART_STATE_UNHEALTHY if problems else PART_STATE_HEALTHY,
            problems=problems,
        )
        return PartReport(part=part, migrations=[await read() for read in self._part.migrations])

"""From the stream COUNTS into the database: at least once on the way, exactly once in the tables.

A message is acknowledged after the database has committed what it says, or after it was moved to the dead letters
with the reason. While the database is away nothing is acknowledged and nothing is lost: the batch is held and tried
again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import nats.errors
import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from countline_analytics.ingest.pull import PullReader
from countline_analytics.ingest.records import MalformedRecordError, Record, decode
from countline_analytics.ingest.writer import CountWriter
from countline_common.data.bus import COUNTS, DLQ, dlq_subject, ensure_streams
from countline_common.errors import CountlineError, UnavailableError
from countline_common.logs import get_logger, redact
from countline_common.resilience.retry import Backoff
from countline_common.waiting import happens

DURABLE: Final = "ingest"
ACK_WAIT_S: Final = 30.0
READ_WAIT_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
DLQ_TIMEOUT_S: Final = 5.0
MAX_REASON: Final = 500
HEADERS_ROOM: Final = 2048
FULL_ENOUGH: Final = 0.5
"""Share of the stream's size limit above which messages that are in the database are taken out of it."""

RECORDS: Final = Counter("countline_ingest_records_total", "Records that were written or refused", ["outcome"])
CROSSINGS: Final = Counter("countline_ingest_crossings_total", "Crossings by what became of them", ["outcome"])
RETRIES: Final = Counter("countline_ingest_retries_total", "Batches that had to be tried again", ["error"])
BATCH_SECONDS: Final = Histogram("countline_ingest_batch_seconds", "Time from reading a batch to its acknowledgement")
LAST_WRITE: Final = Gauge("countline_ingest_last_write_timestamp_seconds", "When the last batch was committed")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message and what it says."""

    message: Msg
    record: Record


class PoisonError(Exception):
    """The database refuses a record for what it holds; trying again cannot help."""


async def ensure_consumer(js: JetStreamContext, batch: int) -> None:
    """Create the durable consumer, or bring it to these settings."""
    await js.add_consumer(
        COUNTS,
        ConsumerConfig(
            durable_name=DURABLE,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_ack_pending=max(1000, 4 * batch),
            max_deliver=-1,
        ),
    )


class Ingest:
    """The consumer of COUNTS.

    Args:
        client: connected to NATS.
        writer: writes a batch in one transaction.
        batch: messages in one transaction at most.
        oldest: Unix seconds; crossings before it would go where the raw rows are deleted already, and spoil their
        counts.
    """

    def __init__(
        self, client: Client, writer: CountWriter, batch: int, oldest: Callable[[], float] = lambda: float("-inf")
    ) -> None:
        self._client = client
        self._js = client.jetstream()
        self._writer = writer
        self._batch = batch
        self._oldest = oldest
        self.problem = "not started"
        """Why nothing is being written now; empty where all is well."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until `stopping` is set; a batch under way is finished first, unless the database is away."""
        while not stopping.is_set():
            try:
                await ensure_streams(self._js)
                await ensure_consumer(self._js, self._batch)
                async with PullReader(self._client, COUNTS, DURABLE, self._batch) as reader:
                    self.problem = ""
                    await self._consume(reader, stopping)
            except (CountlineError, nats.errors.Error, OSError, TimeoutError) as error:
                self._note_retry("nats", error)
                await happens(stopping, FIRST_PAUSE_S * 5)

    async def make_room(self) -> None:
        """Take out of the stream what is in the database, once it fills up.

        The stream refuses new messages when it is full, and does not take out old ones by itself: else it could lose
        what nobody has read. Only ingest knows what was read.
        """
        stream = await self._js.stream_info(COUNTS)
        limit = stream.config.max_bytes or -1
        if limit <= 0 or stream.state.bytes < FULL_ENOUGH * limit:
            return
        consumer = await self._js.consumer_info(COUNTS, DURABLE)
        read_up_to = consumer.ack_floor.stream_seq if consumer.ack_floor is not None else 0
        if read_up_to:
            await self._js.purge_stream(COUNTS, seq=read_up_to + 1)
            _log.info("ingest.made_room", stream=COUNTS, up_to=read_up_to, bytes=stream.state.bytes)

    async def _consume(self, reader: PullReader, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            messages = await reader.read(READ_WAIT_S)
            if messages:
                with BATCH_SECONDS.time():
                    await self._handle(messages, stopping)

    async def _handle(self, messages: Sequence[Msg], stopping: asyncio.Event) -> None:
        delivered = []
        for message in messages:
            try:
                delivered.append(Delivered(message, self._decode(message)))
            except MalformedRecordError as error:
                await self._refuse(message, error.message)
        if delivered:
            await self._write(delivered, stopping)

    def _decode(self, message: Msg) -> Record:
        record = decode(message.data, message.subject)
        oldest_us = self._oldest() * 1e6
        if record.crossings and min(row.t_us for row in record.crossings) < oldest_us:
            raise MalformedRecordError("it holds crossings that are older than COUNTLINE_CROSSINGS_RETENTION_DAYS")
        return record

    async def _write(self, delivered: Sequence[Delivered], stopping: asyncio.Event) -> None:
        """Write and acknowledge; where the database refuses what one record holds, find out which."""
        try:
            written = await self._until_possible(delivered, stopping)
        except PoisonError as error:
            if len(delivered) == 1:
                await self._refuse(delivered[0].message, str(error))
                return
            middle = len(delivered) // 2
            await self._write(delivered[:middle], stopping)
            await self._write(delivered[middle:], stopping)
            return
        if written:
            await self._acknowledge(delivered)

    async def _until_possible(self, delivered: Sequence[Delivered], stopping: asyncio.Event) -> bool:
        """Write, again and again while the database is away; False where the process was told to stop meanwhile.

        Raises:
            PoisonError: the database is there and refuses the data.
        """
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                written = await self._writer.write([each.record for each in delivered])
            except (psycopg.Error, DBAPIError, PoolTimeoutError, OSError, TimeoutError) as error:
                cause = _cause(error)
                if isinstance(cause, psycopg.DataError | psycopg.IntegrityError):
                    raise PoisonError(f"{type(cause).__name__}: {redact(str(cause))}") from error
                self._note_retry("database", error)
            else:
                self.problem = ""
                LAST_WRITE.set(time.time())
                RECORDS.labels("written").inc(len(delivered))
                CROSSINGS.labels("inserted").inc(written.crossings)
                CROSSINGS.labels("fenced").inc(written.fenced)
                CROSSINGS.labels("duplicate").inc(written.duplicates)
                return True
            if stopping.is_set():
                return False
            await self._hold(delivered)
            await happens(stopping, backoff.next_s())

    async def _hold(self, delivered: Sequence[Delivered]) -> None:
        """Tell JetStream that these are still being worked on, so that it does not send them again meanwhile."""
        with contextlib.suppress(nats.errors.Error, OSError):
            for each in delivered:
                await each.message.in_progress()

    async def _acknowledge(self, delivered: Sequence[Delivered]) -> None:
        # An acknowledgement that gets lost brings the message again, and then it is a duplicate that changes nothing.
        for each in delivered:
            await each.message.ack()

    async def _refuse(self, message: Msg, reason: str) -> None:
        """Move a message to the dead letters; only when they have it is it acknowledged."""
        sequence = message.metadata.sequence.stream
        _log.error("ingest.refused", subject=message.subject, stream_sequence=sequence, reason=reason)
        headers = {
            "Countline-Reason": " ".join(reason.split())[:MAX_REASON],
            "Countline-Subject": message.subject,
            "Countline-Stream": COUNTS,
            "Countline-Stream-Sequence": str(sequence),
            "Nats-Msg-Id": f"{COUNTS}-{sequence}",
        }
        # A message as large as the server allows has no room for the headers: the letter then only says where it lies.
        fits = len(message.data) + HEADERS_ROOM <= self._client.max_payload
        data = message.data if fits else b""
        await self._js.publish(dlq_subject(COUNTS), data, timeout=DLQ_TIMEOUT_S, stream=DLQ, headers=headers)
        await message.ack()
        RECORDS.labels("refused").inc()

    def _note_retry(self, part: str, error: BaseException) -> None:
        self.problem = f"{part}: {redact(str(_cause(error))) or type(error).__name__}"
        RETRIES.labels(part).inc()
        _log.warning("ingest.retry", part=part, error=self.problem)


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


async def check(ingest: Ingest) -> None:
    """Health check: raises with the reason while nothing can be written."""
    if ingest.problem:
        raise UnavailableError(ingest.problem)

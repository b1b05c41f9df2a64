"""Moves records from the stream COUNTS into the database: at least once on the way, exactly once in the tables.

Ingest acknowledges a message after the database has committed its record, or after the message was moved to the dead
letter stream with the reason. While the database is away, ingest acknowledges nothing, holds the batch and retries.
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

from countline.v1 import events_pb2
from countline_analytics.ingest.fencing import Correction
from countline_analytics.ingest.pull import PullReader
from countline_analytics.ingest.records import MalformedRecordError, Record, decode, halves, letter_of
from countline_analytics.ingest.wire import read_record
from countline_analytics.ingest.writer import CountWriter, Written
from countline_analytics.instants import to_us
from countline_common.data.bus import COUNTS, ensure_streams
from countline_common.data.dead_letters import put_aside
from countline_common.errors import CountlineError, UnavailableError
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Backoff
from countline_common.waiting import happens

DURABLE: Final = "ingest"
ACK_WAIT_S: Final = 30.0
READ_WAIT_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
FULL_ENOUGH: Final = 0.5
"""Share of the stream's size limit above which ingest purges messages that the database holds."""

RECORDS: Final = Counter("countline_ingest_records_total", "Records, by outcome", ["outcome"])
CROSSINGS: Final = Counter("countline_ingest_crossings_total", "Crossings, by outcome", ["outcome"])
ROWS: Final = Counter("countline_ingest_refused_rows_total", "Rows that were moved to the dead letters")
CORRECTIONS: Final = Counter("countline_ingest_hand_over_corrections_total", "Hand-overs that were judged anew")
RETRIES: Final = Counter("countline_ingest_retries_total", "Retried batches", ["error"])
BATCH_SECONDS: Final = Histogram("countline_ingest_batch_seconds", "Time from reading a batch to its acknowledgement")
LAST_WRITE: Final = Gauge("countline_ingest_last_write_timestamp_seconds", "Time of the last commit")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message and its decoded record."""

    message: Msg
    record: Record


class PoisonError(Exception):
    """The database refuses the content of a record; a retry cannot succeed."""


class _StoppingError(Exception):
    """The process stops before a record is written."""


async def ensure_consumer(js: JetStreamContext, batch: int) -> None:
    """Create the durable consumer, or update its settings."""
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
        batch: most messages in one transaction.
        oldest: Unix seconds; ingest refuses older crossings, because their neighbours are deleted and counts would be
            wrong.
    """

    def __init__(
        self, client: Client, writer: CountWriter, batch: int, oldest: Callable[[], float] = lambda: float("-inf")
    ) -> None:
        self._client = client
        self._js = client.jetstream()
        self._writer = writer
        self._batch = batch
        self._oldest = oldest
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        """Of NATS."""
        self.problem = "not started"
        """Why ingest writes nothing now; empty if all is well."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until `stopping` is set. Finish the current batch first, unless the database is away."""
        while not stopping.is_set():
            try:
                await ensure_streams(self._js)
                await ensure_consumer(self._js, self._batch)
                async with PullReader(self._client, COUNTS, DURABLE, self._batch, stopping) as reader:
                    self.problem = ""
                    await self._consume(reader, stopping)
            except (CountlineError, nats.errors.Error, OSError, TimeoutError) as error:
                self._record_retry("nats", error)
                await happens(stopping, self._backoff.next_s())

    async def make_room(self) -> None:
        """Purge messages that the database holds, once the stream fills up.

        The full stream refuses new messages instead of discarding old ones, so that it loses no unread message. Only
        ingest knows which messages it has read.
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
            self._backoff.reset()
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

    def _decode(self, message: Msg, content: bytes | None = None) -> Record:
        """Decode a message, or a part of it."""
        data = message.data if content is None else content
        received_at_us = to_us(message.metadata.timestamp)
        return decode(data, message.subject, self._oldest() * 1e6, received_at_us)

    async def _write(self, delivered: Sequence[Delivered], stopping: asyncio.Event) -> None:
        """Write and acknowledge a batch. If the database refuses a record, find that record by halving the batch."""
        try:
            written = await self._until_possible(delivered, stopping)
        except PoisonError as error:
            if len(delivered) == 1:
                await self._write_rows(delivered[0], str(error), stopping)
                return
            middle = len(delivered) // 2
            await self._write(delivered[:middle], stopping)
            await self._write(delivered[middle:], stopping)
            return
        if written:
            await self._acknowledge(delivered)

    async def _write_rows(self, delivered: Delivered, reason: str, stopping: asyncio.Event) -> None:
        """Write the rows of a record that the database accepts, and move the others to the dead letters."""
        record, _ = read_record(delivered.message.data)
        try:
            bad = await self._bad_rows(delivered.message, record, reason, stopping)
        except _StoppingError:
            return
        if len(bad) == 1 and bad[0][0] is record:
            await self._refuse(delivered.message, reason)
            return
        for part, why in bad:
            await self._put_aside(delivered.message, part.SerializeToString(deterministic=True), why)
        ROWS.inc(len(bad))
        await self._acknowledge([delivered])

    async def _bad_rows(
        self, message: Msg, record: events_pb2.CountRecord, reason: str, stopping: asyncio.Event
    ) -> list[tuple[events_pb2.CountRecord, str]]:
        """Halve a record that the database refuses until each bad row is alone; return these, each with the reason.

        Raises:
            _StoppingError: the process stops before everything is written.
        """
        parts = halves(record)
        if len(parts) == 1:
            return [(record, reason)]
        bad = []
        for part in parts:
            try:
                delivered = Delivered(message, self._decode(message, part.SerializeToString()))
                if not await self._until_possible([delivered], stopping):
                    raise _StoppingError
            except MalformedRecordError:
                continue  # its rows are among the refused rows of the whole record
            except PoisonError as error:
                bad += await self._bad_rows(message, part, str(error), stopping)
        return bad

    async def _until_possible(self, delivered: Sequence[Delivered], stopping: asyncio.Event) -> bool:
        """Write a batch; retry while the database is away. Return False if the process stops before it succeeds.

        Raises:
            PoisonError: the database refuses the data.
        """
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                written = await self._writer.write([each.record for each in delivered])
            except (psycopg.Error, DBAPIError, PoolTimeoutError, OSError, TimeoutError) as error:
                cause = cause_of(error)
                if isinstance(cause, psycopg.DataError | psycopg.IntegrityError):
                    raise PoisonError(f"{type(cause).__name__}: {redact(str(cause))}") from error
                self._record_retry("database", error)
            else:
                self.problem = ""
                RECORDS.labels("written").inc(len(delivered))
                _report(written)
                return True
            if stopping.is_set():
                return False
            await self._hold(delivered)
            await happens(stopping, backoff.next_s())

    async def _hold(self, delivered: Sequence[Delivered]) -> None:
        """Extend the acknowledgement deadline in JetStream, so that it does not redeliver these messages."""
        with contextlib.suppress(nats.errors.Error, OSError):
            for each in delivered:
                await each.message.in_progress()

    async def _acknowledge(self, delivered: Sequence[Delivered]) -> None:
        # If an acknowledgement is lost, JetStream redelivers the message, and its record is a duplicate without effect.
        for each in delivered:
            await self._refuse_rows(each)
            await each.message.ack()

    async def _refuse_rows(self, delivered: Delivered) -> None:
        """Copy the rows that cannot be written to the dead letters, with the head of their record."""
        refused = delivered.record.refused
        if not refused:
            return
        head, _ = read_record(delivered.message.data)
        reason = "; ".join(f"{each.field}: {each.reason}" for each in refused)
        await self._put_aside(delivered.message, letter_of(head, refused), reason)
        ROWS.inc(len(refused))

    async def _refuse(self, message: Msg, reason: str) -> None:
        """Move a message to the dead letters, then acknowledge it."""
        await self._put_aside(message, message.data, reason)
        await message.ack()
        RECORDS.labels("refused").inc()

    async def _put_aside(self, message: Msg, data: bytes, reason: str) -> None:
        await put_aside(self._js, message, data, reason, self._client.max_payload)

    def _record_retry(self, part: str, error: BaseException) -> None:
        self.problem = f"{part}: {redact(str(cause_of(error))) or type(error).__name__}"
        RETRIES.labels(part).inc()
        _log.warning("ingest.retry", part=part, error=self.problem)


def _report(written: Written) -> None:
    LAST_WRITE.set(time.time())
    CROSSINGS.labels("inserted").inc(written.crossings)
    CROSSINGS.labels("fenced").inc(written.fenced)
    CROSSINGS.labels("restored").inc(written.restored)
    CROSSINGS.labels("duplicate").inc(written.duplicates)
    for correction in written.corrections:
        report_correction(correction)


def report_correction(correction: Correction) -> None:
    """Log and count a hand-over that was judged anew."""
    CORRECTIONS.inc()
    _log.warning(
        "ingest.hand_over_corrected",
        camera_id=correction.camera_id,
        epoch=correction.epoch,
        reported_at=correction.reported_at.isoformat(),
        hand_over_at=correction.hand_over_at.isoformat(),
        reason=correction.fault or "the reported time is right",
    )


def cause_of(error: BaseException) -> BaseException:
    """Return the database driver's error in one of SQLAlchemy; any other error as it is."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


async def check(ingest: Ingest) -> None:
    """Health check: raise the reason while ingest cannot write."""
    if ingest.problem:
        raise UnavailableError(ingest.problem)

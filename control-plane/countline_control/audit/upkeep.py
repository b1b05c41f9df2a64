"""Signs a checkpoint of the audit every minute, publishes it, and purges rows after their retention."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from google.protobuf.message import DecodeError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import audit_pb2
from countline_common.data.bus import AUDIT_CHECKPOINTS, CHECKPOINT_SUBJECTS, checkpoint_subject
from countline_common.data.database import is_away
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.vitality import forget_problem, record_problem
from countline_common.times import MICROSECONDS, to_datetime
from countline_common.waiting import happens
from countline_control.audit import store
from countline_control.audit.chain import (
    AuditPublicKey,
    AuditSigner,
    Checkpoint,
    Doubt,
    FaultKind,
    Link,
    UnsignedRows,
)
from countline_control.audit.findings import finding, spans
from countline_control.audit.messages import checkpoint_message, checkpoint_of
from countline_control.audit.writing import write_rows
from countline_control.database import Database

PERIOD_S: Final = 60.0
PURGE_PERIOD_S: Final = 3600.0
PUBLISH_TIMEOUT_S: Final = 5.0
SIGN_PAGE: Final = 1000
READ_BATCH: Final = 1000
READ_WAIT_S: Final = 2.0
SHOWN_FOR_S: Final = 7 * 24 * 3600.0
PROBLEM: Final = "audit"
"""Name in the health of the process."""
VERIFY: Final = "run: countline audit verify"

_log = get_logger(__name__)


class AuditUpkeep:
    """Signs and publishes checkpoints, and purges rows.

    Args:
        database: of auth.
        signer: signs checkpoints.
        jetstream: returns the connection to NATS; None while NATS is away.
        retention_days: returns how long rows are kept; 0 for ever. Call `retention_changed` after a change.
        clock: returns Unix seconds.
        period_s: seconds between two checkpoints.
    """

    def __init__(
        self,
        database: Database,
        signer: AuditSigner,
        jetstream: Callable[[], JetStreamContext | None],
        retention_days: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.time,
        period_s: float = PERIOD_S,
    ) -> None:
        self._database = database
        self._signer = signer
        self._jetstream = jetstream
        self._retention_days = retention_days
        self._clock = clock
        self._period_s = period_s
        self._stopping = False
        self._wake = asyncio.Event()
        self._purged_at = float("-inf")

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping = True
        self._wake.set()
        forget_problem(PROBLEM)

    def retention_changed(self) -> None:
        """Purge now and not in an hour."""
        self._purged_at = float("-inf")
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop` is called, through outages of NATS and of the database."""
        while not self._stopping:
            self._wake.clear()
            try:
                await self.sign()
                await self.publish()
                if self._retention_days() and time.monotonic() - self._purged_at > PURGE_PERIOD_S:
                    self._purged_at = time.monotonic()
                    await self.purge()
            except Exception as error:  # noqa: BLE001  (the task survives every error)
                self._purged_at = float("-inf")  # perhaps the purge failed: try it again in the next period
                if not is_away(error):
                    _log.warning("audit.upkeep_failed", error=redact(str(error)) or type(error).__name__)
            await happens(self._wake, self._period_s)

    async def sign(self) -> Checkpoint | None:
        """Sign the last row that the audit wrote; None if that is signed.

        Rows of somebody else before it are recorded as findings first: behind them the chain goes on.
        """
        async with self._database.begin() as connection:
            await store.lock_chain(connection)
            rows, until = await self._unsigned(connection)
            last = rows.ours
            if rows.doubts:
                last = await self._record(connection, rows.doubts)
            await self._show(connection, until if last is None else max(until, last.sequence))
            if last is None:
                return None
            checkpoint = self._signer.checkpoint(last.sequence, last.hash, self._now_us())
            return checkpoint if await store.add_checkpoint(connection, checkpoint) else None

    async def _unsigned(self, connection: AsyncConnection) -> tuple[UnsignedRows, int]:
        """Look at the rows behind the last checkpoint, up to the end of the chain; return that end too."""
        public = self._signer.public
        signed, hashed = await store.last_signed(connection, public)
        stored = await store.row_at(connection, signed)
        rows = UnsignedRows(public, signed, stored.link.hash if stored else hashed, unsigned=signed == 0)
        until, _, _ = await store.head(connection, public)
        while found := await store.rows_behind(connection, rows.last, SIGN_PAGE, until):
            if stored is not None and stored.link.hash != hashed and not rows.doubts:
                rows.doubt(FaultKind.REPLACED, signed, signed)
            await asyncio.to_thread(rows.add, store.links(found))
        return rows, until

    async def _record(self, connection: AsyncConnection, doubts: Sequence[Doubt]) -> Link | None:
        for doubt in doubts:
            _log.error("audit.tampered", kind=doubt.kind, first=doubt.first, last=doubt.last, hint=VERIFY)
        return await write_rows(connection, self._signer, [finding(doubt, self._clock()) for doubt in doubts])

    async def _show(self, connection: AsyncConnection, until: int) -> None:
        """Let the health of the process show findings for a week, and rows behind a gap as long as they are there."""
        found = spans(await store.findings(connection, self._now_us() - round(SHOWN_FOR_S * MICROSECONDS)))
        stray = await store.rows_behind(connection, until, 1)
        if stray:
            _log.error("audit.tampered", kind="stray", first=stray[0].link.sequence, hint=VERIFY)
            found.append((stray[0].link.sequence, stray[0].link.sequence))
        if not found:
            forget_problem(PROBLEM)
            return
        more = f" and {len(found) - 1} more places" if len(found) > 1 else ""
        record_problem(PROBLEM, f"somebody changed the audit at row {found[-1][0]}{more}; {VERIFY}")

    async def publish(self) -> None:
        """Publish the checkpoints that JetStream lacks."""
        jetstream = self._jetstream()
        if jetstream is None:
            return
        for purge in (False, True):
            last = await _last_published(jetstream, self._signer.public, purge=purge)
            behind = await self._database.read(partial(store.checkpoints_behind, after=last, purge=purge))
            for checkpoint in behind:
                if self._signer.public.signs(checkpoint):
                    await _publish(jetstream, checkpoint)

    async def purge(self) -> int:
        """Delete signed rows older than the retention; return how many. A checkpoint stands for them.

        Without NATS nothing is purged: a checkpoint that only the database holds proves less. If NATS goes away now,
        `publish` catches up.
        """
        days = self._retention_days()
        if self._jetstream() is None:
            return 0
        before = to_datetime(self._clock()) - timedelta(days=days)
        async with self._database.begin() as connection:
            signed, _ = await store.last_signed(connection, self._signer.public)
            last = await store.last_before(connection, before, signed)
        if last is None:
            return 0
        checkpoint = self._signer.checkpoint(last.sequence, last.hash, self._now_us(), purge=True)
        async with self._database.begin() as connection:
            purged = await store.purge(connection, checkpoint, days)
        await self.publish()
        _log.info("audit.purged", rows=purged, until=last.sequence)
        return purged

    def _now_us(self) -> int:
        return round(self._clock() * MICROSECONDS)


async def _last_published(jetstream: JetStreamContext, public: AuditPublicKey, *, purge: bool) -> int:
    """Return the sequence of the last checkpoint of ours that JetStream keeps; 0 if there is none."""
    try:
        message = await jetstream.get_last_msg(AUDIT_CHECKPOINTS, checkpoint_subject(purge=purge))
    except NotFoundError:
        return 0
    last = _decoded(message.data or b"")
    if last is not None and last.purge == purge and public.signs(last):
        return last.sequence
    # Somebody else published this one: look for ours among all.
    found = await published_checkpoints(jetstream)
    return max((each.sequence for each in found if each.purge == purge and public.signs(each)), default=0)


def _decoded(data: bytes) -> Checkpoint | None:
    try:
        return checkpoint_of(audit_pb2.AuditCheckpoint.FromString(data))
    except (DecodeError, ValueError):
        _log.warning("audit.checkpoint_undecodable")
        return None


async def _publish(jetstream: JetStreamContext, checkpoint: Checkpoint) -> None:
    kind = "purge" if checkpoint.purge else "rows"
    await jetstream.publish(
        checkpoint_subject(purge=checkpoint.purge),
        checkpoint_message(checkpoint).SerializeToString(),
        headers={"Nats-Msg-Id": f"{checkpoint.key_id}-{kind}-{checkpoint.sequence}"},
        timeout=PUBLISH_TIMEOUT_S,
    )


async def published_checkpoints(jetstream: JetStreamContext) -> frozenset[Checkpoint]:
    """Return every checkpoint that JetStream keeps. One that cannot be decoded is left out."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, inactive_threshold=60.0)
    subscription = await jetstream.pull_subscribe(CHECKPOINT_SUBJECTS, stream=AUDIT_CHECKPOINTS, config=config)
    found: set[Checkpoint] = set()
    try:
        pending = (await subscription.consumer_info()).num_pending or 0
        while pending > 0:
            messages = await subscription.fetch(min(pending, READ_BATCH), timeout=READ_WAIT_S)
            pending -= len(messages)
            for message in messages:
                if checkpoint := _decoded(message.data):
                    found.add(checkpoint)
    except TimeoutError:
        _log.warning("audit.checkpoints_missing", read=len(found))
    finally:
        await subscription.unsubscribe()
    return frozenset(found)

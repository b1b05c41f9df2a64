"""The gRPC service of the audit: lists, shows, exports and verifies rows."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

import nats.errors
from google.protobuf.timestamp_pb2 import Timestamp
from nats.js import JetStreamContext
from nats.js.errors import APIError

from countline.v1 import audit_pb2, audit_pb2_grpc
from countline_common.errors import FieldProblem, InvalidInputError, NotFoundError
from countline_common.grpc.calls import Context
from countline_common.grpc.paging import invalid_page, next_token, page
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.times import MICROSECONDS
from countline_control.audit import messages, store
from countline_control.audit.chain import AuditPublicKey, ChainCheck, Checkpoint
from countline_control.audit.findings import spans
from countline_control.audit.store import RowFilter, StoredRow
from countline_control.audit.upkeep import published_checkpoints
from countline_control.database import Database

NAME: Final = "countline.v1.AuditService"
EXPORT_PAGE: Final = 1000
CHECK_PAGE: Final = 2000
PUBLISHED_WITHIN_S: Final = 300.0
"""Auth publishes a checkpoint within a minute; this leaves time after an outage of NATS."""

_log = get_logger(__name__)


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """Answers `countline.v1.AuditService`.

    Args:
        database: of auth.
        public: checks signatures.
        jetstream: returns the connection to NATS; None while NATS is away.
    """

    def __init__(
        self, database: Database, public: AuditPublicKey, jetstream: Callable[[], JetStreamContext | None]
    ) -> None:
        self._database = database
        self._public = public
        self._jetstream = jetstream

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(
            NAME,
            lambda server: audit_pb2_grpc.add_AuditServiceServicer_to_server(self, server),
            self._database.check,
        )

    async def ListAuditRows(
        self, request: audit_pb2.ListAuditRowsRequest, context: Context
    ) -> audit_pb2.ListAuditRowsResponse:
        wanted = _filter(request)
        filters = json.dumps([wanted.actor, wanted.resource, wanted.method, wanted.outcome, wanted.on_behalf_of])
        asked = page(request.page_size, request.page_token, filters)
        before = _sequence(asked.after)
        found = await self._database.read(
            lambda connection: store.rows_before(connection, wanted, before, asked.size + 1)
        )
        token = next_token(str(found[asked.size - 1].link.sequence), filters) if len(found) > asked.size else ""
        return audit_pb2.ListAuditRowsResponse(
            records=[_record(row) for row in found[: asked.size]], next_page_token=token
        )

    async def GetAuditRow(
        self, request: audit_pb2.GetAuditRowRequest, context: Context
    ) -> audit_pb2.GetAuditRowResponse:
        row = await self._database.read(lambda connection: store.row_at(connection, request.sequence))
        if row is None:
            raise NotFoundError(f"the audit has no row {request.sequence}", hint="list the rows: countline audit list")
        return audit_pb2.GetAuditRowResponse(row=_record(row))

    async def ExportAudit(
        self, request: audit_pb2.ExportAuditRequest, context: Context
    ) -> audit_pb2.ExportAuditResponse:
        if request.after < 0 or request.limit < 0:
            raise InvalidInputError("the export cannot begin", fields=(FieldProblem("after", "must not be negative"),))
        limit = min(request.limit or EXPORT_PAGE, EXPORT_PAGE)
        rows = await self._database.read(lambda connection: store.rows_behind(connection, request.after, limit + 1))
        shown, is_last = rows[:limit], len(rows) <= limit
        until = shown[-1].link.sequence if shown else request.after
        signed = await self._database.read(
            lambda connection: store.checkpoints_behind(connection, request.after, until)
        )
        return audit_pb2.ExportAuditResponse(
            records=[messages.record_message(row.link, row.received_at.timestamp(), with_text=True) for row in shown],
            checkpoints=[messages.checkpoint_message(each) for each in signed if self._public.signs(each)],
            next_after=0 if is_last else until,
            public_key=self._public.pem,
        )

    async def VerifyAudit(
        self, request: audit_pb2.VerifyAuditRequest, context: Context
    ) -> audit_pb2.VerifyAuditResponse:
        due_us = round((time.time() - PUBLISHED_WITHIN_S) * MICROSECONDS)
        published = await self._published()
        stored = await self._database.read(lambda connection: store.checkpoints_behind(connection, 0))
        suspects = spans(await self._database.read(store.findings))
        check = ChainCheck(self._public, frozenset(stored), published, due_us, suspects)
        async for rows in self._pages():
            await asyncio.to_thread(check.add, store.links(rows))
        check.finish()
        return audit_pb2.VerifyAuditResponse(
            intact=not check.faults,
            faults=[messages.fault_message(fault) for fault in check.faults],
            rows=check.rows,
            first_sequence=check.first,
            last_sequence=check.last,
            checkpoints=len(stored),
            signed_until=check.signed_until,
            jetstream_read=published is not None,
            protected=await self._database.read(store.is_protected),
        )

    async def _pages(self) -> AsyncIterator[list[StoredRow]]:
        after = 0
        while True:
            rows = await self._database.read(partial(store.rows_behind, after=after, limit=CHECK_PAGE))
            if not rows:
                return
            yield rows
            after = rows[-1].link.sequence

    async def _published(self) -> frozenset[Checkpoint] | None:
        """Return the checkpoints that JetStream keeps; None while NATS is away."""
        jetstream = self._jetstream()
        if jetstream is None:
            return None
        try:
            return await published_checkpoints(jetstream)
        except (nats.errors.Error, APIError, OSError, TimeoutError) as error:
            _log.warning("audit.checkpoints_unread", error=redact(str(error)) or type(error).__name__)
            return None


def _filter(request: audit_pb2.ListAuditRowsRequest) -> RowFilter:
    start = _us(request.start) if request.HasField("start") else None
    end = _us(request.end) if request.HasField("end") else None
    if start is not None and end is not None and start >= end:
        problem = FieldProblem("start", "must lie before the end")
        raise InvalidInputError("the time span is empty", fields=(problem,))
    outcome = request.outcome if request.outcome == "refused" else request.outcome.upper()
    return RowFilter(request.actor, request.resource, request.method, outcome, start, end, request.on_behalf_of)


def _us(moment: Timestamp) -> int:
    return moment.seconds * MICROSECONDS + moment.nanos // 1000


def _sequence(after: str) -> int | None:
    if not after:
        return None
    if not after.isdecimal() or len(after) > 19:
        raise invalid_page("page_token", "is not one that this service gave; begin without one")
    return int(after)


def _record(row: StoredRow) -> audit_pb2.AuditRecord:
    return messages.record_message(row.link, row.received_at.timestamp())

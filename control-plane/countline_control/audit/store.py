"""SQL of the audit. Each function works inside the caller's transaction; none changes or deletes a row."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, cast, insert, or_, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.audit.calls import SYSTEM
from countline_common.data.audit_rights import IS_PROTECTED
from countline_control.audit.chain import GENESIS, AuditPublicKey, Checkpoint, HeadSearch, Link
from countline_control.audit.findings import AUDITOR
from countline_control.audit.tables import audit_logs, checkpoints

LOCK: Final = 0x61756469
"""Key of the lock under which rows are chained."""
PAGE: Final = 1000
FIRST_LOOK: Final = 2
"""Rows that show where an untouched chain ends: the last one, and the one before it, which proves the last one."""


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows a caller asks for; empty values do not filter."""

    actor: str = ""
    resource: str = ""
    method: str = ""
    outcome: str = ""
    start_us: int | None = None
    end_us: int | None = None
    on_behalf_of: str = ""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row and when it was stored."""

    link: Link
    received_at: datetime


async def lock_chain(connection: AsyncConnection) -> None:
    """Let other processes wait with new rows until this transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


async def head(connection: AsyncConnection, public: AuditPublicKey) -> tuple[int, bytes, int | None]:
    """Return sequence and hash of the row behind which the next one belongs, and how many rows fit there.

    After a purge of all rows, it is the last row that was purged. See `HeadSearch` for rows of somebody else.
    """
    search = HeadSearch(public)
    before, limit = None, FIRST_LOOK
    while rows := await rows_before(connection, RowFilter(), before, limit):
        if search.add(links(rows)):
            break
        before, limit = rows[-1].link.sequence, PAGE
    if search.head is not None:
        return search.head.sequence, search.head.hash, search.room
    return *await last_signed(connection, public, purges=True), None


async def known(connection: AsyncConnection, row_ids: Collection[str]) -> set[str]:
    """Return those of the rows that are stored."""
    query = select(audit_logs.c.row_id).where(audit_logs.c.row_id.in_(row_ids))
    return set((await connection.execute(query)).scalars())


async def append(connection: AsyncConnection, links: Iterable[Link]) -> None:
    """Add rows at the end of the chain."""
    values = [
        {"sequence": each.sequence, "hashed_text": each.text, "hash": each.hash, "signature": each.signature}
        for each in links
    ]
    if values:
        await connection.execute(insert(audit_logs), values)


async def rows_behind(connection: AsyncConnection, after: int, limit: int, until: int | None = None) -> list[StoredRow]:
    """Return rows in order of the chain, up to the row `until`."""
    query = select(audit_logs).where(audit_logs.c.sequence > after).order_by(audit_logs.c.sequence).limit(limit)
    if until is not None:
        query = query.where(audit_logs.c.sequence <= until)
    return [_stored(row) for row in (await connection.execute(query)).mappings()]


async def rows_before(
    connection: AsyncConnection, wanted: RowFilter, before: int | None, limit: int
) -> list[StoredRow]:
    """Return rows that a filter matches, the newest first."""
    query = select(audit_logs).where(*_conditions(wanted)).order_by(audit_logs.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(audit_logs.c.sequence < before)
    return [_stored(row) for row in (await connection.execute(query)).mappings()]


def _conditions(wanted: RowFilter) -> Iterator[ColumnElement[bool]]:
    columns = audit_logs.c
    if wanted.actor:
        yield or_(columns.actor_name == wanted.actor, columns.actor_subject == wanted.actor)
    if wanted.on_behalf_of:
        # Few rows have it, so it is no column: PostgreSQL reads it from the text.
        user = cast(columns.hashed_text, JSONB)["on_behalf_of"]
        yield or_(user["name"].astext == wanted.on_behalf_of, user["subject"].astext == wanted.on_behalf_of)
    if wanted.resource.endswith("/"):
        yield columns.resource.startswith(wanted.resource, autoescape=True)
    elif wanted.resource:
        yield columns.resource == wanted.resource
    if "/" in wanted.method or wanted.method == "system":
        yield columns.method == wanted.method
    elif wanted.method:
        yield columns.method.endswith(f"/{wanted.method}", autoescape=True)
    if wanted.outcome == "refused":
        yield columns.outcome != "OK"
    elif wanted.outcome:
        yield columns.outcome == wanted.outcome
    if wanted.start_us is not None:
        yield columns.at_us >= wanted.start_us
    if wanted.end_us is not None:
        yield columns.at_us < wanted.end_us


async def findings(connection: AsyncConnection, since_us: int = 0) -> list[str]:
    """Return the resource of each finding of the audit about its own rows (`findings`), the oldest first."""
    columns = audit_logs.c
    conditions = (columns.actor_name == AUDITOR, columns.method == SYSTEM, columns.at_us >= since_us)
    query = select(columns.resource).where(*conditions).order_by(columns.sequence)
    return [str(resource) for resource in (await connection.execute(query)).scalars()]


async def row_at(connection: AsyncConnection, sequence: int) -> StoredRow | None:
    """Return one row."""
    query = select(audit_logs).where(audit_logs.c.sequence == sequence)
    row = (await connection.execute(query)).mappings().first()
    return _stored(row) if row is not None else None


async def last_before(connection: AsyncConnection, moment: datetime, signed: int) -> Link | None:
    """Return the last row that was stored before a moment, up to the row `signed`."""
    is_due = (audit_logs.c.received_at < moment) & (audit_logs.c.sequence <= signed)
    query = select(audit_logs).where(is_due).order_by(audit_logs.c.sequence.desc()).limit(1)
    row = (await connection.execute(query)).mappings().first()
    return _stored(row).link if row is not None else None


async def add_checkpoint(connection: AsyncConnection, checkpoint: Checkpoint) -> bool:
    """Store a checkpoint; return False if there is one of its sequence."""
    values = {
        "sequence": checkpoint.sequence,
        "purge": checkpoint.purge,
        "hash": checkpoint.hash,
        "at_us": checkpoint.at_us,
        "key_id": checkpoint.key_id,
        "signature": checkpoint.signature,
    }
    statement = upsert(checkpoints).values(values).on_conflict_do_nothing()
    # The driver does not count rows that an INSERT adds.
    return (await connection.execute(statement.returning(checkpoints.c.sequence))).first() is not None


async def checkpoints_behind(
    connection: AsyncConnection, after: int, until: int | None = None, *, purge: bool | None = None
) -> list[Checkpoint]:
    """Return checkpoints of rows behind a sequence, in order; those of purges, the others, or both (None)."""
    query = select(checkpoints).where(checkpoints.c.sequence > after).order_by(checkpoints.c.sequence)
    if until is not None:
        query = query.where(checkpoints.c.sequence <= until)
    if purge is not None:
        query = query.where(checkpoints.c.purge == purge)
    return [Checkpoint(**row) for row in (await connection.execute(query)).mappings()]


async def last_signed(
    connection: AsyncConnection, public: AuditPublicKey, *, purges: bool = False
) -> tuple[int, bytes]:
    """Return sequence and hash of the last checkpoint of rows whose signature is good; (0, GENESIS) if there is none.

    With `purges`, checkpoints of purges count as well.
    """
    query = select(checkpoints).order_by(checkpoints.c.sequence.desc(), checkpoints.c.purge).limit(PAGE)
    if not purges:
        query = query.where(~checkpoints.c.purge)
    offset = 0
    while rows := (await connection.execute(query.offset(offset))).mappings().all():
        for checkpoint in (Checkpoint(**row) for row in rows):
            if public.signs(checkpoint):
                return checkpoint.sequence, checkpoint.hash
        offset += PAGE
    return 0, GENESIS


async def purge(connection: AsyncConnection, checkpoint: Checkpoint, days: int) -> int:
    """Delete the rows up to a signed checkpoint of a purge, and store the checkpoint; return how many.

    PostgreSQL's function `audit.purge` deletes nothing that is younger than `days`, nor than 30 days.
    """
    values = {
        "up_to": checkpoint.sequence,
        "days": days,
        "at_us": checkpoint.at_us,
        "key_id": checkpoint.key_id,
        "signature": checkpoint.signature,
    }
    found = await connection.scalar(text("SELECT audit.purge(:up_to, :days, :at_us, :key_id, :signature)"), values)
    return int(found or 0)


async def is_protected(connection: AsyncConnection) -> bool:
    """Whether the role of this connection may read and insert rows, and nothing else."""
    return bool(await connection.scalar(text(IS_PROTECTED)))


def _stored(row: Any) -> StoredRow:
    link = Link(row["sequence"], row["hashed_text"], row["hash"], row["signature"])
    return StoredRow(link, row["received_at"])


def links(rows: Sequence[StoredRow]) -> list[Link]:
    """Return the links of rows."""
    return [row.link for row in rows]

"""Writes rows at the end of the chain. Each once, by its id."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import audit_pb2
from countline_control.audit import store
from countline_control.audit.chain import AuditSigner, Link, chained
from countline_control.audit.messages import hashed_text


async def write_rows(
    connection: AsyncConnection, signer: AuditSigner, rows: Sequence[audit_pb2.AuditRow]
) -> Link | None:
    """Chain the rows that are new, and return the last of them; None if all are known.

    The caller holds the lock of the chain.
    """
    by_id = {row.row_id: row for row in rows}
    known = await store.known(connection, list(by_id))
    texts = [hashed_text(row) for row_id, row in by_id.items() if row_id not in known]
    last: Link | None = None
    while texts:
        sequence, hashed, room = await store.head(connection, signer.public)
        now, texts = texts[:room], texts[room:] if room is not None else []
        links = list(chained(hashed, sequence, now, signer))
        await store.append(connection, links)
        last = links[-1]
    return last

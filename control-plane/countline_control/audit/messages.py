"""Translates audit rows: from the message of a service to the text that is hashed, and back to messages for callers."""

import json
from typing import Any, Final

from countline.v1 import audit_pb2
from countline_common.times import MICROSECONDS, to_timestamp
from countline_control.audit.chain import ChainFault, Checkpoint, Link

UNDECODABLE: Final = "UNDECODABLE"
"""Outcome that stands in the answer for a row whose text is none of ours."""


def hashed_text(row: audit_pb2.AuditRow) -> str:
    """Return a row as JSON with sorted keys and without blanks, as it is stored and hashed."""
    values: dict[str, Any] = {
        "id": row.row_id,
        "at_us": row.at.seconds * MICROSECONDS + row.at.nanos // 1000,
        "actor": {"subject": row.actor.subject, "name": row.actor.name},
        "address": row.address,
        "method": row.method,
        "resource": row.resource,
        "outcome": row.outcome,
        "problem": row.problem,
        "request_id": row.request_id,
        "changes": [[each.path, each.before, each.after] for each in row.changes],
    }
    if row.HasField("on_behalf_of"):
        values["on_behalf_of"] = {"subject": row.on_behalf_of.subject, "name": row.on_behalf_of.name}
    if row.omitted_changes:
        values["omitted_changes"] = row.omitted_changes
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.replace("\\u0000", "\\ufffd")  # PostgreSQL's JSON takes no NUL


def row_message(sequence: int, text: str) -> audit_pb2.AuditRow:
    """Translate the hashed text of a row back. A text that is no row of ours becomes a row that says so."""
    try:
        return _row_of(text)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return audit_pb2.AuditRow(
            method=f"undecodable row {sequence}",
            outcome=UNDECODABLE,
            problem=f"undecodable row {sequence}: its text is no row of the audit; run: countline audit verify",
        )


def _row_of(text: str) -> audit_pb2.AuditRow:
    values = json.loads(text)
    row = audit_pb2.AuditRow(
        row_id=values["id"],
        at=to_timestamp(values["at_us"] / MICROSECONDS),
        actor=audit_pb2.AuditActor(**values["actor"]),
        address=values["address"],
        method=values["method"],
        resource=values["resource"],
        outcome=values["outcome"],
        problem=values["problem"],
        request_id=values["request_id"],
        changes=[audit_pb2.FieldChange(path=path, before=old, after=new) for path, old, new in values["changes"]],
        omitted_changes=values.get("omitted_changes", 0),
    )
    if behalf := values.get("on_behalf_of"):
        row.on_behalf_of.CopyFrom(audit_pb2.AuditActor(**behalf))
    row.at.ToJsonString()  # refuses a time that no answer can show
    return row


def record_message(link: Link, received_at: float, *, with_text: bool = False) -> audit_pb2.AuditRecord:
    """Translate a stored row."""
    return audit_pb2.AuditRecord(
        sequence=link.sequence,
        row=row_message(link.sequence, link.text),
        received_at=to_timestamp(received_at),
        hash=link.hash.hex(),
        hashed_text=link.text if with_text else "",
    )


def checkpoint_message(checkpoint: Checkpoint) -> audit_pb2.AuditCheckpoint:
    """Translate a checkpoint."""
    return audit_pb2.AuditCheckpoint(
        sequence=checkpoint.sequence,
        hash=checkpoint.hash.hex(),
        at=to_timestamp(checkpoint.at_us / MICROSECONDS),
        purge=checkpoint.purge,
        key_id=checkpoint.key_id,
        signature=checkpoint.signature,
    )


def checkpoint_of(message: audit_pb2.AuditCheckpoint) -> Checkpoint:
    """Translate a published checkpoint.

    Raises:
        ValueError: its hash is not hexadecimal.
    """
    return Checkpoint(
        sequence=message.sequence,
        hash=bytes.fromhex(message.hash),
        at_us=message.at.seconds * MICROSECONDS + message.at.nanos // 1000,
        purge=message.purge,
        key_id=message.key_id,
        signature=message.signature,
    )


def fault_message(fault: ChainFault) -> audit_pb2.AuditFault:
    """Translate a fault of the chain."""
    return audit_pb2.AuditFault(kind=str(fault.kind), sequence=fault.sequence, problem=fault.problem)

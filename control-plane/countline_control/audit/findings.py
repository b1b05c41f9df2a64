"""What the audit finds out about its own rows, as rows: the chain goes on behind a row of somebody else, and names it.

Without this, nothing behind such a row could be signed: a checkpoint would hide it. The finding is chained and signed
as each row is, so it can be neither changed nor removed, and `ChainCheck` checks the rows that it names one by one.
"""

import re
from collections.abc import Iterable
from typing import Final
from uuid import uuid4

from countline.v1 import audit_pb2
from countline_common.audit.calls import SYSTEM
from countline_common.times import to_timestamp
from countline_control.audit.chain import Doubt, FaultKind

AUDITOR: Final = "countline audit"
"""Actor of findings. No user can have this name, and no service can send a row of it."""
OUTCOME: Final = "TAMPERED"
_PLACE: Final = re.compile(r"audit/rows/(\d{1,19})(?:-(\d{1,19}))?")
_PROBLEMS: Final = {
    FaultKind.INSERTED: "not written by the audit",
    FaultKind.CHANGED: "changed after the audit wrote it",
    FaultKind.MISSING: "missing",
    FaultKind.REPLACED: "differs from its checkpoint",
}


def finding(doubt: Doubt, at: float) -> audit_pb2.AuditRow:
    """Return the row that records a doubt.

    Args:
        doubt: about rows.
        at: Unix seconds.
    """
    rows = f"{doubt.first}" if doubt.first == doubt.last else f"{doubt.first}-{doubt.last}"
    return audit_pb2.AuditRow(
        row_id=uuid4().hex,
        at=to_timestamp(at),
        actor=audit_pb2.AuditActor(subject=AUDITOR, name=AUDITOR),
        method=SYSTEM,
        resource=f"audit/rows/{rows}",
        outcome=OUTCOME,
        problem=f"row {rows}: {_PROBLEMS[doubt.kind]}",
    )


def is_finding(row: audit_pb2.AuditRow) -> bool:
    """Whether a row claims to be a finding; only the audit itself writes those."""
    return AUDITOR in (row.actor.name, row.actor.subject)


def spans(resources: Iterable[str]) -> list[tuple[int, int]]:
    """Return first and last rows of the spans that findings name."""
    found = [_PLACE.fullmatch(resource) for resource in resources]
    return [(int(each[1]), int(each[2] or each[1])) for each in found if each is not None]

"""Second factors as messages of the contract."""

import segno

from countline.v1 import factor_pb2
from countline_common.times import to_timestamp
from countline_control.auth.factor.domain import FactorState


def factor_message(state: FactorState, *, required: bool) -> factor_pb2.Factor:
    """Translate the state of a second factor."""
    since = to_timestamp(state.active.since.timestamp()) if state.active is not None else None
    return factor_pb2.Factor(
        enabled=state.active is not None,
        required=required,
        enabled_at=since,
        recovery_codes_left=len(state.recovery),
    )


def qr_rows(text: str) -> list[str]:
    """Return a text as a QR code without border: one row a line, `1` is dark."""
    return ["".join(str(int(dark)) for dark in row) for row in segno.make(text, micro=False).matrix]

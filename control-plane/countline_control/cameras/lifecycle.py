"""The life of a camera: what is wanted of it, and which status may follow which. Pure."""

from enum import StrEnum
from typing import Final

from countline_common.errors import ConflictError


class WantedStatus(StrEnum):
    """What is wanted of a camera."""

    UNSPECIFIED = ""
    """For a new camera: active. In a change: as it is."""
    ACTIVE = "active"
    INACTIVE = "inactive"
    PAUSED = "paused"
    RETIRED = "retired"
    UNKNOWN = "unknown"
    """A number that the contract does not define; never stored."""


TRANSITIONS: Final = {
    WantedStatus.ACTIVE: (WantedStatus.INACTIVE, WantedStatus.PAUSED, WantedStatus.RETIRED),
    WantedStatus.INACTIVE: (WantedStatus.ACTIVE, WantedStatus.RETIRED),
    WantedStatus.PAUSED: (WantedStatus.ACTIVE, WantedStatus.INACTIVE, WantedStatus.RETIRED),
    WantedStatus.RETIRED: (),
}
"""What each status may become. `docs/cameras.md` shows the same table."""


def check_transition(camera_id: str, before: WantedStatus, after: WantedStatus) -> None:
    """Check a change of status.

    Raises:
        ConflictError: the status cannot become this one; it names those that are possible.
    """
    if after is before or after in TRANSITIONS[before]:
        return
    possible = " or ".join(TRANSITIONS[before])
    hint = f"it can become {possible}" if possible else "it is over; create a new camera: countline cameras add"
    raise ConflictError(f"camera {camera_id!r} is {before.value} and cannot become {after.value}", hint=hint)

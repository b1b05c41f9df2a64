"""The changes of a camera: the events of one command, the states around them, and what they mean for counts. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from countline_control.cameras.events.consequences import Consequence, Effect, camera_consequences
from countline_control.cameras.events.domain import (
    CameraImported,
    Recorded,
    RecordedCamera,
    StreamAddressChanged,
    folded,
)
from countline_control.cameras.lifecycle import WantedStatus


@dataclass(frozen=True, slots=True)
class PastChange:
    """One change of a camera."""

    events: Sequence[Recorded]
    before: RecordedCamera
    after: RecordedCamera

    @property
    def first(self) -> Recorded:
        """The first event; all of them share time, revision and actor."""
        return self.events[0]


def changes_of(state: RecordedCamera, events: Sequence[Recorded]) -> Iterator[PastChange]:
    """Yield changes, the oldest first.

    Args:
        state: before the first event.
        events: of whole changes, in order.
    """
    for _, group in groupby(events, key=lambda each: each.change):
        of_change = tuple(group)
        after = folded(of_change, state)
        yield PastChange(of_change, state, after)
        state = after


def consequences(change: PastChange) -> tuple[Consequence, ...]:
    """Return what a change meant for counting."""
    before, after = change.before.camera, change.after.camera
    if isinstance(change.first.event, CameraImported):
        text = "an older release left it in this state; what happened before is in the audit"
        return (Consequence(Effect.HISTORY, text),)
    new_password = any(isinstance(each.event, StreamAddressChanged) for each in change.events)
    found = camera_consequences(before, after, new_password=new_password)
    return tuple(_with_stop(each, change) for each in found)


def _with_stop(consequence: Consequence, change: PastChange) -> Consequence:
    """Add to a start how long the camera was not counted."""
    stopped_at, after = change.before.stopped_at, change.after.camera
    if consequence.effect is not Effect.START or after is None or after.status is not WantedStatus.ACTIVE:
        return consequence
    if change.before.camera is None:
        return consequence
    if stopped_at is None:
        return replace(consequence, lost_s=None)
    lost_s = change.first.at - stopped_at
    return replace(consequence, text=f"{consequence.text}; it was stopped for {_duration(lost_s)}", lost_s=lost_s)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours >= 48:
        return f"{hours // 24} days"
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"

"""A camera that a plane holds: the wanted plan, the present camera, and the step from the present to the wanted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from countline_common.logs import get_logger
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState, Fault

AWAY_CODES: Final = {"unavailable", "deadline_exceeded"}
"""Codes of faults that say that Triton does not answer; it is expected to come back."""
_log = get_logger(__name__)


class KeptCamera(Protocol):
    """A camera of a plane. All but `condition` is called on the plane's loop."""

    @property
    def crashed_at(self) -> float | None:
        """Monotonic time at which a bug in Countline stopped this camera; None while it runs.

        The plane then creates the camera again.
        """
        ...

    def tick(self, now: float) -> None:
        """Do what is due; called once a second with the monotonic time."""
        ...

    def watch(self, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        ...

    def set_paused(self, fault: Fault | None) -> None:
        """Take no more frames for this reason; None: go on."""
        ...

    def condition(self) -> CameraCondition:
        """The camera at this moment; may be called from any thread."""
        ...


AnyCamera = TypeVar("AnyCamera", bound=KeptCamera)


@dataclass(slots=True)
class HeldCamera(Generic[AnyCamera]):
    """What is wanted of a camera, and what there is."""

    camera_id: str
    wanted: CameraPlan | None
    """None if the camera shall end."""
    plan: CameraPlan | None = None
    """The plan that the camera was brought to; None if there is no camera, or it must be made again."""
    camera: AnyCamera | None = None
    fault: Fault | None = None
    """Why there is no camera though one is wanted, or why the last change failed."""
    watched_until: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the camera's task has something to do."""
    task: asyncio.Task[None] | None = None

    def tick(self, now: float) -> None:
        """Give the camera its tick; a failure is logged."""
        try:
            if self.camera is not None:
                self.camera.tick(now)
        except Exception:  # noqa: BLE001  (the other cameras get their ticks all the same)
            _log.exception("camera.tick_failed", camera=self.camera_id)

    def crashed_for_s(self, now: float) -> float:
        """How long ago a bug in Countline stopped the camera, seconds; 0 if none did."""
        crashed_at = self.camera.crashed_at if self.camera is not None else None
        return 0.0 if crashed_at is None else now - crashed_at

    def watch(self, until: float) -> None:
        """Hand pictures of this camera, or of the next one, to the sink until this monotonic time."""
        self.watched_until = until
        if self.camera is not None:
            self.camera.watch(until)

    def condition(self) -> CameraCondition:
        """The condition of the camera at this moment; may be called from any thread."""
        camera, fault = self.camera, self.fault
        if camera is None:
            starts = fault is None or fault.code in AWAY_CODES
            return CameraCondition(CameraState.STARTING if starts else CameraState.FAILED, fault)
        condition = camera.condition()
        return condition if fault is None else replace(condition, fault=fault)


class KeepingStep(Enum):
    """What brings a camera to the wanted plan."""

    MAKE = "make"
    """Make a new camera; the present one, if any, ends before."""
    CHANGE = "change"
    """Change the present camera, which goes on."""
    END = "end"


GoesOn = Callable[[CameraPlan, CameraPlan], bool]
"""Whether a running camera can change from the first plan to the second without a restart."""


def next_step(present: CameraPlan | None, wanted: CameraPlan | None, goes_on: GoesOn) -> KeepingStep:
    """The step from the plan that a camera was brought to (None: no camera) to the wanted one (None: no camera)."""
    if wanted is None:
        return KeepingStep.END
    return KeepingStep.CHANGE if present is not None and goes_on(present, wanted) else KeepingStep.MAKE

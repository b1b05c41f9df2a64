"""Keeps cameras as they are wanted, on an event loop in a thread of its own: what every plane does in the same way.

    add, update, remove --wishes--> held camera: what is wanted of it, and what there is
                                       |
                        its task --next_step--> make | change | end, again and again until nothing is wanted

The thread keeps the work of a plane from holding up the loop that talks to the control-plane and to NATS. Whatever is
asked of a plane from another thread is posted to the loop and done there in the order in which it was asked, so nothing
comes between two steps of one camera. What the steps are made of is the plane's own.
"""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.waiting import happens
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState, Fault, OnEnd, fault_of
from countline_pipelines.triton import InferenceClient

TICK_S: Final = 1.0
RETRY_REFUSED_S: Final = 10.0
"""Longest wait before a wish that was refused (a model that is missing) is tried again."""
RETRY_CRASHED_S: Final = 10.0
"""After which what a fault of ours has ended is made anew; not at once, since it may happen again."""
AWAY_CODES: Final = {"unavailable", "deadline_exceeded"}
"""Of faults that say that Triton does not answer: it will be there some time."""
_log = get_logger(__name__)

Connect = Callable[[], Awaitable[InferenceClient]]


class KeptCamera(Protocol):
    """A camera of a plane; used on the plane's loop, but for `condition`."""

    @property
    def crashed_at(self) -> float | None:
        """Monotonic time at which a fault of ours ended it, so that it must be made anew."""
        ...

    def tick(self, now: float) -> None:
        """Once a second, with the monotonic time."""
        ...

    def watch(self, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        ...

    def set_paused(self, fault: Fault | None) -> None:
        """Take no more frames, and say why; None: go on."""
        ...

    def condition(self) -> CameraCondition:
        """The camera at this moment."""
        ...


AnyCamera = TypeVar("AnyCamera", bound=KeptCamera)


@dataclass(slots=True)
class Held(Generic[AnyCamera]):
    """A camera that a plane holds: what is wanted of it, and what there is."""

    camera_id: str
    wanted: CameraPlan | None
    """None where it shall end."""
    plan: CameraPlan | None = None
    """What the camera was brought to; None where there is none, or it must be made anew."""
    camera: AnyCamera | None = None
    fault: Fault | None = None
    """Why there is no camera though one is wanted, or why the last change could not be made."""
    watched_until: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Step(Enum):
    """What brings a camera to what is wanted of it."""

    MAKE = "make"
    """A new one; the one that is there ends before."""
    CHANGE = "change"
    """The one that is there goes on."""
    END = "end"


GoesOn = Callable[[CameraPlan, CameraPlan], bool]
"""Whether a camera of the first plan can be brought to the second one without being made anew."""


def next_step(present: CameraPlan | None, wanted: CameraPlan | None, goes_on: GoesOn) -> Step:
    """The step from the plan that a camera was brought to, None for none, to the one that is wanted, None for none."""
    if wanted is None:
        return Step.END
    return Step.CHANGE if present is not None and goes_on(present, wanted) else Step.MAKE


class KeepingPlane(ABC, Generic[AnyCamera]):
    """See the module and `planes.interface.Plane`. Methods that a plane adds are called on its loop.

    Args:
        connect: makes the client to Triton.
        on_end: told of a camera whose source is over, or that gives up.
        once: give a camera up at its first fault, as a command on one file does.
    """

    def __init__(self, connect: Connect, on_end: OnEnd, *, once: bool = False) -> None:
        self._connect = connect
        self._on_end = on_end
        self._once = once
        self._connecting = asyncio.Lock()
        self._client: InferenceClient | None = None
        self._held: dict[str, Held[AnyCamera]] = {}
        self._closing = False
        self._paused: Fault | None = None
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="plane", daemon=True)

    # What a plane adds -----------------------------------------------------------------------------------------------

    @abstractmethod
    def _goes_on(self, present: CameraPlan, wanted: CameraPlan) -> bool:
        """See `GoesOn`."""

    @abstractmethod
    async def _make(self, held: Held[AnyCamera], plan: CameraPlan) -> AnyCamera:
        """A camera that does nothing yet; raises a `CountlineError` where there can be none now."""

    @abstractmethod
    def _begin(self, camera: AnyCamera) -> None:
        """Have a new camera take frames."""

    @abstractmethod
    async def _change(self, held: Held[AnyCamera], camera: AnyCamera, plan: CameraPlan) -> None:
        """Bring a camera that goes on to another plan; raises a `CountlineError` where that cannot be now."""

    @abstractmethod
    async def _end(self, camera: AnyCamera) -> None:
        """Have a camera take no more frames, and let go of what it uses."""

    async def _tick(self, now: float) -> None:
        """Once a second, after the cameras' own."""

    async def _close_rest(self) -> None:
        """Let go of what is left when there is no camera any more."""

    # From any thread -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the plane's thread."""
        self._thread.start()

    def add_camera(self, plan: CameraPlan) -> None:
        """See `Plane`."""
        self.update_camera(plan)

    def update_camera(self, plan: CameraPlan) -> None:
        """See `Plane`."""
        self._post(lambda: self._want(plan.camera_id, plan))

    def remove_camera(self, camera_id: str) -> None:
        """See `Plane`."""
        self._post(lambda: self._want(camera_id, None))

    def watch(self, camera_id: str, until: float) -> None:
        """See `Plane`."""
        self._post(lambda: self._watch(camera_id, until))

    def pause(self, fault: Fault) -> None:
        """See `Plane`."""
        self._post(lambda: self._set_paused(fault))

    def resume(self) -> None:
        """See `Plane`."""
        self._post(lambda: self._set_paused(None))

    def conditions(self) -> dict[str, CameraCondition]:
        """See `Plane`."""
        return {camera_id: self._condition(held) for camera_id, held in list(self._held.items())}

    def close(self, timeout_s: float) -> None:
        """See `Plane`."""
        self._post(self._stopping.set)
        self._thread.join(timeout_s)

    def _post(self, work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the plane has ended
            self._loop.call_soon_threadsafe(work)

    def _condition(self, held: Held[AnyCamera]) -> CameraCondition:
        camera, fault = held.camera, held.fault
        if camera is None:
            starts = fault is None or fault.code in AWAY_CODES
            return CameraCondition(CameraState.STARTING if starts else CameraState.FAILED, fault)
        condition = camera.condition()
        return condition if fault is None else replace(condition, fault=fault)

    # On the loop: wishes ---------------------------------------------------------------------------------------------

    def _want(self, camera_id: str, plan: CameraPlan | None) -> None:
        held = self._held.get(camera_id)
        if self._closing or (held is None and plan is None):
            return
        if held is None:
            held = self._held[camera_id] = Held(camera_id, plan)
            held.task = self._loop.create_task(self._keep(held), name=f"held-{camera_id}")
        held.wanted = plan
        held.changed.set()

    def _watch(self, camera_id: str, until: float) -> None:
        held = self._held.get(camera_id)
        if held is not None:
            held.watched_until = until
            if held.camera is not None:
                held.camera.watch(until)

    def _set_paused(self, fault: Fault | None) -> None:
        self._paused = fault
        for held in self._held.values():
            if held.camera is not None:
                held.camera.set_paused(fault)

    # On the loop: the task of a camera -------------------------------------------------------------------------------

    async def _keep(self, held: Held[AnyCamera]) -> None:
        """Bring what there is to what is wanted, again and again, until nothing is wanted."""
        backoff = Backoff(longest_s=RETRY_REFUSED_S)
        while True:
            held.changed.clear()
            wanted = held.wanted
            retry_s = await self._attempt(held, wanted, backoff)
            if wanted is None and held.wanted is None:  # else it was wanted again while it was being ended
                del self._held[held.camera_id]
                return
            await happens(held.changed, retry_s)

    async def _attempt(self, held: Held[AnyCamera], wanted: CameraPlan | None, backoff: Backoff) -> float | None:
        """Bring a camera to a plan; returns after how long to try again, None where that is not needed."""
        try:
            await self._bring(held, wanted)
        except CountlineError as error:
            self._note_refused(held, wanted, error)
            return backoff.next_s()
        except Exception as error:  # noqa: BLE001  (the task's last resort: a camera must not be left without one)
            _log.exception("camera.keeper_failed", camera=held.camera_id)
            held.fault = fault_of(error)
            return RETRY_CRASHED_S
        backoff.reset()
        return None

    def _note_refused(self, held: Held[AnyCamera], wanted: CameraPlan | None, error: CountlineError) -> None:
        held.fault = fault_of(error)
        if self._once and wanted is not None:
            self._on_end(wanted, CameraState.FAILED)  # who waits for the end tells the fault
        else:
            _log.warning("camera.not_as_wanted", camera=held.camera_id, error=error.message, hint=error.hint)

    async def _bring(self, held: Held[AnyCamera], wanted: CameraPlan | None) -> None:
        step = next_step(held.plan, wanted, self._goes_on)
        if step is Step.CHANGE and held.camera is not None and wanted is not None:
            await self._change(held, held.camera, wanted)
            held.plan = wanted
        else:
            await self._end_present(held)
            if wanted is not None:
                await self._make_present(held, wanted)
        held.fault = None

    async def _make_present(self, held: Held[AnyCamera], plan: CameraPlan) -> None:
        camera = await self._make(held, plan)
        held.plan, held.camera = plan, camera
        camera.watch(held.watched_until)
        camera.set_paused(self._paused)
        self._begin(camera)

    async def _end_present(self, held: Held[AnyCamera]) -> None:
        camera, held.camera, held.plan = held.camera, None, None
        if camera is not None:
            await self._end(camera)

    # On the loop: the plane's life -----------------------------------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._look_after_all(time.monotonic())
            except Exception:  # noqa: BLE001  (the plane's last resort: every camera would end with its thread)
                _log.exception("plane.tick_failed")
            await happens(self._stopping, TICK_S)
        await self._shut_down()

    async def _look_after_all(self, now: float) -> None:
        for held in list(self._held.values()):
            if held.camera is not None:
                self._tick_safely(held.camera_id, held.camera, now)
                crashed_at = held.camera.crashed_at
                if crashed_at is not None and now - crashed_at > RETRY_CRASHED_S and not self._once:
                    held.plan = None
                    held.changed.set()
        await self._tick(now)

    def _tick_safely(self, camera_id: str, camera: AnyCamera, now: float) -> None:
        try:
            camera.tick(now)
        except Exception:  # noqa: BLE001  (the other cameras are looked after all the same)
            _log.exception("camera.tick_failed", camera=camera_id)

    async def _connected(self) -> InferenceClient:
        """The client to Triton, made at the first need."""
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _shut_down(self) -> None:
        self._closing = True
        for held in self._held.values():
            held.wanted = None
            held.changed.set()
        tasks = [held.task for held in self._held.values() if held.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close_rest()
        if self._client is not None:
            await self._client.close()

"""Reconciles running cameras with the desired ones, on an event loop in a thread of its own; the same on every plane.

    add, update, remove --wanted plan--> HeldCamera: what is wanted, and what there is
                                            |
                        its task --next_step--> make | change | end, again and again until nothing is wanted

A call from another thread is posted to the loop and runs there in the order of the calls, so nothing comes between two
steps of one camera. Each plane adds what a step does.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final, Generic

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_common.waiting import happens
from countline_pipelines import metrics
from countline_pipelines.pauses import RETRY_REFUSED_S
from countline_pipelines.planes.held import AnyCamera, HeldCamera, KeepingStep, next_step
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState, Fault, OnEnd, fault_of
from countline_pipelines.planes.plane_thread import PlaneThread
from countline_pipelines.triton import InferenceClient

RETRY_CRASHED_S: Final = 10.0
"""Pause before a crashed camera is created again, because it may crash at once."""
_log = get_logger(__name__)

Connect = Callable[[], Awaitable[InferenceClient]]


class TritonConnection:
    """A client to Triton that is connected when it is needed first.

    Args:
        connect: connects it.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._client: InferenceClient | None = None

    async def client(self) -> InferenceClient:
        """The client; the first call connects it."""
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            await self._client.close()


class KeepingPlane(ABC, Generic[AnyCamera]):
    """The part of `planes.interface.Plane` that all planes share. Methods that a plane adds are called on its loop.

    Args:
        connect: connects to Triton.
        on_end: called when a camera's source is over, or the camera gives up.
        once: give a camera up at its first fault, as a command on one file does.
    """

    def __init__(self, connect: Connect, on_end: OnEnd, *, once: bool = False) -> None:
        self._triton = TritonConnection(connect)
        self._on_end = on_end
        self._once = once
        self._held: dict[str, HeldCamera[AnyCamera]] = {}
        self._closing = False
        self._paused: Fault | None = None
        self._thread = PlaneThread(self._tick_all, self._shut_down)

    # What a plane adds -----------------------------------------------------------------------------------------------

    @abstractmethod
    def _goes_on(self, present: CameraPlan, wanted: CameraPlan) -> bool:
        """Whether a running camera can change from the first plan to the second without a restart."""

    @abstractmethod
    async def _make(self, held: HeldCamera[AnyCamera], plan: CameraPlan) -> AnyCamera:
        """Make a camera that takes no frames yet.

        Raises:
            CountlineError: the camera cannot be made now.
        """

    @abstractmethod
    def _begin(self, camera: AnyCamera) -> None:
        """Let a new camera take frames."""

    @abstractmethod
    async def _change(self, held: HeldCamera[AnyCamera], camera: AnyCamera, plan: CameraPlan) -> None:
        """Bring a camera that goes on to another plan.

        Raises:
            CountlineError: that is not possible now.
        """

    @abstractmethod
    async def _end(self, camera: AnyCamera) -> None:
        """Stop a camera and release what it uses."""

    async def _tick(self, now: float) -> None:
        """Do what is due; called once a second, after the cameras' own `tick`."""

    async def _close_rest(self) -> None:
        """Release what is left after the last camera has ended."""

    # From any thread -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the plane's thread."""
        self._thread.start()

    def add_camera(self, plan: CameraPlan) -> None:
        """Start a camera."""
        self.update_camera(plan)

    def update_camera(self, plan: CameraPlan) -> None:
        """Change a camera, or make it again where it cannot change."""
        self._thread.post(lambda: self._want(plan.camera_id, plan))

    def remove_camera(self, camera_id: str) -> None:
        """Stop a camera."""
        self._thread.post(lambda: self._want(camera_id, None))

    def watch(self, camera_id: str, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        self._thread.post(lambda: self._watch(camera_id, until))

    def pause(self, fault: Fault) -> None:
        """Take no more frames, for this reason."""
        self._thread.post(lambda: self._set_paused(fault))

    def resume(self) -> None:
        """Undo `pause`."""
        self._thread.post(lambda: self._set_paused(None))

    def conditions(self) -> dict[str, CameraCondition]:
        """Every camera that the plane holds, by id."""
        return {camera_id: self._condition(held) for camera_id, held in list(self._held.items())}

    def close(self, timeout_s: float) -> None:
        """Stop every camera and wait for it; a plane that hangs is logged."""
        if not self._thread.close(timeout_s):
            _log.error("plane.hangs", cameras=list(self._held))

    def _condition(self, held: HeldCamera[AnyCamera]) -> CameraCondition:
        return held.condition()

    # On the loop: what is wanted ------------------------------------------------------------------------------------

    def _want(self, camera_id: str, plan: CameraPlan | None) -> None:
        held = self._held.get(camera_id)
        if self._closing or (held is None and plan is None):
            return
        if held is None:
            held = self._held[camera_id] = HeldCamera(camera_id, plan)
            held.task = asyncio.create_task(self._keep(held), name=f"held-{camera_id}")
        held.wanted = plan
        held.changed.set()

    def _watch(self, camera_id: str, until: float) -> None:
        held = self._held.get(camera_id)
        if held is not None:
            held.watch(until)

    def _set_paused(self, fault: Fault | None) -> None:
        self._paused = fault
        for held in self._held.values():
            if held.camera is not None:
                held.camera.set_paused(fault)

    # On the loop: the task of a camera -------------------------------------------------------------------------------

    async def _keep(self, held: HeldCamera[AnyCamera]) -> None:
        """Bring a camera to the wanted plan, again and again, until nothing is wanted."""
        backoff = Backoff(longest_s=RETRY_REFUSED_S)
        while True:
            held.changed.clear()
            wanted = held.wanted
            retry_s = await self._attempt(held, wanted, backoff)
            if wanted is None and held.wanted is None:  # else it was wanted again while it ended
                del self._held[held.camera_id]
                metrics.forget_camera(held.camera_id)
                return
            await happens(held.changed, retry_s)

    async def _attempt(self, held: HeldCamera[AnyCamera], wanted: CameraPlan | None, backoff: Backoff) -> float | None:
        """Bring a camera to a plan. Return the seconds after which to try again; None if there is no need."""
        try:
            await self._bring(held, wanted)
        except CountlineError as error:
            self._note_refused(held, wanted, error)
            return backoff.next_s()
        except Exception as error:  # noqa: BLE001  (the task's last resort: a camera must not be left without its task)
            _log.exception("camera.keeper_failed", camera=held.camera_id)
            held.fault = fault_of(error)
            return RETRY_CRASHED_S
        backoff.reset()
        return None

    def _note_refused(self, held: HeldCamera[AnyCamera], wanted: CameraPlan | None, error: CountlineError) -> None:
        held.fault = fault_of(error)
        if self._once and wanted is not None:
            self._on_end(wanted, CameraState.FAILED)  # the caller that waits for the end reports the fault
        else:
            _log.warning("camera.not_as_wanted", camera=held.camera_id, error=error.message, hint=error.hint)

    async def _bring(self, held: HeldCamera[AnyCamera], wanted: CameraPlan | None) -> None:
        step = next_step(held.plan, wanted, self._goes_on)
        if step is KeepingStep.CHANGE and held.camera is not None and wanted is not None:
            await self._change(held, held.camera, wanted)
            held.plan = wanted
        else:
            await self._end_present(held)
            if wanted is not None:
                await self._make_present(held, wanted)
        held.fault = None

    async def _make_present(self, held: HeldCamera[AnyCamera], plan: CameraPlan) -> None:
        camera = await self._make(held, plan)
        held.plan, held.camera = plan, camera
        camera.watch(held.watched_until)
        camera.set_paused(self._paused)
        self._begin(camera)

    async def _end_present(self, held: HeldCamera[AnyCamera]) -> None:
        camera, held.camera, held.plan = held.camera, None, None
        if camera is not None:
            await self._end(camera)

    # On the loop: the plane's life -----------------------------------------------------------------------------------

    async def _tick_all(self, now: float) -> None:
        for held in list(self._held.values()):
            held.tick(now)
            if held.crashed_for_s(now) > RETRY_CRASHED_S and not self._once:
                held.plan = None
                held.changed.set()
        await self._tick(now)

    async def _shut_down(self) -> None:
        self._closing = True
        for held in self._held.values():
            held.wanted = None
            held.changed.set()
        tasks = [held.task for held in self._held.values() if held.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close_rest()
        await self._triton.close()

"""The software plane: cameras and lanes on an event loop in a thread of its own.

Counting takes time on the interpreter; in a thread of its own it cannot hold up the loop that talks to the
control-plane and to NATS. The public methods hand their work to that loop.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_pipelines import metrics
from countline_pipelines.backoff import Backoff
from countline_pipelines.counting.explain import Journal
from countline_pipelines.plane import (
    CameraCondition,
    CameraPlan,
    CameraState,
    Fault,
    FollowerPlan,
    PlaneSink,
    fault_of,
)
from countline_pipelines.software.camera import SoftwareCamera
from countline_pipelines.software.lane import LaneOptions, ModelLane
from countline_pipelines.sources import Decoding
from countline_pipelines.triton import InferenceClient, ModelInfo

TICK_S: Final = 1.0
DRAIN_S: Final = 1.0
"""How long frames that are with Triton are waited for when a camera is stopped."""
RETRY_MODEL_S: Final = 10.0
RETRY_CRASHED_S: Final = 10.0
FOLLOWER_FAULT: Final = "follower"
"""Code of the fault of a camera that is counted, and whose version on trial is not."""
_log = get_logger(__name__)

Connect = Callable[[], Awaitable[InferenceClient]]


@dataclass(frozen=True, slots=True)
class PlaneOptions:
    """How a plane runs."""

    lane: LaneOptions = field(default_factory=LaneOptions)
    once: bool = False
    """Give a source up at its first failure, as a command on one file does."""
    keep_pictures: bool = False
    """Hand the picture of every frame to the sink."""
    journal: Journal | None = None
    """Gets the reason of each crossing and near-crossing, of all cameras together."""
    decoding: Decoding = field(default_factory=Decoding)
    """What may decode; the CPU alone where it is not given."""


@dataclass(slots=True)
class _Held:
    """A camera that the plane holds: what is wanted of it, and what there is."""

    wanted: CameraPlan | None
    changed: asyncio.Event
    plan: CameraPlan | None = None
    camera: SoftwareCamera | None = None
    fault: Fault | None = None
    """Why there is no camera though one is wanted, or why the last change could not be made."""
    keeper: asyncio.Task[None] | None = None


class SoftwarePlane:
    """See `countline_pipelines.plane.Plane`.

    Args:
        connect: makes the client to Triton; called on the plane's loop.
        sink: whom to tell.
        options: how to run.
        on_end: called from the plane's thread when a camera's source is over.
    """

    def __init__(
        self,
        connect: Connect,
        sink: PlaneSink,
        options: PlaneOptions | None = None,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connect = connect
        self._sink = sink
        self._options = options or PlaneOptions()
        self._on_end = on_end
        self._loop = asyncio.new_event_loop()
        self._client: InferenceClient | None = None
        self._held: dict[str, _Held] = {}
        self._lanes: dict[str, ModelLane] = {}
        """By version."""
        self._newest: dict[str, str] = {}
        """The version that a model named without one stands for, while a lane leads to it."""
        self._opening = asyncio.Lock()
        self._closing = False
        self._paused: Fault | None = None
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="plane", daemon=True)

    def start(self) -> None:
        """Start the plane's thread."""
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        while not self._stopping.is_set():
            for held in list(self._held.values()):
                if held.camera is not None:
                    held.camera.tick()
                    self._replace_crashed(held.camera, held)
            for lane in self._lanes.values():
                metrics.QUEUED_FRAMES.labels(lane.name).set(len(lane.batcher))
            try:
                await asyncio.wait_for(self._stopping.wait(), TICK_S)
            except TimeoutError:
                continue
        await self._shut_down()

    def _replace_crashed(self, camera: SoftwareCamera, held: _Held) -> None:
        """Make a camera anew that a fault of ours has ended; not at once, since it may happen again."""
        if camera.crashed and not self._options.once and camera.crashed_for_s > RETRY_CRASHED_S:
            held.plan = None
            held.changed.set()

    # Plane -----------------------------------------------------------------------------------------------------------

    def add_camera(self, plan: CameraPlan) -> None:
        """Begin with a camera."""
        self._loop.call_soon_threadsafe(self._want, plan.camera_id, plan)

    def update_camera(self, plan: CameraPlan) -> None:
        """Change a camera: its lines, its model and its follower while it runs, anything else by a new camera."""
        self._loop.call_soon_threadsafe(self._want, plan.camera_id, plan)

    def remove_camera(self, camera_id: str) -> None:
        """Stop a camera."""
        self._loop.call_soon_threadsafe(self._want, camera_id, None)

    def conditions(self) -> dict[str, CameraCondition]:
        """Every camera that the plane holds, by id."""
        return {camera_id: _condition(held) for camera_id, held in list(self._held.items())}

    def watch(self, camera_id: str, until: float) -> None:
        """Hand pictures to the sink until this monotonic time."""
        held = self._held.get(camera_id)
        if held is not None and held.camera is not None:
            held.camera.watch(until)

    def pause(self, fault: Fault) -> None:
        """Take no more frames."""
        self._paused = fault
        for held in list(self._held.values()):
            if held.camera is not None:
                held.camera.pause(fault)

    def resume(self) -> None:
        """Undo `pause`."""
        self._paused = None
        for held in list(self._held.values()):
            if held.camera is not None:
                held.camera.resume()

    def close(self, timeout_s: float) -> None:
        """Stop every camera and wait for it."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout_s)

    # On the loop -----------------------------------------------------------------------------------------------------

    def _want(self, camera_id: str, plan: CameraPlan | None) -> None:
        if self._closing:
            return
        held = self._held.get(camera_id)
        if held is None:
            if plan is None:
                return
            held = self._held[camera_id] = _Held(plan, asyncio.Event())
            held.keeper = self._loop.create_task(self._keep(camera_id, held), name=f"camera-{camera_id}")
        held.wanted = plan
        held.changed.set()

    async def _keep(self, camera_id: str, held: _Held) -> None:
        """Bring what there is to what is wanted, again and again, until nothing is wanted."""
        backoff = Backoff(longest_s=RETRY_MODEL_S)
        while True:
            held.changed.clear()
            if held.wanted is None:
                await self._stop_camera(held)
                if held.wanted is None:  # else it was wanted again while it was being stopped
                    del self._held[camera_id]
                    return
            retry_s = await self._attempt(camera_id, held, held.wanted, backoff)
            with suppress(TimeoutError):
                await asyncio.wait_for(held.changed.wait(), retry_s)

    async def _attempt(self, camera_id: str, held: _Held, plan: CameraPlan, backoff: Backoff) -> float | None:
        """Bring a camera to its plan; returns after how long to try again, None where that is not needed."""
        try:
            await self._bring_to(held, plan)
        except CountlineError as error:
            held.fault = fault_of(error, FOLLOWER_FAULT if isinstance(error, _FollowerError) else "")
            if self._options.once:
                self._on_end(camera_id)  # who waits for the end tells the fault
            else:
                _log.warning("camera.not_as_wanted", camera=camera_id, error=error.message, cure=error.cure)
            return backoff.next_s()
        except Exception as error:  # noqa: BLE001  (the keeper's last resort: a camera must not be left without one)
            _log.exception("camera.keeper_failed", camera=camera_id)
            held.fault = fault_of(error)
            return RETRY_CRASHED_S
        backoff.reset()
        return None

    async def _bring_to(self, held: _Held, plan: CameraPlan) -> None:
        if held.camera is None or held.plan is None or not held.plan.goes_over_to(plan):
            await self._stop_camera(held)
            held.plan = plan
            await self._make_camera(held, plan)
        else:
            await self._go_over(held, held.camera, held.plan, plan)
        held.fault = None
        assert held.camera is not None
        await self._bring_follower(held.camera, plan)

    async def _make_camera(self, held: _Held, plan: CameraPlan) -> None:
        lane = await self._enter_lane(plan.model, plan)
        try:
            held.camera = SoftwareCamera(
                plan,
                lane,
                self._sink,
                self._on_end,
                held.changed.set,
                once=self._options.once,
                keep_pictures=self._options.keep_pictures,
                journal=self._options.journal,
                decoding=self._options.decoding,
            )
        except CountlineError:
            await self._leave_lanes([lane], plan)
            raise
        if self._paused is not None:
            held.camera.pause(self._paused)
        held.camera.start()

    async def _go_over(self, held: _Held, camera: SoftwareCamera, present: CameraPlan, plan: CameraPlan) -> None:
        """Change a camera whose source stays open: lines at once, then the model."""
        unfit = _reconfigured(camera, present, plan)
        if unfit is None:  # whatever becomes of the model
            held.plan = replace(present, counting=plan.counting)
        await self._end_retired(camera)
        if camera.follower_plan != plan.follower:
            camera.unfollow()
        await self._bring_model(camera, plan)
        if unfit is not None and not camera.is_changing:
            raise unfit
        held.plan = plan

    async def _bring_model(self, camera: SoftwareCamera, plan: CameraPlan) -> None:
        """Have the wanted version take over; a change that is past its middle is waited for, and wakes the keeper."""
        if not camera.may_change:
            return
        lane = await self._enter_lane(plan.model, plan)
        entered = False
        try:  # looked at again: the way there may take long, and the camera went on meanwhile
            entered = camera.may_change and _change(camera, plan, lane)
        finally:
            await self._leave_lanes([] if entered else [lane], plan)
        await self._end_retired(camera)

    async def _bring_follower(self, camera: SoftwareCamera, plan: CameraPlan) -> None:
        """Have the wanted version follow; after a change, which wakes the keeper at its end."""
        wanted = plan.follower
        if camera.follower_plan == wanted or wanted is None or not camera.may_follow:
            return
        try:
            lane = await self._enter_lane(wanted.model, plan)
            followed = False
            try:
                followed = camera.may_follow and _follow(camera, wanted, lane)
            finally:
                await self._leave_lanes([] if followed else [lane], plan)
        except CountlineError as error:
            raise _FollowerError(error.message, cure=error.cure) from error

    async def _end_retired(self, camera: SoftwareCamera) -> None:
        await self._leave_lanes(await camera.end_retired(DRAIN_S), camera.plan)

    async def _stop_camera(self, held: _Held) -> None:
        camera, held.camera = held.camera, None
        if camera is not None:
            await self._leave_lanes(await camera.stop(DRAIN_S), camera.plan)

    async def _enter_lane(self, model: str, plan: CameraPlan) -> ModelLane:
        """The lane of a model for one more branch of a camera."""
        async with self._opening:
            lane = self._lanes.get(self._newest.get(model, model)) or await self._open_lane(model)
            lane.users += 1
            lane.live_users += not plan.source.playback.is_finite
            return lane

    async def _open_lane(self, model: str) -> ModelLane:
        if self._client is None:
            self._client = await self._connect()
        info = await _load_version(self._client, model)
        name = str(info.ref)
        if name not in self._lanes:
            self._lanes[name] = await self._lane_to(self._client, info)
        if name != model:
            self._newest[model] = name
        return self._lanes[name]

    async def _lane_to(self, client: InferenceClient, info: ModelInfo) -> ModelLane:
        lane: ModelLane | None = None
        try:
            lane = ModelLane(client, info, self._options.lane)
            await lane.open()
        except BaseException:
            if lane is not None:
                await lane.close()
            client.release(str(info.ref))
            raise
        return lane

    async def _leave_lanes(self, lanes: Sequence[ModelLane], plan: CameraPlan) -> None:
        for lane in lanes:
            lane.users -= 1
            lane.live_users -= not plan.source.playback.is_finite
            if lane.users == 0:
                await self._close_lane(lane)

    async def _close_lane(self, lane: ModelLane) -> None:
        del self._lanes[lane.name]
        self._newest = {model: name for model, name in self._newest.items() if name != lane.name}
        assert self._client is not None
        self._client.release(lane.name)
        await lane.close()

    async def _shut_down(self) -> None:
        self._closing = True
        for held in self._held.values():
            held.wanted = None
            held.changed.set()
        keepers = [held.keeper for held in self._held.values() if held.keeper is not None]
        await asyncio.gather(*keepers, return_exceptions=True)
        if self._client is not None:
            await self._client.close()


class _FollowerError(CountlineError):
    """A version on trial cannot follow; the camera is counted all the same."""


async def _load_version(client: InferenceClient, model: str) -> ModelInfo:
    """Load a model under the name of its version, which names the same one for as long as it is used."""
    info = await client.load(model)
    if str(info.ref) == model:
        return info
    try:
        return await client.load(str(info.ref))
    finally:
        client.release(model)


def _reconfigured(camera: SoftwareCamera, present: CameraPlan, plan: CameraPlan) -> CountlineError | None:
    """Give the camera its lines; returns why those of the branch that counts had to stay."""
    if present.counting == camera.plan.counting == plan.counting:
        return None
    try:
        camera.reconfigure(plan.counting)
    except CountlineError as error:
        return error
    return None


def _change(camera: SoftwareCamera, plan: CameraPlan, lane: ModelLane) -> bool:
    """Have the version that a lane leads to take over, unless it counts already; whether the camera uses the lane."""
    if lane is camera.coming_lane:
        return False
    if camera.is_changing:
        camera.abandon_change()
    if lane is camera.lane:
        return False
    if (error := camera.failure_of(lane)) is not None:
        raise error
    camera.change(plan, lane)
    return True


def _follow(camera: SoftwareCamera, plan: FollowerPlan, lane: ModelLane) -> bool:
    """Have the version that a lane leads to follow; true, for the camera uses the lane from then on."""
    if (error := camera.failure_of(lane)) is not None:
        raise error
    camera.follow(plan, lane)
    return True


def _condition(held: _Held) -> CameraCondition:
    if held.camera is None:
        lost = held.fault is not None and held.fault.code in {"unavailable", "deadline_exceeded"}
        state = CameraState.STARTING if held.fault is None or lost else CameraState.FAILED
        return CameraCondition(state=state, fault=held.fault)
    condition = held.camera.condition()
    return condition if held.fault is None else replace(condition, fault=held.fault)

"""The software plane: cameras, and lanes on which their frames go to Triton; see `keeping` for what it shares."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from countline_common.errors import CountlineError
from countline_counting.explain.explainer import Journal
from countline_pipelines import metrics
from countline_pipelines.planes.held import HeldCamera
from countline_pipelines.planes.interface import CameraPlan, FollowerPlan, OnEnd, PlaneSink
from countline_pipelines.planes.keeping import Connect, KeepingPlane
from countline_pipelines.planes.software.camera import SoftwareCamera
from countline_pipelines.planes.software.lane.lane import LaneOptions, ModelLane
from countline_pipelines.sources import Decoding
from countline_pipelines.triton import InferenceClient, ModelInfo

DRAIN_S: Final = 1.0
"""How long frames that are with Triton are waited for when a camera is stopped."""
FOLLOWER_FAULT: Final = "follower"
"""Code of the fault of a camera that is counted, and whose version on trial is not."""


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


class SoftwarePlane(KeepingPlane[SoftwareCamera]):
    """See `countline_pipelines.planes.interface.Plane`.

    Args:
        connect: makes the client to Triton; called on the plane's loop.
        sink: whom to tell.
        options: how to run.
        on_end: see `OnEnd`.
    """

    def __init__(
        self,
        connect: Connect,
        sink: PlaneSink,
        options: PlaneOptions | None = None,
        on_end: OnEnd = lambda *_: None,
    ) -> None:
        self._options = options or PlaneOptions()
        super().__init__(connect, on_end, once=self._options.once)
        self._sink = sink
        self._lanes: dict[str, ModelLane] = {}
        """By version."""
        self._newest: dict[str, str] = {}
        """The version that a model named without one stands for, while a lane leads to it."""
        self._opening = asyncio.Lock()

    # Cameras ---------------------------------------------------------------------------------------------------------

    def _goes_on(self, present: CameraPlan, wanted: CameraPlan) -> bool:
        return present.goes_over_to(wanted)

    async def _bring(self, held: HeldCamera[SoftwareCamera], wanted: CameraPlan | None) -> None:
        await super()._bring(held, wanted)
        if held.camera is not None and wanted is not None:
            await self._bring_follower(held.camera, wanted)

    async def _make(self, held: HeldCamera[SoftwareCamera], plan: CameraPlan) -> SoftwareCamera:
        lane = await self._enter_lane(plan.model, plan)
        try:
            return SoftwareCamera(
                plan,
                lane,
                self._sink,
                self._on_end,
                held.changed.set,
                once=self._once,
                keep_pictures=self._options.keep_pictures,
                journal=self._options.journal,
                decoding=self._options.decoding,
            )
        except CountlineError:
            await self._leave_lanes([lane], plan)
            raise

    def _begin(self, camera: SoftwareCamera) -> None:
        camera.start()

    async def _change(self, held: HeldCamera[SoftwareCamera], camera: SoftwareCamera, plan: CameraPlan) -> None:
        """Change a camera whose source stays open: lines at once, then the model."""
        assert held.plan is not None
        unfit = _reconfigured(camera, held.plan, plan)
        if unfit is None:  # whatever becomes of the model
            held.plan = replace(held.plan, counting=plan.counting)
        await self._end_retired(camera)
        if camera.follower_plan != plan.follower:
            camera.unfollow()
        await self._bring_model(camera, plan)
        if unfit is not None and not camera.is_changing:
            raise unfit

    async def _end(self, camera: SoftwareCamera) -> None:
        lanes = camera.lanes
        try:
            await camera.stop(DRAIN_S)
        finally:  # a camera that cannot even end uses nothing any more
            await self._leave_lanes(lanes, camera.plan)

    async def _tick(self, now: float) -> None:  # noqa: ARG002
        for lane in self._lanes.values():
            metrics.QUEUED_FRAMES.labels(lane.name).set(len(lane.batcher))

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
            raise _FollowerError(error.message, hint=error.hint) from error

    async def _end_retired(self, camera: SoftwareCamera) -> None:
        await self._leave_lanes(await camera.end_retired(DRAIN_S), camera.plan)

    # Lanes -----------------------------------------------------------------------------------------------------------

    async def _enter_lane(self, model: str, plan: CameraPlan) -> ModelLane:
        """The lane of a model for one more branch of a camera."""
        async with self._opening:
            lane = self._lanes.get(self._newest.get(model, model)) or await self._open_lane(model)
            lane.users += 1
            lane.live_users += not plan.source.playback.is_finite
            return lane

    async def _open_lane(self, model: str) -> ModelLane:
        client = await self._connected()
        info = await _load_version(client, model)
        name = str(info.ref)
        if name not in self._lanes:
            self._lanes[name] = await self._lane_to(client, info)
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
        (await self._connected()).release(lane.name)
        await lane.close()


class _FollowerError(CountlineError):
    """A version on trial cannot follow; the camera is counted all the same."""

    failure: Final = FOLLOWER_FAULT


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

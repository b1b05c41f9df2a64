"""The software plane: cameras, and the lanes on which their frames go to Triton. FFmpeg decodes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from countline_common.errors import CountlineError
from countline_counting.rule.facts import NewListener
from countline_pipelines import metrics
from countline_pipelines.planes.held import HeldCamera
from countline_pipelines.planes.interface import CameraPlan, FollowerPlan, OnEnd, PlaneSink
from countline_pipelines.planes.keeping import Connect, KeepingPlane
from countline_pipelines.planes.software.branches import CameraBranches
from countline_pipelines.planes.software.camera import SoftwareCamera
from countline_pipelines.planes.software.lane.lane import LaneOptions, ModelLane
from countline_pipelines.sources import Decoding
from countline_pipelines.triton import InferenceClient, ModelInfo

DRAIN_S: Final = 1.0
"""How long a camera that is stopped waits for its frames that are with Triton."""
FOLLOWER_FAULT: Final = "follower"
"""Code of the fault of a camera that is counted while its version on trial cannot run."""


@dataclass(frozen=True, slots=True)
class PlaneOptions:
    """How a plane runs."""

    lane: LaneOptions = field(default_factory=LaneOptions)
    once: bool = False
    """Give a file up at its first failure, and a camera at its first refused plan, as a command does that counts one.

    A stream is opened again all the same.
    """
    keep_pictures: bool = False
    """Hand the picture of every frame to the sink."""
    new_listener: NewListener | None = None
    """Makes the listener of each counter, of all cameras; None for no listeners."""
    decoding: Decoding = field(default_factory=Decoding)
    """What may decode; by default the CPU alone."""


class SoftwarePlane(KeepingPlane[SoftwareCamera]):
    """A `Plane` on FFmpeg and Triton.

    Args:
        connect: connects to Triton; called on the plane's loop.
        sink: takes what is counted.
        options: how to run.
        on_end: called when a camera's source is over, or the camera gives up.
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
        """By NAME@VERSION."""
        self._newest: dict[str, str] = {}
        """By name without a version: the version that it stands for while there is a lane for it."""
        self._opening = asyncio.Lock()

    # Cameras ---------------------------------------------------------------------------------------------------------

    def _goes_on(self, present: CameraPlan, wanted: CameraPlan) -> bool:
        return present.goes_over_to(wanted)

    async def _bring(self, held: HeldCamera[SoftwareCamera], wanted: CameraPlan | None) -> None:
        await super()._bring(held, wanted)
        if held.camera is not None and wanted is not None:
            await self._bring_follower(held.camera.branches, wanted)

    async def _make(self, held: HeldCamera[SoftwareCamera], plan: CameraPlan) -> SoftwareCamera:
        lane = await self._enter_lane(plan.model, plan)
        try:
            return SoftwareCamera(
                plan,
                lane,
                self._sink,
                self._on_end,
                held.changed.set,
                once=self._once and plan.source.playback.is_finite,
                keep_pictures=self._options.keep_pictures,
                new_listener=self._options.new_listener,
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
        branches = camera.branches
        unfit = _reconfigured(branches, held.plan, plan)
        if unfit is None:  # the lines stay, even if the model cannot change
            if held.plan.counting != plan.counting:
                camera.redrawn()
            held.plan = replace(held.plan, counting=plan.counting)
        await self._end_retired(branches)
        if branches.trial.plan != plan.follower:
            branches.trial.end()
        await self._bring_model(branches, plan)
        if unfit is not None and not branches.change.is_changing:
            raise unfit

    async def _end(self, camera: SoftwareCamera) -> None:
        lanes = camera.branches.lanes
        try:
            await camera.stop(DRAIN_S)
        finally:  # even a camera whose end fails no longer uses its lanes
            await self._leave_lanes(lanes, camera.plan)

    async def _tick(self, now: float) -> None:  # noqa: ARG002
        for lane in self._lanes.values():
            metrics.QUEUED_FRAMES.labels(lane.name).set(len(lane.batcher))

    async def _bring_model(self, branches: CameraBranches, plan: CameraPlan) -> None:
        """Let the wanted version take over. If a change is past its middle, do nothing: its end wakes the task."""
        if not branches.may_change:
            return
        lane = await self._enter_lane(plan.model, plan)
        entered = False
        try:  # checked again: to enter the lane may take long, and the camera went on meanwhile
            entered = branches.may_change and _change(branches, plan, lane)
        finally:
            await self._leave_lanes([] if entered else [lane], plan)
        await self._end_retired(branches)

    async def _bring_follower(self, branches: CameraBranches, plan: CameraPlan) -> None:
        """Let the wanted version follow. If a version takes over, do nothing: its end wakes the task."""
        wanted = plan.follower
        if branches.trial.plan == wanted or wanted is None or not branches.may_follow:
            return
        try:
            lane = await self._enter_lane(wanted.model, plan)
            followed = False
            try:
                followed = branches.may_follow and _follow(branches, wanted, lane)
            finally:
                await self._leave_lanes([] if followed else [lane], plan)
        except CountlineError as error:
            raise _FollowerError(error.message, hint=error.hint) from error

    async def _end_retired(self, branches: CameraBranches) -> None:
        await self._leave_lanes(await branches.end_retired(DRAIN_S), branches.plan)

    # Lanes -----------------------------------------------------------------------------------------------------------

    async def _enter_lane(self, model: str, plan: CameraPlan) -> ModelLane:
        """The lane of a model, for one more branch of a camera."""
        async with self._opening:
            lane = self._lanes.get(self._newest.get(model, model)) or await self._open_lane(model)
            lane.users += 1
            lane.live_users += not plan.source.playback.is_finite
            return lane

    async def _open_lane(self, model: str) -> ModelLane:
        client = await self._triton.client()
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
        (await self._triton.client()).release(lane.name)
        await lane.close()
        metrics.forget_model(lane.name)


class _FollowerError(CountlineError):
    """A version on trial cannot run; the camera is counted all the same."""

    failure: Final = FOLLOWER_FAULT


async def _load_version(client: InferenceClient, model: str) -> ModelInfo:
    """Load a model under NAME@VERSION, which names the same version for as long as it is used."""
    info = await client.load(model)
    if str(info.ref) == model:
        return info
    try:
        return await client.load(str(info.ref))
    finally:
        client.release(model)


def _reconfigured(branches: CameraBranches, present: CameraPlan, plan: CameraPlan) -> CountlineError | None:
    """Give a camera its lines. Return why the branch that counts has to keep its old ones; None if it takes them."""
    if present.counting == branches.plan.counting == plan.counting:
        return None
    try:
        branches.reconfigure(plan.counting)
    except CountlineError as error:
        return error
    return None


def _change(branches: CameraBranches, plan: CameraPlan, lane: ModelLane) -> bool:
    """Let the version of a lane take over, unless it counts already. Return whether the camera uses the lane now.

    Raises:
        CountlineError: the version failed on this camera a moment ago, or cannot count the lines.
    """
    if lane is branches.change.coming_lane:
        return False
    if branches.change.is_changing:
        branches.change.abandon()
    if lane is branches.counting.lane:
        return False
    if (error := branches.failures.recent(lane.name)) is not None:
        raise error
    branches.begin_change(plan, lane)
    return True


def _follow(branches: CameraBranches, plan: FollowerPlan, lane: ModelLane) -> bool:
    """Let the version of a lane follow. Return True: the camera uses the lane now.

    Raises:
        CountlineError: the version failed on this camera a moment ago, or cannot count the lines.
    """
    if (error := branches.failures.recent(lane.name)) is not None:
        raise error
    branches.follow(plan, lane)
    return True

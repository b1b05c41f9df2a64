"""Whatever is asked of a plane, and in whatever order: each camera becomes what was wanted of it last."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from countline_common.errors import NotFoundError, UnavailableError
from countline_counting.spec import CountingSpec
from countline_pipelines.planes import keeping, plane_thread
from countline_pipelines.planes.held import HeldCamera, KeepingStep, next_step
from countline_pipelines.planes.interface import CameraCondition, CameraPlan, CameraState, Fault
from countline_pipelines.planes.keeping import KeepingPlane
from countline_pipelines.sources import Playback, SourceSpec

PLAN = CameraPlan("door", SourceSpec("rtsp://door", Playback.LIVE), "a", CountingSpec())
FULL = Fault("spool_full", "the spool is full", "empty it")


class Client:
    """What a plane is connected with."""

    closed = False

    async def close(self) -> None:
        self.closed = True


class Camera:
    """Remembers what was done with it."""

    def __init__(self, plan: CameraPlan) -> None:
        self.plan = plan
        self.crashed_at: float | None = None
        self.paused: Fault | None = None
        self.paused_at_first: Fault | None = None
        self.watched_until = 0.0
        self.taking = False
        self.ticks = 0
        self.tick_fails = False

    def tick(self, now: float) -> None:
        if self.tick_fails:
            raise RuntimeError("by a bug")
        self.ticks += 1

    def watch(self, until: float) -> None:
        self.watched_until = until

    def set_paused(self, fault: Fault | None) -> None:
        self.paused = fault

    def condition(self) -> CameraCondition:
        return CameraCondition(CameraState.RUNNING, model=self.plan.model)


class TinyPlane(KeepingPlane[Camera]):
    """A plane of which the cameras do nothing; their model changes while they run, anything else by a new camera."""

    def __init__(self, *, once: bool = False) -> None:
        self.client = Client()
        self.given_up: list[tuple[CameraPlan, CameraState]] = []
        self.made: list[Camera] = []
        self.problems: list[str] = []
        self.errors: dict[str, Exception] = {}
        """By model: what becomes of making a camera with it, or of a change to it."""
        self.held_up: set[str] = set()
        """Models, and sources, for which or whose end is waited."""
        self.waiting: set[str] = set()
        self.attempts = 0
        self.rounds = 0
        self.round_fails = False
        super().__init__(self._connect_client, lambda *end: self.given_up.append(end), once=once)

    async def _connect_client(self) -> Client:
        return self.client

    def _goes_on(self, present: CameraPlan, wanted: CameraPlan) -> bool:
        return replace(present, model=wanted.model) == wanted

    async def _load(self, model: str) -> None:
        await self._triton.client()
        await self._wait(model)
        self.attempts += 1
        if model in self.errors:
            raise self.errors[model]

    async def _wait(self, name: str) -> None:
        while name in self.held_up:
            self.waiting.add(name)
            await asyncio.sleep(0.001)

    async def _make(self, held: HeldCamera[Camera], plan: CameraPlan) -> Camera:
        await self._load(plan.model)
        if any(camera.taking and camera.plan.camera_id == plan.camera_id for camera in self.made):
            self.problems.append(f"two cameras are {plan.camera_id}")
        self.made.append(Camera(plan))
        return self.made[-1]

    def _begin(self, camera: Camera) -> None:
        camera.taking, camera.paused_at_first = True, camera.paused

    async def _change(self, held: HeldCamera[Camera], camera: Camera, plan: CameraPlan) -> None:
        assert held.plan is not None
        if plan.model != held.plan.model:
            await self._load(plan.model)
            camera.plan = plan

    async def _end(self, camera: Camera) -> None:
        camera.taking = False
        await self._wait(camera.plan.source.url)
        if camera.plan.source.url in self.errors:
            raise self.errors[camera.plan.source.url]

    async def _tick(self, now: float) -> None:
        self.rounds += 1
        if self.round_fails:
            raise ZeroDivisionError("an accident")

    @property
    def taking(self) -> list[Camera]:
        return [camera for camera in self.made if camera.taking]

    def runs(self, plan: CameraPlan) -> bool:
        return [camera.plan for camera in self.taking] == [plan]


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.002)


@pytest.fixture
def plane() -> Iterator[TinyPlane]:
    made = TinyPlane()
    made.start()
    yield made
    made.close(5)
    assert not made.problems


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks, and tries again, soon."""
    monkeypatch.setattr(plane_thread, "TICK_S", 0.01)
    monkeypatch.setattr(keeping, "RETRY_REFUSED_S", 0.01)
    monkeypatch.setattr(keeping, "RETRY_CRASHED_S", 0.05)


OTHER = replace(PLAN, epoch=2)


@pytest.mark.parametrize(
    ("present", "wanted", "goes_on", "step"),
    [
        (None, None, False, KeepingStep.END),
        (PLAN, None, True, KeepingStep.END),
        (None, PLAN, True, KeepingStep.MAKE),  # there is nothing that could go on
        (PLAN, OTHER, False, KeepingStep.MAKE),
        (PLAN, OTHER, True, KeepingStep.CHANGE),
        (PLAN, PLAN, True, KeepingStep.CHANGE),
    ],
)
def test_the_step_to_what_is_wanted(
    present: CameraPlan | None, wanted: CameraPlan | None, goes_on: bool, step: KeepingStep
) -> None:
    assert next_step(present, wanted, lambda *_: goes_on) is step


def test_a_camera_is_made_changed_made_anew_and_ended(plane: TinyPlane) -> None:
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))
    for plan in (replace(PLAN, model="b"), PLAN):
        plane.update_camera(plan)
        wait_for(lambda plan=plan: plane.runs(plan))
    assert len(plane.made) == 1
    plane.update_camera(anew := replace(PLAN, epoch=2))
    wait_for(lambda: plane.runs(anew))
    assert len(plane.made) == 2
    plane.remove_camera("door")
    wait_for(lambda: not plane.conditions())
    assert not plane.taking


def test_of_wishes_that_come_while_a_camera_is_made_the_last_counts(plane: TinyPlane) -> None:
    plane.held_up.add("a")
    plane.add_camera(PLAN)
    wait_for(lambda: "a" in plane.waiting)
    for model in "bcdb":
        plane.update_camera(replace(PLAN, model=model))
    plane.held_up.clear()
    wait_for(lambda: plane.runs(replace(PLAN, model="b")))
    assert plane.attempts == 2


def test_a_camera_that_is_wanted_again_while_it_ends_is_made_again(plane: TinyPlane) -> None:
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))
    plane.held_up.add(PLAN.source.url)
    plane.remove_camera("door")
    wait_for(lambda: PLAN.source.url in plane.waiting)
    assert plane.conditions() == {"door": CameraCondition(CameraState.STARTING)}, "it is still being ended"
    plane.add_camera(PLAN)
    plane.held_up.clear()
    wait_for(lambda: plane.runs(PLAN))


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (NotFoundError("there is no such model", hint="deploy it"), CameraState.FAILED),
        (UnavailableError("Triton is away", hint="start it"), CameraState.STARTING),
        (ZeroDivisionError("an accident"), CameraState.FAILED),
    ],
)
@pytest.mark.usefixtures("hurried")
def test_what_cannot_be_made_says_why_and_is_tried_until_it_can(
    plane: TinyPlane, error: Exception, state: CameraState
) -> None:
    plane.errors["a"] = error
    plane.add_camera(PLAN)
    wait_for(lambda: plane.attempts > 1)
    condition = plane.conditions()["door"]
    assert condition.state is state
    assert condition.fault is not None
    assert str(error) in condition.fault.message
    plane.errors.clear()
    wait_for(lambda: plane.conditions()["door"].fault is None and plane.runs(PLAN))


@pytest.mark.usefixtures("hurried")
def test_what_cannot_be_changed_goes_on_as_it_was_and_says_why(plane: TinyPlane) -> None:
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))
    plane.errors["b"] = NotFoundError("there is no such model", hint="deploy it")
    plane.update_camera(changed := replace(PLAN, model="b"))
    wait_for(lambda: plane.conditions()["door"].fault is not None)
    assert plane.conditions()["door"].state is CameraState.RUNNING
    assert plane.runs(PLAN)
    plane.errors.clear()
    wait_for(lambda: plane.conditions()["door"].fault is None)
    assert plane.runs(changed)
    assert len(plane.made) == 1


@pytest.mark.parametrize("error", [NotFoundError("gone", hint=""), ZeroDivisionError("an accident")])
def test_a_camera_of_which_the_end_fails_is_forgotten_and_may_come_again(plane: TinyPlane, error: Exception) -> None:
    """Its task died of it, so the camera stayed for ever, and no later plan reached it."""
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))
    plane.errors[PLAN.source.url] = error
    plane.remove_camera("door")
    wait_for(lambda: not plane.conditions())
    plane.errors.clear()
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))


def test_a_camera_that_is_made_during_a_pause_is_paused_before_its_first_frame(plane: TinyPlane) -> None:
    plane.held_up.add("a")
    plane.add_camera(PLAN)
    wait_for(lambda: "a" in plane.waiting)
    plane.pause(FULL)
    plane.held_up.clear()
    wait_for(lambda: plane.runs(PLAN))
    assert plane.made[0].paused_at_first == FULL
    plane.resume()
    wait_for(lambda: plane.made[0].paused is None)


def test_who_watches_a_camera_watches_the_one_that_takes_its_place(plane: TinyPlane) -> None:
    plane.add_camera(PLAN)
    plane.watch("door", 7.0)
    plane.watch("nowhere", 7.0)
    wait_for(lambda: plane.taking and plane.made[0].watched_until == 7.0)
    plane.update_camera(OTHER)
    wait_for(lambda: plane.runs(OTHER))
    assert plane.made[1].watched_until == 7.0


@pytest.mark.usefixtures("hurried")
def test_a_camera_that_crashed_is_made_anew_and_not_at_once(plane: TinyPlane) -> None:
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))
    crashed_at = plane.made[0].crashed_at = time.monotonic()
    wait_for(lambda: len(plane.made) == 2 and plane.runs(PLAN))
    assert time.monotonic() - crashed_at > keeping.RETRY_CRASHED_S
    assert not plane.made[0].taking


@pytest.mark.usefixtures("hurried")
def test_once_a_camera_that_crashed_or_cannot_be_made_is_given_up() -> None:
    plane = TinyPlane(once=True)
    plane.start()
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))
    plane.made[0].crashed_at = time.monotonic() - 1
    plane.errors["missing"] = NotFoundError("there is no such model", hint="deploy it")
    plane.add_camera(missing := replace(PLAN, camera_id="missing", model="missing"))
    wait_for(lambda: plane.given_up)
    ticks = plane.made[0].ticks
    wait_for(lambda: plane.made[0].ticks > ticks + 1)
    plane.close(5)
    assert plane.given_up[0] == (missing, CameraState.FAILED)
    assert len(plane.made) == 1


@pytest.mark.usefixtures("hurried")
def test_a_look_that_fails_is_not_the_plane_s_last(plane: TinyPlane) -> None:
    """The thread ended, and every camera with it."""
    plane.round_fails = True
    rounds = plane.rounds
    wait_for(lambda: plane.rounds > rounds + 2)
    plane.add_camera(PLAN)
    wait_for(lambda: plane.runs(PLAN))


@pytest.mark.usefixtures("hurried")
def test_a_camera_that_cannot_be_looked_after_keeps_nobody_from_the_others(plane: TinyPlane) -> None:
    for name in ("one", "two"):
        plane.add_camera(replace(PLAN, camera_id=name))
    wait_for(lambda: len(plane.taking) == 2)
    first, second = plane.made
    first.tick_fails = True
    ticks, rounds = second.ticks, plane.rounds
    wait_for(lambda: second.ticks > ticks + 2 and plane.rounds > rounds + 2)


def test_a_plane_that_is_closed_has_ended_every_camera_and_hears_nothing_more() -> None:
    plane = TinyPlane()
    plane.start()
    for name in ("one", "two"):
        plane.add_camera(replace(PLAN, camera_id=name))
    wait_for(lambda: len(plane.taking) == 2)
    plane.close(5)
    assert not plane.taking
    assert plane.client.closed
    plane.add_camera(PLAN)
    plane.pause(FULL)
    plane.close(5)
    assert not plane.conditions()


WISHES = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from(["door", "yard"]), st.sampled_from("abc"), st.integers(1, 2)),
        st.tuples(st.just("remove"), st.sampled_from(["door", "yard"])),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("refuse"), st.sampled_from("abc")),
        st.tuples(st.just("mend"), st.sampled_from("abc")),
        st.tuples(st.just("crash")),
        st.tuples(st.just("wait")),
    ),
    max_size=20,
)


@given(WISHES)
@examples(30)
def test_whatever_happens_in_between_the_last_wishes_come_true(wishes: list[tuple]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plane_thread, "TICK_S", 0.005)
        for name in ("RETRY_REFUSED_S", "RETRY_CRASHED_S"):
            patch.setattr(keeping, name, 0.005)
        plane = TinyPlane()
        plane.start()
        wanted: dict[str, CameraPlan] = {}
        paused: Fault | None = None
        for wish, *details in wishes:
            match wish, details:
                case "want", (name, model, epoch):
                    wanted[name] = replace(PLAN, camera_id=name, model=model, epoch=epoch)
                    plane.update_camera(wanted[name])
                case "remove", (name,):
                    wanted.pop(name, None)
                    plane.remove_camera(name)
                case "pause", (on,):
                    paused = FULL if on else None
                    plane.pause(FULL) if on else plane.resume()
                case "refuse", (model,):
                    plane.errors[model] = NotFoundError("there is no such model", hint="deploy it")
                case "mend", (model,):
                    plane.errors.pop(model, None)
                case "crash", ():
                    for camera in plane.taking:
                        camera.crashed_at = time.monotonic()
                case _:
                    time.sleep(0.002)
        plane.errors.clear()
        wait_for(lambda: {camera.plan.camera_id: camera.plan for camera in plane.taking} == wanted)
        wait_for(lambda: plane.conditions().keys() == wanted.keys())
        wait_for(lambda: all(camera.paused == paused and camera.crashed_at is None for camera in plane.taking))
        plane.close(5)
        assert not plane.taking
        assert not plane.problems

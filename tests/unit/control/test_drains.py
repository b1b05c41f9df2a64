"""Cordons and drains: the plan alone, and a whole fleet over random histories, on a clock that the test moves."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from countline_common.errors import InvalidInputError, NotFoundError
from countline_control.cameras.domain import Camera, CameraObservation, CameraSpec, ObservedState, PlaybackMode
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.workers.domain import AssignmentCause, CameraReport, Cordon, Holder, WorkerReport
from countline_control.workers.fleet import Fleet
from countline_control.workers.messages import assignable
from countline_control.workers.placement.cordons import LONGEST_REASON, MOVE_PATIENCE_S, check_reason
from countline_control.workers.placement.plan import AssignableWorker, AssignmentPlan, plan_assignments
from countline_control.workers.placement.why import CandidateVerdict, explain

LEASE_S = 10.0
WORKERS = ("w1", "w2", "w3")
CAMERAS = tuple(f"c{i}" for i in range(6))
FILE = "c0"
"""This camera is a file that is played once."""


@dataclass
class Process:
    """A worker process: what it holds by its last directions, whether or not anybody still hears it."""

    worker_id: str
    instance: str
    capacity: int
    epochs: dict[str, int] = field(default_factory=dict)
    is_cut_off: bool = False


class Simulation:
    """A fleet, its processes and the epochs that a database would give, in virtual time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fleet = Fleet(LEASE_S, lambda: self.now, lambda: self.now)
        self.processes: dict[str, Process] = {}
        self.ghosts: list[Process] = []
        """Processes whose names others have taken, and that count on."""
        self.last_epochs: dict[str, int] = {}
        self.started = 0
        self.wanted: set[str] = set()

    def want(self, *camera_ids: str) -> None:
        self.wanted = set(camera_ids)
        self.fleet.set_cameras([_camera(camera_id) for camera_id in sorted(self.wanted)])

    def start(self, worker_id: str, capacity: int = 2) -> Process:
        if (former := self.processes.get(worker_id)) is not None:
            self.ghosts.append(former)
        self.started += 1
        process = self.processes[worker_id] = Process(worker_id, f"i{self.started}", capacity)
        self.fleet.registry.introduce(_report(process))
        return process

    def cordon(self, worker_id: str, *, drains: bool = False, at_once: bool = False) -> None:
        self.fleet.cordons.put(Cordon(worker_id, drains, "", "ann", self.now, at_once), keep_moves=False)

    def report(self) -> None:
        """Every process that is heard reports that all its cameras run, and gets new directions."""
        for process in self.processes.values():
            if not process.is_cut_off:
                self.fleet.report(_report(process))
                held = self.fleet.assignments_of(process.worker_id, process.instance)
                process.epochs = {each.item.camera.camera_id: each.epoch for each in held}

    def step(self) -> AssignmentPlan:
        """One step of the schedule, with a database that works."""
        plan = self.fleet.plan()
        given = {}
        for camera_id, holder in sorted(self.fleet.placement.wanted_holders(plan, self.fleet.held).items()):
            once = self.fleet.plays_once(camera_id)
            self.last_epochs[camera_id] = self.last_epochs.get(camera_id, 0) + (not once)
            epoch = 0 if once else self.last_epochs[camera_id]
            at = None if once else self.now
            given[camera_id] = Holder(
                holder.worker_id, holder.instance, epoch, at, holder.cause, holder.former_worker_id
            )
        moves = self.fleet.cordons.moves_of(given, self.fleet.held)
        self.fleet.cordons.moved(moves)
        self.fleet.apply(given, plan.released)
        for cordon in self.fleet.cordons.newly_drained(self.fleet.held):
            self.fleet.cordons.put(cordon, keep_moves=True)
        return plan

    def settle(self, worker_id: str) -> list[AssignmentPlan]:
        """Let time pass until a drain has nothing left to do."""
        plans = []
        for _ in range(30):
            plans.append(self.step())
            self.report()
            self.now += 1.0
        assert plans[-1].is_empty, worker_id
        return plans

    def held_by(self, worker_id: str) -> set[str]:
        return {camera_id for camera_id, holder in self.fleet.held.items() if holder.worker_id == worker_id}


def _camera(camera_id: str):
    url, playback = f"rtsp://h/{camera_id}", PlaybackMode.LIVE
    if camera_id == FILE:
        url, playback = "file:///a.mp4", PlaybackMode.FAST
    camera = Camera(camera_id, "lab", stream_url=url, status=WantedStatus.ACTIVE, spec=CameraSpec(playback=playback))
    return assignable(camera, "UTC")


def _report(process: Process) -> WorkerReport:
    running = CameraObservation(ObservedState.RUNNING)
    cameras = tuple(CameraReport(camera_id, epoch, running) for camera_id, epoch in process.epochs.items())
    return WorkerReport(process.worker_id, process.instance, "software", process.capacity, "1", 0.0, cameras)


class RandomHistories(RuleBasedStateMachine):
    """Joins, leaves, partitions, cordons and drains in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulation()
        self.sim.want(*CAMERAS)

    @rule(worker=st.sampled_from(WORKERS), capacity=st.integers(0, 4))
    def join(self, worker: str, capacity: int) -> None:
        self.sim.start(worker, capacity)
        self.decide()

    @rule(worker=st.sampled_from(WORKERS))
    def leave(self, worker: str) -> None:
        if (process := self.sim.processes.get(worker)) is not None:
            self.sim.fleet.registry.end_lease(worker, process.instance)
            process.epochs, process.is_cut_off = {}, True
            self.decide()

    @rule(worker=st.sampled_from(WORKERS), is_cut_off=st.booleans())
    def cut_off(self, worker: str, is_cut_off: bool) -> None:
        if (process := self.sim.processes.get(worker)) is not None:
            process.is_cut_off = is_cut_off

    @rule(worker=st.sampled_from(WORKERS), drains=st.booleans(), at_once=st.booleans())
    def cordon(self, worker: str, drains: bool, at_once: bool) -> None:
        if worker in self.sim.processes:
            self.sim.cordon(worker, drains=drains, at_once=at_once)
            self.decide()

    @rule(worker=st.sampled_from(WORKERS))
    def uncordon(self, worker: str) -> None:
        self.decide()
        served = {c for c in self.sim.fleet.held if self._is_served(c)}
        self.sim.fleet.cordons.remove(worker)
        plan = self.decide()
        for camera_id in served & plan.given.keys():
            assert plan.causes[camera_id] is AssignmentCause.DRAINED, "an uncordon moves no camera by itself"

    @rule(cameras=st.sets(st.sampled_from(CAMERAS)))
    def want(self, cameras: set[str]) -> None:
        self.sim.want(*cameras)
        self.decide()

    @rule(seconds=st.sampled_from([0.5, 1.0, LEASE_S - 1, LEASE_S + 1, MOVE_PATIENCE_S + 1]))
    def time_passes(self, seconds: float) -> None:
        self.sim.now += seconds
        self.sim.report()
        self.decide()

    @precondition(lambda self: self.sim.processes)
    @rule()
    def reports(self) -> None:
        self.sim.report()
        self.decide()

    def _is_served(self, camera_id: str) -> bool:
        """Whether a camera's holder is the process that its worker has now, alive, with room for what it holds."""
        holder = self.sim.fleet.held[camera_id]
        worker = self.sim.fleet.placement.workers(self.sim.fleet.held)[holder.worker_id]
        is_alive = worker.alive and worker.instance == holder.instance
        return is_alive and len(self.sim.held_by(holder.worker_id)) <= worker.capacity

    def decide(self) -> AssignmentPlan:
        """Step the schedule, and check what it did."""
        sim, before = self.sim, dict(self.sim.fleet.held)
        workers = sim.fleet.placement.workers(sim.fleet.held)
        served = {camera_id for camera_id in before if self._is_served(camera_id)}
        plan = sim.step()
        for camera_id, worker_id in plan.given.items():
            former = before[camera_id].worker_id if camera_id in before else ""
            assert not workers[worker_id].cordoned or former == worker_id, "a cordoned worker gets no new camera"
            assert workers[worker_id].alive
            if camera_id in served:
                assert workers[former].drains, "only drains move cameras that are counted"
                assert worker_id != former
        for worker_id, worker in workers.items():
            moved = [c for c in served & plan.given.keys() if before[c].worker_id == worker_id]
            assert len(moved) <= worker.moves_now
        self._check_epochs()
        return plan

    def _check_epochs(self) -> None:
        """No two processes count a camera under the same epoch: all epochs but the newest are fenced."""
        counted: dict[tuple[str, int], str] = {}
        for process in (*self.sim.processes.values(), *self.sim.ghosts):
            for camera_id, epoch in process.epochs.items():
                if epoch:
                    other = counted.setdefault((camera_id, epoch), process.instance)
                    assert other == process.instance, f"{camera_id} has two unfenced workers under epoch {epoch}"


TestRandomHistories = RandomHistories.TestCase


@given(
    st.dictionaries(st.sampled_from(CAMERAS), st.booleans()),
    st.dictionaries(
        st.sampled_from(CAMERAS), st.builds(Holder, st.sampled_from(WORKERS), st.sampled_from("ab"), st.integers(0, 2))
    ),
    st.dictionaries(
        st.sampled_from(WORKERS),
        st.builds(
            AssignableWorker,
            instance=st.sampled_from("ab"),
            capacity=st.integers(0, 4),
            alive=st.booleans(),
            cordoned=st.just(True),
            drains=st.booleans(),
            moves_now=st.integers(0, 3),
        )
        | st.builds(AssignableWorker, instance=st.sampled_from("ab"), capacity=st.integers(0, 4), alive=st.booleans()),
    ),
)
def test_what_a_drain_leaves_has_nowhere_to_go_or_waits_its_turn(once: dict, held: dict, fleet: dict) -> None:
    plan = plan_assignments(once, held, fleet)
    state = {camera_id: holder.worker_id for camera_id, holder in held.items()} | plan.given
    load = {worker_id: sum(state.get(c) == worker_id for c in once if c not in plan.waiting) for worker_id in fleet}
    has_room = any(not w.cordoned and w.alive and load[name] < w.capacity for name, w in fleet.items())
    assert not (plan.stuck and has_room)
    assert not plan.stuck & plan.given.keys()
    assert set(plan.causes) == set(plan.given)


@pytest.fixture
def sim() -> Simulation:
    return Simulation()


def test_a_cordoned_worker_keeps_its_cameras_also_as_a_new_process_and_gets_no_others(sim: Simulation) -> None:
    sim.start("w1", capacity=4)
    sim.want("c1", "c2")
    sim.settle("w1")
    sim.cordon("w1")
    sim.want("c1", "c2", "c3")
    assert sim.step().waiting == {"c3"}
    assert sim.fleet.status("c3").fault.message == "all workers that are online are cordoned: 1"
    sim.start("w1", capacity=4)
    assert sim.step().given == {"c1": "w1", "c2": "w1"}
    sim.fleet.cordons.remove("w1")
    assert sim.step().given == {"c3": "w1"}


def test_a_drain_moves_one_camera_after_another_and_counts_what_it_costs(sim: Simulation) -> None:
    sim.start("w1", capacity=3)
    sim.want("c1", "c2", "c3")
    sim.settle("w1")
    sim.start("w2", capacity=3)
    sim.cordon("w1", drains=True)
    assert sim.step().given == {"c1": "w2"}
    sim.now += 2.0
    assert sim.step().is_empty, "c1 is not counted yet"
    sim.report()
    sim.report()
    assert sim.step().given == {"c2": "w2"}
    sim.settle("w1")
    moves = sim.fleet.cordons.moves("w1")
    assert [(move.camera_id, move.worker_id) for move in moves] == [("c1", "w2"), ("c2", "w2"), ("c3", "w2")]
    assert moves[0].lost_s == 2.0
    assert sim.fleet.cordons.get("w1").drained_at is not None
    assert sim.fleet.held["c1"].cause is AssignmentCause.DRAINED


def test_a_drain_goes_on_when_a_camera_is_not_counted_anywhere(sim: Simulation) -> None:
    sim.start("w1", capacity=3)
    sim.want("c1", "c2")
    sim.settle("w1")
    sim.start("w2", capacity=3)
    sim.cordon("w1", drains=True)
    sim.step()
    for _ in range(int(MOVE_PATIENCE_S) + 1):
        assert sim.held_by("w1") == {"c2"}
        sim.now += 1.0
        for name in ("w1", "w2"):
            process = sim.processes[name]
            sim.fleet.registry.renew(_report(process))
    assert sim.step().given == {"c2": "w2"}


def test_a_drain_at_once_moves_all_that_has_room_and_leaves_the_rest_where_it_is(sim: Simulation) -> None:
    sim.start("w1", capacity=4)
    sim.want("c1", "c2", "c3")
    sim.settle("w1")
    sim.start("w2", capacity=2)
    sim.cordon("w1", drains=True, at_once=True)
    assert sim.step().given == {"c1": "w2", "c2": "w2"}
    sim.settle("w1")
    assert (sim.held_by("w1"), sim.fleet.placement.stuck) == ({"c3"}, {"c3"})
    assert sim.fleet.cordons.get("w1").drained_at is None
    assert sim.fleet.status("c3").state is ObservedState.RUNNING
    sim.start("w3", capacity=1)
    assert sim.step().given == {"c3": "w3"}


def test_a_worker_that_dies_while_it_is_drained_loses_its_cameras_and_gets_back_what_found_no_room(
    sim: Simulation,
) -> None:
    sim.start("w1", capacity=3)
    sim.want("c1", "c2")
    sim.settle("w1")
    sim.start("w2", capacity=1)
    sim.cordon("w1", drains=True, at_once=True)
    sim.processes["w1"].is_cut_off = True
    for _ in range(12):
        sim.now += 1.0
        sim.report()
        sim.step()
    assert (sim.held_by("w2"), sim.held_by("w1")) == ({"c1"}, {"c2"})
    assert sim.fleet.status("c2").fault.code == "worker_offline"
    sim.start("w1", capacity=3)
    assert sim.step().given == {"c2": "w1"}, "nobody else has room: it is better counted than not"


def test_a_file_that_is_played_once_moves_under_epoch_0_and_costs_no_coverage(sim: Simulation) -> None:
    sim.start("w1", capacity=3)
    sim.want(FILE)
    sim.settle("w1")
    sim.start("w2", capacity=1)
    sim.cordon("w1", drains=True)
    sim.settle("w1")
    (move,) = sim.fleet.cordons.moves("w1")
    assert (move.epoch, move.lost_s, sim.held_by("w2")) == (0, 0.0, {FILE})


def test_cordons_and_moves_that_the_database_remembers_go_on(sim: Simulation) -> None:
    sim.start("w1", capacity=3)
    sim.want("c1", "c2")
    sim.settle("w1")
    sim.start("w2", capacity=3)
    sim.cordon("w1", drains=True)
    sim.step()
    book = sim.fleet.cordons
    book.seed([book.get("w1")], book.moves("w1"))
    assert sim.step().is_empty, "c1 is still on its way"
    sim.settle("w1")
    assert sim.held_by("w1") == set()


def test_why_names_the_holder_the_next_one_and_what_speaks_against_the_others(sim: Simulation) -> None:
    sim.start("w1", capacity=4)
    sim.want("c1", "c2")
    sim.settle("w1")
    for name, capacity in (("w2", 4), ("w3", 2), ("w4", 0), ("w5", 1)):
        sim.start(name, capacity)
    sim.want("c1", "c2", "c3")
    sim.step()
    sim.cordon("w5")
    placement = explain(sim.fleet, "c1")
    verdicts = {each.worker_id: each.verdict for each in placement.candidates}
    assert verdicts == {
        "w1": CandidateVerdict.HOLDS,
        "w2": CandidateVerdict.BUSIER,
        "w3": CandidateVerdict.NEXT,
        "w4": CandidateVerdict.FULL,
        "w5": CandidateVerdict.CORDONED,
    }
    assert placement.candidates[0].worker_id == "w1"
    sim.now += LEASE_S + 1
    assert CandidateVerdict.OFFLINE in {each.verdict for each in explain(sim.fleet, "c1").candidates}
    with pytest.raises(NotFoundError):
        explain(sim.fleet, "ghost")


def test_a_cordoned_worker_is_not_forgotten(sim: Simulation) -> None:
    sim.start("w1")
    sim.cordon("w1")
    sim.now += 8 * 86_400
    assert sim.fleet.forget_long_gone() == set()
    sim.fleet.cordons.remove("w1")
    assert sim.fleet.forget_long_gone() == {"w1"}


def test_a_reason_has_a_limit() -> None:
    check_reason("x" * LONGEST_REASON)
    with pytest.raises(InvalidInputError):
        check_reason("x" * (LONGEST_REASON + 1))

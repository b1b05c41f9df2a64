"""The assignment of cameras: for any fleet the plan keeps what can stay, fills free room and never overfills."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from countline_control.cameras.domain import Camera, CameraSpec
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.workers.domain import Holder
from countline_control.workers.messages import fingerprint
from countline_control.workers.placement.plan import AssignableWorker, plan_assignments

workers = st.dictionaries(
    st.sampled_from(["w1", "w2", "w3"]),
    st.builds(AssignableWorker, instance=st.sampled_from("ab"), capacity=st.integers(0, 3), alive=st.booleans()),
)
cameras = st.dictionaries(st.sampled_from([f"c{i}" for i in range(8)]), st.booleans(), max_size=8)
holders = st.builds(Holder, st.sampled_from(["w1", "w2", "w3", "gone"]), st.sampled_from("ab"), st.integers(0, 2))
held = st.dictionaries(st.sampled_from([f"c{i}" for i in range(10)]), holders, max_size=10)


def _after(once: dict, before: dict, fleet: dict, result) -> dict[str, Holder]:
    """The holders after the plan has been applied, as the database would store them."""
    state = {camera: holder for camera, holder in before.items() if camera not in result.released}
    for camera, worker in result.given.items():
        state[camera] = Holder(worker, fleet[worker].instance, 0 if once[camera] else 7)
    return state


def _is_served(holder: Holder | None, once: bool, fleet: dict) -> bool:
    worker = fleet.get(holder.worker_id) if holder else None
    return bool(worker and worker.alive and worker.instance == holder.instance and once == (holder.epoch == 0))


@given(cameras, held, workers)
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(once: dict, before: dict, fleet: dict) -> None:
    state = _after(once, before, fleet, plan_assignments(once, before, fleet))
    assert plan_assignments(once, state, fleet).is_empty


@given(cameras, held, workers)
def test_nobody_gets_more_than_fits_and_only_the_living_get_anything(once: dict, before: dict, fleet: dict) -> None:
    result = plan_assignments(once, before, fleet)
    state = _after(once, before, fleet, result)
    for worker_id, worker in fleet.items():
        served = [c for c, h in state.items() if h.worker_id == worker_id and _is_served(h, once[c], fleet)]
        given_now = [c for c, w in result.given.items() if w == worker_id]
        assert not given_now or (worker.alive and len(served) <= worker.capacity)


@given(cameras, held, workers)
def test_a_camera_is_moved_only_for_a_reason(once: dict, before: dict, fleet: dict) -> None:
    result = plan_assignments(once, before, fleet)
    assert result.released == {camera for camera in before if camera not in once}
    for camera in result.given:
        holder = before.get(camera)
        if _is_served(holder, once[camera], fleet):
            served = [c for c, h in before.items() if c in once and _is_served(h, once[c], fleet)]
            kept = [c for c in served if before[c].worker_id == holder.worker_id and c not in result.given]
            assert len(kept) >= fleet[holder.worker_id].capacity, "it was moved although there was room for it"


@given(cameras, held, workers)
def test_nobody_waits_while_somebody_has_room(once: dict, before: dict, fleet: dict) -> None:
    result = plan_assignments(once, before, fleet)
    state = _after(once, before, fleet, result)
    if any(not _is_served(state.get(camera), kind, fleet) for camera, kind in once.items()):
        for worker_id, worker in fleet.items():
            served = [c for c, h in state.items() if h.worker_id == worker_id and _is_served(h, once[c], fleet)]
            assert not worker.alive or len(served) >= worker.capacity


def test_the_least_loaded_by_share_of_its_capacity_gets_the_next() -> None:
    fleet = {"big": AssignableWorker("a", 8, alive=True), "small": AssignableWorker("a", 2, alive=True)}
    result = plan_assignments({f"c{i}": False for i in range(5)}, {}, fleet)
    assert sorted(result.given.values()) == ["big", "big", "big", "big", "small"]


def test_a_new_process_gets_its_cameras_back_before_others_take_the_room() -> None:
    fleet = {"w1": AssignableWorker("b", 1, alive=True)}
    result = plan_assignments({"a-new": False, "z-old": False}, {"z-old": Holder("w1", "a", 3)}, fleet)
    assert result.given == {"z-old": "w1"}
    assert result.waiting == {"a-new"}


def test_a_camera_of_a_silent_worker_stays_where_it_is_while_nobody_has_room() -> None:
    result = plan_assignments({"c": False}, {"c": Holder("w1", "a", 3)}, {"w1": AssignableWorker("a", 1, alive=False)})
    assert result.is_empty
    assert result.waiting == {"c"}


def test_a_stream_that_becomes_a_file_is_given_anew_to_its_worker() -> None:
    result = plan_assignments({"c": True}, {"c": Holder("w1", "a", 3)}, {"w1": AssignableWorker("a", 1, alive=True)})
    assert result.given == {"c": "w1"}


def test_switching_a_file_off_and_on_is_no_reason_to_play_it_again_and_a_new_rate_is() -> None:
    camera = Camera("a", stream_url="file:///a.mp4", spec=CameraSpec(processing_rate=5))
    renamed = replace(camera, name="Gate", status=WantedStatus.PAUSED, tags=("north",))
    assert fingerprint(camera) == fingerprint(renamed)
    assert fingerprint(camera) != fingerprint(replace(camera, spec=CameraSpec(processing_rate=6)))
    assert fingerprint(camera) != fingerprint(replace(camera, stream_url="file:///b.mp4"))

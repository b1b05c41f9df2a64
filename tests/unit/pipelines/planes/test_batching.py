"""Batches: full or due, fair to cameras, in each camera's order."""

from hypothesis import given
from hypothesis import strategies as st

from countline_pipelines.planes.software.lane.batching import Batcher


def test_a_batch_goes_when_it_is_full() -> None:
    batcher: Batcher[str] = Batcher(2, max_wait_s=1.0)
    batcher.put("a", "a0", 0.0)
    assert batcher.take(0.0) == []
    batcher.put("b", "b0", 0.1)
    assert batcher.take(0.1) == ["a0", "b0"]


def test_a_batch_goes_when_its_oldest_frame_has_waited_long_enough() -> None:
    batcher: Batcher[str] = Batcher(8, max_wait_s=0.01)
    batcher.put("a", "a0", 5.0)
    batcher.put("b", "b0", 5.008)
    assert batcher.take(5.005) == []
    assert abs(batcher.due_in(5.005) - 0.005) < 1e-9
    assert batcher.take(5.01) == ["a0", "b0"]
    assert batcher.due_in(6.0) == float("inf")


def test_a_fast_file_does_not_crowd_out_a_live_camera() -> None:
    batcher: Batcher[str] = Batcher(4, max_wait_s=0.0)
    for index in range(10):
        batcher.put("file", f"file{index}", 0.0)
    batcher.put("live", "live0", 0.0)
    assert batcher.take(0.0) == ["file0", "live0", "file1", "file2"]


def test_cameras_take_turns_over_batches() -> None:
    batcher: Batcher[str] = Batcher(1, max_wait_s=0.0)
    for index in range(3):
        for camera in "abc":
            batcher.put(camera, f"{camera}{index}", 0.0)
    assert [batcher.take(0.0)[0] for _ in range(9)] == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_the_oldest_frame_of_one_camera_can_be_dropped() -> None:
    batcher: Batcher[str] = Batcher(8, max_wait_s=0.0)
    for index in range(3):
        batcher.put("a", f"a{index}", 0.0)
    batcher.put("b", "b0", 0.0)
    assert batcher.drop_oldest("a") == "a0"
    assert batcher.waiting("a") == 2
    assert batcher.drop_oldest("nobody") is None
    assert batcher.drop_all("a") == ["a1", "a2"]
    assert batcher.take(0.0) == ["b0"]
    assert len(batcher) == 0


steps = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["put", "put", "take", "drop"])), max_size=80)


@given(steps, st.integers(1, 5))
def test_no_frame_is_lost_doubled_or_overtaken_within_its_camera(plan: list[tuple[str, str]], max_batch: int) -> None:
    batcher: Batcher[tuple[str, int]] = Batcher(max_batch, max_wait_s=0.0)
    count, out = 0, []
    for camera, action in plan:
        if action == "put":
            batcher.put(camera, (camera, count), float(count))
            count += 1
        elif action == "take":
            batch = batcher.take(1e9)
            assert len(batch) <= max_batch
            out += batch
        elif (dropped := batcher.drop_oldest(camera)) is not None:
            out.append(dropped)
    while batch := batcher.take(1e9):
        out += batch
    assert sorted(number for _, number in out) == list(range(count))
    for camera in "abcd":
        numbers = [number for owner, number in out if owner == camera]
        assert numbers == sorted(numbers)

"""The ring of slots: bounded, in order of memory, and strict about what is in flight."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from countline_common.errors import ResourceExhaustedError
from countline_pipelines.triton.slots import (
    PAD_VALUE,
    Slot,
    SlotRing,
    SlotState,
    SlotStateError,
    contiguous_runs,
    remove_stale_slots,
)

SHM = Path("/dev/shm")


@pytest.fixture
def ring() -> Iterator[SlotRing]:
    with SlotRing(4, 6, 8) as ring:
        yield ring


def take(ring: SlotRing) -> Slot:
    slot = ring.acquire()
    assert slot is not None
    return slot


def test_a_slot_is_a_view_into_the_segment_at_its_offset(ring: SlotRing) -> None:
    assert (SHM / ring.name).read_bytes() == bytes([PAD_VALUE]) * ring.size_bytes
    slots = [take(ring) for _ in range(2)]
    slots[1].frame_hwc[:] = 7
    content = (SHM / ring.name).read_bytes()
    assert content[slots[1].offset_bytes : slots[1].offset_bytes + ring.slot_bytes] == bytes([7]) * ring.slot_bytes
    assert content.count(7) == ring.slot_bytes == 6 * 8 * 3


def test_a_full_ring_gives_nothing(ring: SlotRing) -> None:
    for _ in range(4):
        take(ring)
    assert ring.acquire() is None


def test_the_segment_is_gone_after_close_and_views_that_are_held_stay_safe() -> None:
    ring = SlotRing(2, 4, 4)
    frame = take(ring).frame_hwc
    ring.close()
    ring.close()
    assert not (SHM / ring.name).exists()
    frame[:] = 1
    assert int(frame.sum()) == frame.size


def test_a_slot_travels_once_at_a_time(ring: SlotRing) -> None:
    with pytest.raises(SlotStateError, match="slot 0 cannot be sent while it is free"):
        ring.send([ring.slots[0]])
    slot = take(ring)
    with pytest.raises(SlotStateError, match="slot 0 cannot be returned while it is held"):
        ring.returned([slot])
    ring.send([slot])
    with pytest.raises(SlotStateError, match="slot 0 cannot be sent while it is in_flight"):
        ring.send([slot])
    ring.returned([slot])
    ring.send([slot])


def test_a_ring_larger_than_dev_shm_is_refused_with_the_size_and_a_hint() -> None:
    with pytest.raises(ResourceExhaustedError, match=r"no room for .* MiB of frames") as caught:
        SlotRing(1 << 20, 1080, 1920)
    assert "shm-size" in caught.value.hint


@pytest.mark.parametrize(
    ("indices", "longest", "runs"),
    [
        ([0, 1, 2, 3], 8, [[0, 1, 2, 3]]),
        ([3, 0, 2], 8, [[0], [2, 3]]),
        ([0, 1, 2, 3], 2, [[0, 1], [2, 3]]),
        ([2], 8, [[2]]),
        ([], 8, []),
    ],
)
def test_neighbours_travel_together(ring: SlotRing, indices: list[int], longest: int, runs: list[list[int]]) -> None:
    found = contiguous_runs([ring.slots[index] for index in indices], longest)
    assert [[slot.index for slot in run] for run in found] == runs


def test_a_slot_named_twice_in_a_batch_is_refused(ring: SlotRing) -> None:
    with pytest.raises(ValueError, match="slot 1 is named twice"):
        contiguous_runs([ring.slots[1], ring.slots[1]], 8)


@given(st.lists(st.integers(0, 63), unique=True), st.integers(1, 9))
def test_runs_hold_every_slot_once_and_lie_side_by_side(indices: list[int], longest: int) -> None:
    with SlotRing(64, 1, 1) as ring:
        runs = contiguous_runs([ring.slots[index] for index in indices], longest)
        assert sorted(indices) == [slot.index for run in runs for slot in run]
        for run in runs:
            assert 1 <= len(run) <= longest
            assert [slot.index for slot in run] == list(range(run[0].index, run[0].index + len(run)))


class RingMachine(RuleBasedStateMachine):
    """Any order of acquiring, sending and returning keeps the books right."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = SlotRing(5, 2, 2)
        self.held: list[Slot] = []
        self.flying: list[Slot] = []

    @rule()
    def acquire(self) -> None:
        slot = self.ring.acquire()
        if slot is None:
            assert len(self.held) + len(self.flying) == 5
            return
        taken = {each.index for each in (*self.held, *self.flying)}
        assert slot.index == min(set(range(5)) - taken), "slots are given in order of memory"
        self.held.append(slot)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self.held))
        self.ring.send([slot])
        self.held.remove(slot)
        self.flying.append(slot)

    @precondition(lambda self: self.flying)
    @rule()
    def come_back(self) -> None:
        self.ring.returned(self.flying)
        self.held += self.flying
        self.flying = []

    @invariant()
    def books_are_right(self) -> None:
        free = [slot for slot in self.ring.slots if slot.state is SlotState.FREE]
        assert len(free) == 5 - len(self.held) - len(self.flying)
        assert all(slot.state is SlotState.HELD for slot in self.held)
        assert all(slot.state is SlotState.IN_FLIGHT for slot in self.flying)

    def teardown(self) -> None:
        self.ring.close()


TestRingMachine = RingMachine.TestCase


def test_segments_of_a_killed_process_are_removed_and_those_of_living_ones_stay(ring: SlotRing) -> None:
    code = (
        "import os, signal; from countline_pipelines.triton.slots import SlotRing;"
        "ring = SlotRing(2, 4, 4); print(ring.name, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    name = killed.stdout.strip()
    assert (SHM / name).exists()
    assert name in remove_stale_slots()
    assert not (SHM / name).exists()
    assert (SHM / ring.name).exists()


def test_frames_of_the_ring_are_one_array(ring: SlotRing) -> None:
    take(ring).frame_hwc[:] = 9
    assert ring.frames_nhwc.shape == (4, 6, 8, 3)
    assert np.all(ring.frames_nhwc[0] == 9)
    assert np.all(ring.frames_nhwc[1:] == PAD_VALUE)

"""Segments of shared memory: owned, reserved, and removed when their owner is gone."""

import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from countline_common.errors import AlreadyExistsError
from countline_common.triton.shared_memory import SharedSegment, remove_stale

SHM = Path("/dev/shm")


@pytest.fixture
def prefix() -> str:
    # Not one of the product's own names: a Triton that stops in another test would remove these files too.
    return f"test-countline-{uuid.uuid4().hex[:8]}-"


def killed_owner(code: str) -> None:
    """Run code in a process that dies by SIGKILL at its end."""
    load = "import os, signal; from countline_common.triton.shared_memory import SharedSegment"
    text = f"{load}; {code}; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", text], check=False, env=os.environ)


def test_a_segment_lives_as_long_as_it_is_open(prefix: str) -> None:
    with SharedSegment(f"{prefix}a", 4096) as segment:
        segment.buffer[:3] = b"abc"
        assert (SHM / segment.name).read_bytes()[:3] == b"abc"
        assert remove_stale(prefix) == []
    assert not (SHM / segment.name).exists()


def test_a_name_that_is_taken_is_refused(prefix: str) -> None:
    with SharedSegment(f"{prefix}a", 16), pytest.raises(AlreadyExistsError, match=f"{prefix}a"):
        SharedSegment(f"{prefix}a", 16)


def test_what_a_killed_process_left_is_removed(prefix: str) -> None:
    killed_owner(f"a = SharedSegment('{prefix}a', 4096)")
    assert (SHM / f"{prefix}a").exists()
    assert remove_stale(prefix) == [f"{prefix}a"]


def test_a_child_that_inherited_the_proof_of_life_keeps_it(prefix: str) -> None:
    guard = SharedSegment(f"{prefix}g", 0)
    with subprocess.Popen(["sleep", "60"], pass_fds=(guard.fd,)) as child:
        os.close(guard.fd)
        guard._fd = -1  # as if this process had died without closing
        try:
            assert remove_stale(prefix) == []
        finally:
            child.kill()
    assert remove_stale(prefix) == [f"{prefix}g"]


def test_files_of_programs_that_take_no_lock_go_with_the_proof_of_life_they_are_named_after(prefix: str) -> None:
    unlocked = SHM / f"{prefix}g-region"
    with SharedSegment(f"{prefix}g", 0):
        unlocked.write_bytes(b"x" * 10)
        assert remove_stale(prefix) == [], "its guard lives"
    guard = f"g = SharedSegment('{prefix}g', 0)"
    killed_owner(guard)
    assert sorted(remove_stale(prefix)) == [f"{prefix}g", f"{prefix}g-region"]
    assert not unlocked.exists()


def test_segments_made_while_somebody_cleans_up_survive(prefix: str) -> None:
    """A file exists a moment before its lock is taken; a cleaner that comes just then must not win."""
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            remove_stale(prefix)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for number in range(2000):
            with SharedSegment(f"{prefix}{number}", 64):
                assert (SHM / f"{prefix}{number}").exists()
    finally:
        stop.set()
        cleaner.join()


def test_a_guard_does_not_stand_for_names_that_only_begin_alike(prefix: str) -> None:
    other = SHM / f"{prefix}g10"
    with SharedSegment(f"{prefix}g1", 0):
        other.write_bytes(b"x")
        assert remove_stale(prefix) == [other.name]

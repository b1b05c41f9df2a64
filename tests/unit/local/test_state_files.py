"""Small files of the data folder on a disk that takes nothing; a limit of the process stands for the full disk."""

import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from countline_local.supervision.folder_lock import FolderLock
from countline_local.supervision.log_files import MAX_LOG_BYTES, bound_all
from countline_local.supervision.state_files import PROBE_BYTES, has_room, replace_text
from countline_local.up.state import write_state


@contextmanager
def disk_that_takes(most_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_text(path, "one\n")
    replace_text(path, "two\n")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two\n", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_text(path, "the old one\n")
    with disk_that_takes(4), pytest.raises(OSError, match="File too large"):
        replace_text(path, "the new one\n")
    assert path.read_text() == "the old one\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unchanged_file_needs_no_room(tmp_path: Path) -> None:
    """A part is prepared again on a full disk: it was given up when its settings could not be written anew."""
    replace_text(tmp_path / "file", "as before\n")
    with disk_that_takes(0):
        replace_text(tmp_path / "file", "as before\n")


def test_a_state_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    with disk_that_takes(4):
        assert not write_state(tmp_path / "state.json", {"ready": True})
    assert write_state(tmp_path / "state.json", {"ready": True})


def test_room_is_found_by_writing(tmp_path: Path) -> None:
    with disk_that_takes(PROBE_BYTES - 1):
        assert not has_room(tmp_path)
    assert has_room(tmp_path)
    assert not has_room(tmp_path / "no folder")
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_copied_stays_and_is_bounded_later(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(bytes(MAX_LOG_BYTES + 1))
    with disk_that_takes(MAX_LOG_BYTES // 2):
        bound_all(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part.log"]
    assert log.stat().st_size == MAX_LOG_BYTES + 1
    bound_all(tmp_path)
    assert log.stat().st_size == 0


def test_looking_at_a_lock_writes_nothing(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock", tmp_path)
    assert not lock.is_held()
    assert list(tmp_path.iterdir()) == []
    held = FolderLock(tmp_path / "lock", tmp_path).acquire()
    assert lock.is_held()
    held.release()
    assert lock.wait_released(0)

"""Temporary folders, and what a killed process leaves of them."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from countline_common.files.scratch import UNLOCKED_S, scratch_folder

HOLD = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from countline_common.files.scratch import scratch_folder
with scratch_folder("try") as folder:
    (folder / "model").write_text("much")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def held(place: Path) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_gone_with_its_block(place: Path) -> None:
    with scratch_folder("try") as folder:
        (folder / "sub").mkdir()
        assert folder.parent == place
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next_one(place: Path) -> None:
    process, left = held(place)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left.is_dir()
    with scratch_folder("other"):
        assert left.is_dir(), "another purpose is not ours to clean"
    with scratch_folder("try") as folder:
        assert [folder] == list(place.iterdir())


def test_the_folder_of_a_living_process_stays(place: Path) -> None:
    process, folder = held(place)
    with scratch_folder("try"):
        assert (folder / "model").read_text() == "much"
    process.communicate("")
    assert process.returncode == 0
    assert not folder.exists()


def test_a_folder_that_is_just_being_made_stays_until_it_is_old(place: Path) -> None:
    young = place / "countline-try-young"
    young.mkdir()
    with scratch_folder("try"):
        assert young.is_dir()
    past = young.stat().st_mtime - 2 * UNLOCKED_S
    os.utime(young, (past, past))
    with scratch_folder("try"):
        assert not young.exists()

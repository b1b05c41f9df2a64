"""A data folder on a disk that fills up and is freed again: nothing ends, and all is well again without a command."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import nats.errors
import psycopg
import pytest
from tests.fixtures.forked.command import countline as forked_countline
from tests.fixtures.local.processes import wait_until
from tests.fixtures.local.small_disk import SmallDisk, small_disk
from tests.fixtures.repository import REPOSITORY

from countline_common.data.bus import COUNTS, counts_subject, ensure_streams
from countline_common.secrets.secret_files import ensure_secret
from countline_common.settings import DataFolder

PROGRAM = REPOSITORY / "tests" / "fixtures" / "local" / "small_system.py"
DISK_MEGABYTES = 120
AGAIN_WITHIN_S = 60.0
"""After the disk was freed."""
SUBJECT = counts_subject("site", "camera")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_MEGABYTES) as mounted:
        yield mounted


@pytest.fixture
def up(disk: SmallDisk) -> Iterator[DataFolder]:
    """PostgreSQL and NATS on the small disk, which also takes what `up` prints, as with `up -d`."""
    data = DataFolder(disk.folder / "data")
    with (disk.folder / "up.log").open("w") as output:
        process = subprocess.Popen([sys.executable, str(PROGRAM), str(data.root)], stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or state(data) == "ready", 60)
        assert process.poll() is None, (disk.folder / "up.log").read_text()
        yield data
    finally:
        process.terminate()
        process.wait(20)


def countline(data: DataFolder, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(forked_countline()), *words, "--data", str(data.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def status(data: DataFolder) -> dict:
    return json.loads(countline(data, "status", "--json").stdout)


def state(data: DataFolder) -> str:
    return str(status(data)["state"])


def pids(data: DataFolder) -> dict[str, int]:
    return {part["name"]: part["pid"] for part in status(data)["parts"]}


async def publish(data: DataFolder, payload: bytes) -> bool:
    """Whether JetStream stored a message."""
    password = ensure_secret(data.credentials / "nats-operator-password")
    port = json.loads((data.run / "ports.json").read_text())["nats"]
    client = await nats.connect(f"nats://operator:{password}@127.0.0.1:{port}")
    try:
        js = client.jetstream()
        await ensure_streams(js)
        await js.publish(SUBJECT, payload, timeout=5.0, stream=COUNTS)
    except nats.errors.TimeoutError:
        return False
    finally:
        await client.close()
    return True


def answers(data: DataFolder) -> bool:
    password = ensure_secret(data.credentials / "postgres-password")
    port = json.loads((data.run / "ports.json").read_text())["postgres"]
    try:
        with psycopg.connect(f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres") as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_parts_that_end_while_the_disk_is_full_are_started_again_and_every_command_works(
    disk: SmallDisk, up: DataFolder
) -> None:
    """The supervisor ended at the first line that it could not write, and `down` did not stop what was left."""
    disk.fill()
    before = pids(up)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pids(up)["nats"] not in {None, before["nats"]}, 30)
    shown = countline(up, "status")
    assert shown.returncode == 0
    assert "not running" not in shown.stdout
    second = countline(up, "up", "--detach")
    assert second.returncode == 1
    assert f"error: Countline is already running on {up.root}" in second.stderr, "its log took nothing"
    disk.free()
    wait_until(lambda: state(up) == "ready", AGAIN_WITHIN_S)
    assert answers(up)
    disk.fill()
    stopped = countline(up, "down")
    assert (stopped.returncode, countline(up, "status").returncode) == (0, 3), stopped.stderr
    assert state(up) == "stopped"


async def test_nats_is_restarted_once_it_can_store_again(disk: SmallDisk, up: DataFolder) -> None:
    """After one write that failed, JetStream refuses to store until the server is restarted."""
    assert await publish(up, b"before")
    nats_pid = pids(up)["nats"]
    disk.fill()
    assert not await publish(up, bytes(100_000))
    await asyncio.to_thread(wait_until, lambda: state(up) == "degraded", 30)
    assert pids(up)["nats"] == nats_pid, "a restart does not help while the disk is full"
    disk.free()
    await asyncio.to_thread(wait_until, lambda: state(up) == "ready", AGAIN_WITHIN_S)
    assert pids(up)["nats"] != nats_pid
    assert await publish(up, bytes(100_000))


def test_a_start_on_a_full_disk_is_refused_with_what_to_do(disk: SmallDisk) -> None:
    data = DataFolder(disk.folder / "data")
    disk.fill()
    started = subprocess.run(
        [sys.executable, str(PROGRAM), str(data.root)], capture_output=True, text=True, timeout=60, check=False
    )
    assert started.returncode == 1
    said = " ".join(started.stderr.split())
    assert "Traceback" not in said
    assert "error: cannot" in said
    assert "hint: " in said
    assert countline(data, "down").returncode == 0


def test_a_start_in_the_background_on_a_full_disk_says_that_it_is_full(disk: SmallDisk) -> None:
    """The reason went to a log that the disk did not take, and the error ended with nothing."""
    data = DataFolder(disk.folder / "data")
    disk.fill()
    started = countline(data, "up", "--detach", "--any-ports", "--no-demo")
    assert started.returncode == 1
    assert f"error: Countline did not start: the disk of {data.root} is full" in started.stderr
    assert "hint: free some disk space" in started.stderr

"""`up`, `status` and `down` over real parts: what stays, what goes, and what is said."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.fixtures.forked.command import countline as forked_countline
from tests.fixtures.local.processes import alive, descendants, segments_of, wait_until
from tests.fixtures.repository import REPOSITORY

from countline_common.data.bus_users import USERS
from countline_common.settings import DataFolder
from countline_local.parts.postgres import PostgresServer
from countline_local.up.state import read_status

PROGRAM = REPOSITORY / "tests" / "fixtures" / "local" / "small_system.py"
START_TIMEOUT_S = 60.0


class Running:
    """One `up` on a data folder."""

    def __init__(self, data: Path, *wishes: str) -> None:
        self.data = data
        self._out = data.with_suffix(".out").open("w+")
        self._err = data.with_suffix(".err").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(data), *wishes], stdout=self._out, stderr=self._err
        )

    @property
    def said(self) -> str:
        return self.data.with_suffix(".err").read_text()

    @property
    def printed(self) -> str:
        return self.data.with_suffix(".out").read_text()

    def wait_ready(self) -> "Running":
        wait_until(lambda: self.printed != "" or self.process.poll() is not None, START_TIMEOUT_S)
        assert self.process.poll() is None, self.said
        return self

    @property
    def pids(self) -> set[int]:
        return {self.process.pid, *descendants(self.process.pid)}

    @property
    def guard(self) -> int:
        return next(pid for pid in self.pids if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
        self._out.close()
        self._err.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of the kind that users have: blanks, quotes, letters beyond ASCII, and a long path."""
    return tmp_path / f'Jürgen\'s "dätä" {"x" * 120} 数据'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty database. Creating one takes a second of processor time, and copying it a tenth."""
    folder = DataFolder(tmp_path_factory.mktemp("cluster") / "data")
    folder.root.mkdir(mode=0o700)
    PostgresServer(folder.postgres, 1, folder.credentials).prepare()
    return folder.root


@pytest.fixture
def up(data: Path, cluster: Path) -> Iterator[Running]:
    subprocess.run(["cp", "-a", str(cluster), str(data)], check=True)
    running = Running(data).wait_ready()
    yield running
    running.end()


def countline(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(forked_countline()), *words], capture_output=True, text=True, timeout=60, check=False)


def status(data: Path) -> dict:
    return json.loads(countline("status", "--data", str(data), "--json").stdout)


def state(data: Path) -> dict:
    """The status within this process: the command may start too slowly for a state that passes."""
    return read_status(DataFolder(data))


def part(data: Path, name: str) -> dict:
    return next(part for part in status(data)["parts"] if part["name"] == name)


def part_in_file(data: Path, name: str) -> dict:
    """A part as the file has it that is read when the process no longer answers."""
    written = json.loads((data / "run" / "state.json").read_text())
    return next(part for part in written["parts"] if part["name"] == name)


def superuser(data: Path) -> str:
    password = (data / "credentials" / "postgres-password").read_text().strip()
    port = json.loads((data / "run" / "ports.json").read_text())["postgres"]
    return f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"


def listening(data: Path) -> set[str]:
    """Local addresses of this folder's parts, by their processes, as /proc shows them."""
    return {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"}


def test_the_status_says_what_runs_in_exactly_the_published_form(up: Running) -> None:
    found = status(up.data)
    assert set(found) == {"state", "ready", "pid", "data", "url", "parts"}
    assert (found["state"], found["ready"], found["data"]) == ("ready", True, str(up.data))
    assert found["pid"] == up.process.pid
    assert [part["name"] for part in found["parts"]] == ["postgres", "nats"]
    for each in found["parts"]:
        assert set(each) == {"name", "state", "address", "pid", "restarts", "remark"}
        assert (each["state"], each["restarts"]) == ("ready", 0)
        assert alive(each["pid"])
        assert each["address"].startswith("127.0.0.1:")
    assert json.loads(up.printed) == found
    wait_until(lambda: json.loads((up.data / "run" / "state.json").read_text()) == found)


def test_everything_listens_on_127_0_0_1_alone(up: Running) -> None:
    ports = json.loads((up.data / "run" / "ports.json").read_text())
    own = {f"{ports[name]:04X}" for name in ("postgres", "nats", "nats-monitor")}
    addresses = {address for address in listening(up.data) if address.split(":")[1] in own}
    assert addresses == {f"0100007F:{port}" for port in own}
    assert all(line.split()[1].split(":")[1] not in own for line in Path("/proc/net/tcp6").read_text().splitlines()[1:])


def test_credentials_can_be_read_by_nobody_else(up: Running) -> None:
    files = list((up.data / "credentials").iterdir())
    names = {path.name for path in files}
    assert {"admin-password", "token-key.pem", "token-key.pub.pem", "worker-token"} <= names
    assert {f"nats-{user.name}-password" for user in USERS} <= names
    assert "nats-password" not in names, "the one of earlier releases, which all parts shared"
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((up.data / "nats" / "nats-server.conf").stat().st_mode) == 0o600


def test_a_second_up_on_the_same_folder_is_refused_and_harms_nothing(up: Running) -> None:
    before = status(up.data)
    second = subprocess.run(
        [sys.executable, str(PROGRAM), str(up.data)], capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert f"Countline is already running on {up.data} (process {up.process.pid})" in second.stderr
    assert "hint:" in second.stderr
    wait_until(lambda: status(up.data) == before)  # a part whose check came late is degraded for a moment


def test_down_stops_everything_within_10_s_and_leaves_nothing(up: Running) -> None:
    pids = up.pids
    assert len(pids) >= 4
    started = time.monotonic()
    done = countline("down", "--data", str(up.data))
    assert time.monotonic() - started < 10
    assert done.returncode == 0
    assert not any(alive(pid) for pid in pids), "`down` came back before everything was gone"
    assert up.process.wait(20) == 0
    assert segments_of(pids) == []
    assert [path for path in up.data.rglob("*") if path.is_socket()] == []
    after = status(up.data)
    assert not after["ready"]
    assert {each["state"] for each in after["parts"]} == {"stopped"}
    assert {each["pid"] for each in after["parts"]} == {None}


def test_ctrl_c_stops_everything_in_order(up: Running) -> None:
    pids = up.pids
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(20) == 0
    assert not any(alive(pid) for pid in pids)
    assert "database system is shut down" in (up.data / "logs" / "postgres.log").read_text()
    assert "Stopped in" in up.said


def test_a_second_start_goes_on_with_the_same_data_ports_and_credentials(data: Path) -> None:
    first = Running(data).wait_ready()
    with psycopg.connect(superuser(data)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    addresses = [each["address"] for each in status(data)["parts"]]
    first.end()
    second = Running(data).wait_ready()
    try:
        with psycopg.connect(superuser(data)) as connection:
            assert connection.execute("SELECT seven FROM kept").fetchone() == (7,)
        assert [each["address"] for each in status(data)["parts"]] == addresses
    finally:
        second.end()


@pytest.mark.parametrize("name", ["postgres", "nats"])
def test_a_part_that_is_killed_is_started_again_and_the_status_says_so(up: Running, name: str) -> None:
    pid = part(up.data, name)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: part(up.data, name)["restarts"] == 1 and status(up.data)["ready"], 30)
    assert part(up.data, name)["pid"] != pid
    assert f"{name}: it was ended by signal 9" in up.said
    with psycopg.connect(superuser(up.data)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_kill_9_of_the_supervisor_leaves_nothing_running_and_the_next_start_works(up: Running, data: Path) -> None:
    pids = up.pids
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    assert "database system is shut down" in (data / "logs" / "postgres.log").read_text()
    assert segments_of(pids) == []
    assert [path for path in data.rglob("*") if path.is_socket()] == []
    assert not status(data)["ready"]
    again = Running(data).wait_ready()
    again.end()


def test_a_start_right_after_kill_9_waits_for_what_is_being_ended(up: Running, data: Path) -> None:
    up.process.kill()
    up.process.wait()
    again = Running(data).wait_ready()
    assert status(data)["ready"]
    again.end()


def test_a_start_while_another_one_stops_waits_for_its_end(up: Running, data: Path) -> None:
    """It was refused as already running."""
    postgres = part(data, "postgres")["pid"]
    os.kill(postgres, signal.SIGSTOP)  # so that it takes its whole grace
    up.process.send_signal(signal.SIGINT)
    wait_until(lambda: state(data)["state"] == "stopping")
    again = Running(data).wait_ready()
    assert up.process.wait(20) == 0
    assert status(data)["ready"]
    again.end()


def test_kill_9_of_supervisor_and_guard_at_once_leaves_nothing_running(up: Running) -> None:
    pids = up.pids
    os.kill(up.guard, signal.SIGKILL)
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    again = Running(up.data).wait_ready()
    again.end()


def test_a_wished_port_that_is_taken_is_an_error_with_a_hint(data: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        failed = Running(data, f"nats={port}")
        assert failed.process.wait(30) == 1
        assert f"port {port} for nats is taken" in failed.said
        failed.end()


def test_a_part_that_cannot_start_is_reported_with_its_log_and_the_others_are_stopped(data: Path) -> None:
    (data / "nats").mkdir(parents=True)
    (data / "nats" / "store").write_text("a file where a folder must be")
    failed = Running(data)
    assert failed.process.wait(START_TIMEOUT_S) == 1
    assert "nats cannot be started: it ended with exit code 1; the end of its log:" in failed.said
    assert "not a directory" in failed.said
    assert str(data / "logs" / "nats.log") in failed.said
    assert {each["state"] for each in status(data)["parts"]} == {"stopped"}
    assert descendants(failed.process.pid) == set()
    failed.end()


def test_status_and_down_say_the_same_in_every_state(up: Running, data: Path) -> None:
    """Not ready, the status called it stopped while `up` was refused and `down` waited in vain."""
    nats = part(data, "nats")["pid"]
    os.kill(nats, signal.SIGSTOP)
    wait_until(lambda: status(data)["state"] == "degraded", 30)
    assert countline("status", "--data", str(data)).returncode == 0
    os.kill(nats, signal.SIGCONT)
    wait_until(lambda: status(data)["state"] == "ready", 30)
    (data / "run" / "control.sock").unlink()
    assert (status(data)["state"], status(data)["pid"]) == ("starting", up.process.pid)
    stopped = countline("down", "--data", str(data))
    assert stopped.returncode == 0, stopped.stderr
    assert up.process.wait(20) == 0
    gone = countline("status", "--data", str(data))
    assert (gone.returncode, status(data)["state"]) == (3, "stopped")
    assert "Countline is not running on" in gone.stdout


def test_the_status_of_a_killed_supervisor_is_stopping_until_its_parts_have_ended(up: Running, data: Path) -> None:
    postgres, guard = part(data, "postgres")["pid"], up.guard
    wait_until(lambda: part_in_file(data, "postgres")["pid"] == postgres)  # the file lags by up to half a second
    os.kill(guard, signal.SIGSTOP)  # so that no part ends before the status was read
    up.process.kill()
    up.process.wait()
    found = state(data)
    os.kill(guard, signal.SIGCONT)
    assert found["state"] == "stopping"
    (listed,) = (each for each in found["parts"] if each["name"] == "postgres")
    assert (listed["state"], listed["pid"]) == ("stopping", postgres), "it still runs"
    stopped = countline("down", "--data", str(data))
    assert stopped.returncode == 0, stopped.stderr
    assert not alive(postgres)
    assert status(data)["state"] == "stopped"


def test_down_and_status_where_nothing_runs(tmp_path: Path) -> None:
    shown = countline("status", "--data", str(tmp_path / "none"), "--json")
    assert shown.returncode == 3
    none = {"state": "stopped", "ready": False, "pid": None, "data": str(tmp_path / "none"), "url": None, "parts": []}
    assert json.loads(shown.stdout) == none
    stopped = countline("down", "--data", str(tmp_path / "none"))
    assert stopped.returncode == 0
    assert "Countline is not running on" in stopped.stderr
    assert not (tmp_path / "none").exists()


LINGERING = """
import signal, sys, time
from pathlib import Path
from countline_local.supervision.folder_lock import FolderLock

run = Path(sys.argv[1]) / "run"
run.mkdir(parents=True)
lock = FolderLock(run / "lock", run.parent).acquire()

def stop(*_):
    lock.release()
    time.sleep(6)
    sys.exit()

signal.signal(signal.SIGTERM, stop)
print("locked", flush=True)
signal.pause()
"""
"""A supervisor that takes six seconds to end after it has released the lock."""


def test_down_waits_for_a_supervisor_whose_interpreter_is_slow_to_end(data: Path) -> None:
    """After five seconds `down` reported that the system had not stopped within twenty."""
    command = [sys.executable, "-c", LINGERING, str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "locked\n"
        done = countline("down", "--data", str(data))
        assert (done.returncode, supervisor.wait(30)) == (0, 0), done.stderr


def test_a_data_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = countline("up", "--data", str(tmp_path / "file" / "data"))
    assert failed.returncode == 1
    assert f"cannot use the data folder {tmp_path / 'file' / 'data'}: Not a directory" in " ".join(
        failed.stderr.split()
    )
    assert "--data" in failed.stderr


def test_the_socket_is_reached_however_deep_the_folder_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "data"
    deep.parent.mkdir(parents=True)
    running = Running(deep).wait_ready()
    assert status(deep)["ready"]
    running.end()

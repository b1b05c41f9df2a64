"""PostgreSQL from the wheel's binaries under our own set-up."""

import asyncio
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg
import pytest
from tests.fixtures.local.ports import free_port

from countline_common.errors import UnavailableError
from countline_local.parts.postgres import DATABASES, PostgresServer
from countline_local.supervision.process_user import is_reachable

MARKER = "$argon2id$v=19$m=65536$planted"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cluster and its credentials, made once: making one is the slow part."""
    folder = tmp_path_factory.mktemp("made")
    PostgresServer(folder / "postgres", free_port()).prepare()
    return folder


@pytest.fixture
def server(made: Path, tmp_path: Path) -> PostgresServer:
    """A server on a cluster of its own."""
    subprocess.run(["cp", "-a", f"{made}/.", str(tmp_path)], check=True)
    server = PostgresServer(tmp_path / "postgres", free_port())
    server.prepare()
    return server


@contextmanager
def running(server: PostgresServer, log: IO[bytes] | int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(server.argv(), env=server.env(), stderr=log)
    try:
        asyncio.run(until_it_answers(server))
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


async def until_it_answers(server: PostgresServer) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return await server.check()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


def modes_above(path: Path) -> dict[Path, int]:
    return {folder: stat.S_IMODE(folder.stat().st_mode) for folder in path.parents}


def segments() -> list[list[str]]:
    return [line.split()[:2] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]


def test_each_database_has_a_role_of_its_own_that_sees_no_other(server: PostgresServer) -> None:
    with running(server):
        for name in DATABASES:
            with psycopg.connect(server.dsn(name)) as connection:
                assert connection.execute("SELECT current_user, current_database()").fetchone() == (name, name)
                assert str(connection.info.server_version).startswith("16")
        stranger = server.dsn("auth").removesuffix("auth") + "cameras"
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(stranger)
        wrong = server.dsn("auth").replace("auth:", "auth:x", 1)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def test_the_superuser_needs_its_password(server: PostgresServer) -> None:
    with running(server):
        psycopg.connect(server.dsn("postgres")).close()
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{server.port}/postgres")


def test_it_works_in_a_folder_that_others_may_pass_through_and_then_holds_no_capability() -> None:
    with tempfile.TemporaryDirectory(prefix="countline-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = PostgresServer(folder / "postgres", free_port())
        server.prepare()
        with running(server) as process:
            effective = Path(f"/proc/{process.pid}/status").read_text().split("CapEff:")[1].split()[0]
            assert int(effective, 16) == 0


def test_it_works_in_a_folder_that_only_its_owner_may_enter_and_changes_no_mode_above_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = modes_above(closed / "data")
    server = PostgresServer(closed / "data" / "postgres", free_port())
    server.prepare()
    with running(server) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        uid = int(status.split("Uid:")[1].split()[0])
        assert uid != 0
    assert modes_above(closed / "data") == before
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700


def test_a_second_preparation_keeps_the_data_and_passwords(server: PostgresServer) -> None:
    with running(server), psycopg.connect(server.dsn("cameras")) as connection:
        connection.execute("CREATE SCHEMA own")
        connection.execute("CREATE TABLE own.kept AS SELECT 42 AS answer")
    again = PostgresServer(server.data_dir, free_port())
    again.prepare()
    with running(again), psycopg.connect(again.dsn("cameras")) as connection:
        assert connection.execute("SELECT answer FROM own.kept").fetchone() == (42,)


FAILING = (
    f"INSERT INTO own.hashes VALUES (1, '{MARKER}'), (1, '{MARKER}')",
    f"INSERT INTO own.hashes VALUES (2, '{MARKER}-too-long')",
    f'DO $do$ BEGIN PERFORM 1/0 AS "{MARKER}"; END $do$',
    f"SELECT '{MARKER}' FROM own.absent",
    f"ALTER ROLE absent PASSWORD '{MARKER}'",
)


@pytest.mark.parametrize("is_old", [False, True])
def test_no_value_of_a_failing_statement_reaches_the_log(server: PostgresServer, tmp_path: Path, is_old: bool) -> None:
    """PostgreSQL's DETAIL lines held whole rows, and its STATEMENT lines passwords. Older clusters are cured too."""
    if is_old:
        (server.data_dir / "postgresql.conf").write_text("listen_addresses = '127.0.0.1'\n")
        server.prepare()
    log = tmp_path / "log"
    with (
        log.open("wb") as file,
        running(server, log=file),
        psycopg.connect(server.superuser_dsn("auth"), autocommit=True) as connection,
    ):
        connection.execute("CREATE SCHEMA own")
        limit = f"CHECK (length(hash) <= {len(MARKER)})"
        connection.execute(f"CREATE TABLE own.hashes (id int PRIMARY KEY, hash text {limit})".encode())
        for statement in FAILING:
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode())
        with pytest.raises(psycopg.errors.CheckViolation, match=r"\$argon2id"):
            connection.execute("INSERT INTO own.hashes VALUES (%s, %s)", (3, f"{MARKER}-too-long"))
    text = log.read_text()
    assert text.count("ERROR:") == len(FAILING) + 1, "the log still says that something failed"
    assert "$argon2id" not in text


def test_what_a_killed_server_left_is_cleared_and_what_was_committed_is_there(server: PostgresServer) -> None:
    with running(server) as process:
        with psycopg.connect(server.dsn("auth")) as connection:
            connection.execute("CREATE SCHEMA own")
            connection.execute("CREATE TABLE own.kept AS SELECT 1 AS one")
        process.kill()
        process.wait()
    segment = (server.data_dir / "postmaster.pid").read_text().splitlines()[6].split()
    assert segment in segments()
    server.prepare()
    assert not (server.data_dir / "postmaster.pid").exists()
    assert segment not in segments()
    with running(server), psycopg.connect(server.dsn("auth")) as connection:
        assert connection.execute("SELECT one FROM own.kept").fetchone() == (1,)


def test_a_pid_file_that_names_a_strangers_process_is_no_obstacle(server: PostgresServer) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (server.data_dir / "postmaster.pid").write_text(f"{stranger.pid}\n{server.data_dir}\n1\n1\n\n127.0.0.1\n 1 1\n")
        server.prepare()
        assert stranger.poll() is None
        with running(server):
            pass
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_outlived_its_supervisor_is_stopped(server: PostgresServer) -> None:
    left = subprocess.Popen(server.argv(), env=server.env(), stderr=subprocess.DEVNULL)
    asyncio.run(until_it_answers(server))
    server.prepare()
    assert left.wait(30) == 0


def test_a_making_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    partial = tmp_path / ".postgres.partial"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("16\n")
    server = PostgresServer(tmp_path / "postgres", free_port())
    server.prepare()
    with running(server):
        assert not partial.exists()


def test_a_folder_closed_to_others_is_not_reachable_by_them(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stranger = os.getuid() + 12345
    assert not is_reachable(closed / "inner", stranger, stranger)
    assert is_reachable(Path("/usr/bin"), stranger, stranger)

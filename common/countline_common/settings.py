"""Settings of a process, read once into a frozen object, and the data folder of one machine.

Every setting is an environment variable that begins with `COUNTLINE_`. Each process subclasses `ProcessSettings` with
its own settings.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs
from pydantic_settings import BaseSettings, SettingsConfigDict

from countline_common.errors import InvalidInputError

DATA_VARIABLE: Final = "COUNTLINE_DATA"


class ProcessSettings(BaseSettings):
    """Base class of each process's settings: immutable, read from `COUNTLINE_…` variables."""

    model_config = SettingsConfigDict(env_prefix="COUNTLINE_", frozen=True, extra="ignore", hide_input_in_errors=True)


def host_port(address: str) -> tuple[str, int]:
    """Split `host:port`; an IPv6 host is in brackets.

    Raises:
        InvalidInputError: the address has no port, or one outside 0..65535.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InvalidInputError(f"{address!r} is no address", hint="write it as HOST:PORT, such as 127.0.0.1:8080")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The state of one machine: databases, models, spool, logs, credentials."""

    root: Path

    @classmethod
    def resolve(cls, option: Path | None = None) -> "DataFolder":
        """The folder named by `--data`, else by COUNTLINE_DATA, else the user's (as root: the system's) usual place."""
        if option is not None:
            return cls(option.expanduser().absolute())
        if named := os.environ.get(DATA_VARIABLE):
            return cls(Path(named).expanduser().absolute())
        if os.geteuid() == 0:
            return cls(Path("/var/lib/countline"))
        return cls(platformdirs.user_data_path("countline", appauthor=False))

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.root / "postgres"

    @property
    def nats(self) -> Path:
        """JetStream's store."""
        return self.root / "nats"

    @property
    def triton(self) -> Path:
        """Triton's assembled backends."""
        return self.root / "triton"

    @property
    def models(self) -> Path:
        """The model repository that Triton serves: the shipped models and those deployed since."""
        return self.root / "triton-repo"

    @property
    def model_work(self) -> Path:
        """Uploads of models that are being deployed, and the clips that test them."""
        return self.root / "models-work"

    @property
    def spool(self) -> Path:
        """Records that JetStream has not acknowledged."""
        return self.root / "spool"

    @property
    def demo(self) -> Path:
        """The rendered clips of the demo site."""
        return self.root / "demo"

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Locks, sockets and the state of the current run."""
        return self.root / "run"

    @property
    def credentials(self) -> Path:
        """Passwords and keys, each in a file of mode 0600."""
        return self.root / "credentials"

    @property
    def certificates(self) -> Path:
        """Certificates for TLS between the parts, and their keys."""
        return self.root / "certs"

    def credential(self, name: str) -> Path:
        """The file of one credential, such as `admin-password`."""
        return self.credentials / name

"""How the embedded Triton is called: arguments and environment, nothing started."""

import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from countline_common.triton.model_config import EMBEDDED_SERVER_ID
from countline_local.supervision.ports import any_ports
from countline_local.triton.assembly import find_wheel

EXIT_TIMEOUT_S: Final = 4
"""How long a stopping server waits for requests in flight."""


@dataclass(frozen=True, slots=True)
class TritonPorts:
    """Ports to listen on. Triton's own defaults collide with ours (design: gRPC cameras 8000, analytics 8001, ...)."""

    http: int = 9000
    grpc: int = 9001
    metrics: int = 9002

    def filled(self, host: str) -> "TritonPorts":
        """The same with a free port in place of every 0."""
        return TritonPorts(*(port or _free_port(host) for port in (self.http, self.grpc, self.metrics)))

    @property
    def all_fixed(self) -> bool:
        """Whether none of them is to be chosen."""
        return all((self.http, self.grpc, self.metrics))


def _free_port(host: str) -> int:
    # Not one of those that the kernel gives to outgoing connections: while Triton restarts, a client's own attempts to
    # reconnect could occupy its port.
    return next(port for port in any_ports() if is_free(host, port))


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections linger
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class TritonAddresses:
    """Where a running server listens, each as host:port."""

    http: str
    grpc: str
    metrics: str


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """What may be chosen about an embedded server."""

    repositories: tuple[Path, ...]
    """Model repositories; a model's name must be unique over all of them."""
    models: tuple[str, ...] = ()
    """Models to load at start; the server does not start when one fails. More can be loaded at any time."""
    host: str = "127.0.0.1"
    ports: TritonPorts = field(default_factory=TritonPorts)
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class TritonCommand:
    """A call of `tritonserver`: pass both to whatever starts processes."""

    argv: tuple[str, ...]
    env: dict[str, str]


def triton_command(settings: TritonSettings, backends: Path, ports: TritonPorts, shm_prefix: str) -> TritonCommand:
    """Say how to start the server.

    Args:
        settings: what was chosen; its ports are replaced by `ports`.
        backends: what `prepare_backends` returned.
        ports: every one fixed.
        shm_prefix: how the names of Triton's own shared-memory segments begin.

    Raises:
        TritonMissingError: the wheel is not installed or does not fit this Python.
    """
    wheel = find_wheel()
    argv = [
        str(wheel.server),
        *_pairs("--model-repository", [str(path.absolute()) for path in settings.repositories]),
        *_pairs("--load-model", settings.models),
        f"--id={EMBEDDED_SERVER_ID}",
        "--model-control-mode=explicit",
        f"--backend-directory={backends.absolute()}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        *_listening(settings.host, ports),
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",  # pinned memory serves GPUs; without one it is only a warning in the log
        f"--log-verbose={int(settings.verbose)}",
        "--log-format=ISO8601",
    ]
    return TritonCommand(tuple(argv), _environment(wheel.libraries))


def _pairs(option: str, values: tuple[str, ...] | list[str]) -> list[str]:
    return [f"{option}={value}" for value in values]


def _listening(host: str, ports: TritonPorts) -> list[str]:
    return [
        f"--http-address={host}",
        f"--http-port={ports.http}",
        f"--grpc-address={host}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={host}",
        f"--metrics-port={ports.metrics}",
    ]


def _environment(libraries: tuple[Path, ...]) -> dict[str, str]:
    """The server's whole environment: little is passed on, so that it behaves the same from any shell.

    The backend's process is an isolated Python that ignores PYTHONPATH; it finds this environment's packages because
    our `python3` comes first in PATH.
    """
    # Not resolved: an environment's python3 is a link, and what it leads to knows nothing of the environment.
    interpreters = Path(sys.executable).parent
    return {
        "PATH": f"{interpreters}:/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in libraries),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

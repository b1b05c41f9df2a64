"""The command line and environment of the embedded Triton; starts nothing.

Triton's Python backend gives paths to a shell, unquoted: a blank or a quote in one ends it. So Triton runs in the
folder above its backends, whose path it receives as a name there. A repository whose path a shell would change gets a
link there.
"""

import os
import socket
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from countline_common.triton import NO_TELEMETRY
from countline_common.triton.access import HEADER
from countline_common.triton.model_config import EMBEDDED_SERVER_ID
from countline_local.supervision.ports import any_ports
from countline_local.supervision.process_user import process_user
from countline_local.triton import closed
from countline_local.triton.assembly import find_wheel, shell_safe

EXIT_TIMEOUT_S: Final = 4
"""How long a stopping server waits for requests in flight."""


RESTRICTED: Final = ("model-repository", "shared-memory", "trace", "logging")
"""Calls that need the secret. Inference over gRPC needs none: DeepStream's client cannot send one."""


@dataclass(frozen=True, slots=True)
class TritonPorts:
    """Ports to listen on. Triton's own defaults collide with ours (cameras 8000, analytics 8001, …)."""

    http: int = 9000
    grpc: int = 9001
    metrics: int = 9002

    def filled(self, host: str) -> "TritonPorts":
        """These ports with a free one in place of every 0."""
        return TritonPorts(*(port or _free_port(host) for port in (self.http, self.grpc, self.metrics)))

    @property
    def all_fixed(self) -> bool:
        """Whether no port is 0."""
        return all((self.http, self.grpc, self.metrics))


def _free_port(host: str) -> int:
    # Not one of those that the kernel gives to outgoing connections: while Triton restarts, a client's own attempts to
    # reconnect could occupy its port.
    return next(port for port in any_ports() if is_free(host, port))


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: ports with connections in TIME_WAIT are free
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class TritonAddresses:
    """Addresses of a running server, each as host:port."""

    http: str
    grpc: str
    metrics: str


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """Settings of an embedded server."""

    repositories: tuple[Path, ...]
    """Model repositories; a model's name must be unique over all of them."""
    secret: str
    """What clients must send to load models, share memory or change traces and logs; no comma, no equals sign."""
    models: tuple[str, ...] = ()
    """Models to load at start; the server does not start if one fails. Clients can load more at any time."""
    host: str = "127.0.0.1"
    ports: TritonPorts = field(default_factory=TritonPorts)
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class TritonCommand:
    """A command line of `tritonserver` with its environment."""

    argv: tuple[str, ...]
    """Without the secret, since every user of the machine can read it."""
    env: dict[str, str]


def triton_command(settings: TritonSettings, backends: Path, ports: TritonPorts, shm_prefix: str) -> TritonCommand:
    """The command that starts the server.

    Args:
        settings: of the server; `ports` replaces their ports.
        backends: the result of `prepare_backends`.
        ports: none of them 0.
        shm_prefix: of the names of Triton's own shared-memory segments.

    Raises:
        TritonMissingError: the wheel is not installed or does not fit this Python.
    """
    wheel = find_wheel()
    argv = [
        *_unprivileged((wheel.server, backends, *settings.repositories)),
        *(sys.executable, "-I", "-S", closed.__file__, str(backends.absolute().parent)),
        str(wheel.server),
        *_pairs("--model-repository", [shell_safe(path, backends.parent) for path in settings.repositories]),
        *_pairs("--load-model", settings.models),
        f"--id={EMBEDDED_SERVER_ID}",
        "--model-control-mode=explicit",
        f"--backend-directory={backends.name}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        *_listening(settings.host, ports),
        f"--grpc-restricted-protocol={','.join(RESTRICTED)}:{HEADER}{closed.PLACEHOLDER}",
        f"--http-restricted-api={','.join((*RESTRICTED, 'inference'))}:{HEADER}{closed.PLACEHOLDER}",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",  # pinned memory is for GPUs; without a GPU it only logs a warning
        f"--log-verbose={int(settings.verbose)}",
        "--log-format=ISO8601",
    ]
    return TritonCommand(tuple(argv), {**_environment(wheel.libraries), closed.SECRET_VARIABLE: settings.secret})


def _unprivileged(paths: tuple[Path, ...]) -> list[str]:
    """The command before Triton's that drops root: a model may contain code. Empty for an ordinary user.

    The user must reach the backend's Python too, which may lie in a home folder.
    """
    if os.geteuid() != 0:
        return []
    python = (Path(sys.executable), Path(sys.base_prefix), Path(sysconfig.get_path("purelib")), Path(closed.__file__))
    return process_user(*(path.absolute() / "x" for path in (*paths, *python))).prefix()


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
    """The server's whole environment. It inherits little, so that the server behaves the same from any shell.

    The backend's process is an isolated Python that ignores PYTHONPATH. It finds this environment's packages because
    our `python3` comes first in PATH.
    """
    # Not resolved: an environment's python3 is a link, and its target does not know the environment.
    interpreters = Path(sys.executable).parent
    return {
        "PATH": f"{interpreters}:/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in libraries),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        NO_TELEMETRY: "1",
    }

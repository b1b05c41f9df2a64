"""The parts of the whole system on one machine: what each is called with, what it needs, when it is ready.

To add a process of ours: a name for its health port in `ports.USUAL_PORTS` and one line in `_services`.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from countline_common.settings import DataFolder
from countline_common.triton.shared_memory import SHARED_MEMORY_DIRECTORY
from countline_local.parts.nats import NatsServer
from countline_local.parts.part import Part
from countline_local.parts.postgres import PostgresServer
from countline_local.parts.probes import http_ok
from countline_local.parts.shipped_models import copy_shipped, find_shipped
from countline_local.supervision.credentials import WORKER, Credentials
from countline_local.supervision.ports import HOST
from countline_local.triton.assembly import prepare_backends
from countline_local.triton.command import TritonPorts, TritonSettings, triton_command

INFRASTRUCTURE_GRACE_S: Final = 2.5
SERVICE_GRACE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class System:
    """Where everything lies and listens."""

    data: DataFolder
    ports: Mapping[str, int]
    """One for each name in `ports.USUAL_PORTS`."""
    triton_segments: str
    """How the names of Triton's shared-memory segments begin."""

    @property
    def credentials(self) -> Credentials:
        """Passwords and keys."""
        return Credentials(self.data.credentials)

    @property
    def url(self) -> str:
        """Of the dashboard."""
        return f"http://{self.address('gateway')}/"

    def address(self, name: str) -> str:
        """`host:port` of one listener."""
        return f"{HOST}:{self.ports[name]}"

    def prepare(self) -> None:
        """Make the folders, credentials and models, and tell clients on this machine where the services are."""
        for folder in (self.data.run, self.data.logs, self.data.spool, self.data.demo, self.data.triton):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.credentials.ensure()
        copy_shipped(find_shipped(), self.data.models)
        self._write_endpoints()

    def _write_endpoints(self) -> None:
        names = ("auth", "cameras", "workers", "models", "analytics", "websocket", "triton-grpc")
        endpoints = {"gateway": self.url.rstrip("/"), **{name: self.address(name) for name in names}}
        path = self.data.run / "endpoints.json"
        path.write_text(json.dumps(endpoints, indent=2) + "\n")

    def parts(self) -> list[Part]:
        """Every part, in the order in which people read them."""
        postgres = PostgresServer(self.data.postgres, self.ports["postgres"], self.data.credentials)
        nats = self.nats()
        return [self._postgres(postgres), self._nats(nats), self._triton(), *self._services(postgres, nats)]

    def nats(self) -> NatsServer:
        """The server of the bus."""
        return NatsServer(self.data.nats, self.ports["nats"], self.ports["nats-monitor"], self.data.credentials)

    def plain_environment(self) -> dict[str, str]:
        """For a process of ours that talks to no part."""
        return {**os.environ, "PYTHONUNBUFFERED": "1", "COUNTLINE_DATA": str(self.data.root)}

    def _postgres(self, server: PostgresServer) -> Part:
        return Part(
            name="postgres", argv=server.argv(), env=server.env(), address=self.address("postgres"),
            check=server.check, waits_for="PostgreSQL to answer a query", prepare=server.prepare,
            stop_signal=PostgresServer.STOP_SIGNAL, stop_grace_s=INFRASTRUCTURE_GRACE_S,
        )  # fmt: skip

    def _nats(self, server: NatsServer) -> Part:
        return Part(
            name="nats", argv=server.argv(), env=server.env(), address=self.address("nats"), check=server.check,
            waits_for="JetStream to be well", prepare=server.prepare, stop_grace_s=INFRASTRUCTURE_GRACE_S,
        )  # fmt: skip

    def _triton(self) -> Part:
        ports = TritonPorts(self.ports["triton-http"], self.ports["triton-grpc"], self.ports["triton-metrics"])
        settings = TritonSettings(repositories=(self.data.models,), ports=ports)
        command = triton_command(settings, prepare_backends(self.data.triton), ports, self.triton_segments)
        return Part(
            name="triton", argv=command.argv, env=command.env, address=self.address("triton-grpc"),
            check=partial(http_ok, f"http://{self.address('triton-http')}/v2/health/ready"),
            waits_for="Triton to be ready", prepare=partial(remove_segments, self.triton_segments),
            start_timeout_s=90.0, stop_grace_s=INFRASTRUCTURE_GRACE_S,
        )  # fmt: skip

    def _services(self, postgres: PostgresServer, nats: NatsServer) -> list[Part]:
        common = self._environment(nats)
        control = {**common, **self._control_environment(postgres)}
        analytics = {**common, "COUNTLINE_ANALYTICS_DSN": postgres.dsn("analytics")}
        worker = {**common, **self._worker_environment()}
        return [
            self._service("control", ("serve", "all"), control, "cameras", ("postgres", "nats")),
            self._service("ingest", ("analytics", "ingest"), analytics, "ingest-health", ("postgres", "nats")),
            self._service("api", ("analytics", "api"), analytics, "gateway", ("postgres", "nats", "control")),
            self._service("worker", ("worker",), worker, "worker-health", ("nats", "triton", "control")),
        ]

    def _service(
        self, name: str, command: tuple[str, ...], env: Mapping[str, str], listens: str, needs: tuple[str, ...]
    ) -> Part:
        health = self.address(f"{name}-health")
        return Part(
            name=name, argv=(*countline_command(), *command),
            env={**env, "COUNTLINE_HEALTH_ADDRESS": health}, address=self.address(listens),
            check=partial(http_ok, f"http://{health}/readyz"), waits_for="its health check", needs=needs,
            stop_grace_s=SERVICE_GRACE_S,
        )  # fmt: skip

    def _environment(self, nats: NatsServer) -> dict[str, str]:
        """What every process of ours finds in its environment, on top of the caller's own."""
        listeners = ("auth", "cameras", "workers", "models", "analytics", "websocket", "gateway")
        return {
            **self.plain_environment(),
            "COUNTLINE_NATS_URL": nats.url,
            **{f"COUNTLINE_{name.upper()}_ADDRESS": self.address(name) for name in listeners},
            "COUNTLINE_TOKEN_PUBLIC_KEY_FILE": str(self.credentials.token_public_key),
        }

    def _control_environment(self, postgres: PostgresServer) -> dict[str, str]:
        return {
            "COUNTLINE_AUTH_DSN": postgres.dsn("auth"),
            "COUNTLINE_CAMERAS_DSN": postgres.dsn("cameras"),
            "COUNTLINE_TOKEN_PRIVATE_KEY_FILE": str(self.credentials.token_key),
            "COUNTLINE_ADMIN_PASSWORD_FILE": str(self.credentials.admin_password),
            "COUNTLINE_TRITON_ADDRESS": self.address("triton-grpc"),
            "COUNTLINE_MODEL_REPOSITORY": str(self.data.models),
            "COUNTLINE_MODEL_WORK": str(self.data.model_work),
        }

    def _worker_environment(self) -> dict[str, str]:
        return {
            "COUNTLINE_TRITON_ADDRESS": self.address("triton-grpc"),
            "COUNTLINE_WORKER_NAME": WORKER,
            "COUNTLINE_WORKER_TOKEN_FILE": str(self.credentials.worker_token),
            "COUNTLINE_SPOOL": str(self.data.spool),
        }


def countline_command() -> tuple[str, ...]:
    """How this environment's `countline` is called, whatever the path is."""
    # Not resolved: an environment's python is a link out of the environment.
    script = Path(sys.executable).with_name("countline")
    return (sys.executable, str(script)) if script.is_file() else (sys.executable, "-m", "countline_common")


def remove_segments(prefix: str) -> None:
    """Remove the shared memory of a Triton of ours that was killed."""
    for path in SHARED_MEMORY_DIRECTORY.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


Builder = Callable[[System], list[Part]]
"""How a system's parts are made; another one than `System.parts` in tests."""

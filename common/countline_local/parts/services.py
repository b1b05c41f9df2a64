"""The processes of Countline itself as parts: control-plane, ingest, api and worker.

To add a process: add the name of its health port to `ports.USUAL_PORTS` and a line to `service_parts`.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Final

from countline_common.cli.child_commands import command_line
from countline_common.data.bus_users import API, CONTROL, INGEST, WORKER
from countline_common.secrets.master_keys import SOURCE_VARIABLES
from countline_local.parts.http_check import http_ok, http_remarks
from countline_local.parts.nats import NatsServer
from countline_local.parts.postgres import PostgresServer
from countline_local.parts.system import System
from countline_local.supervision.credentials import WORKER as WORKER_NAME
from countline_local.supervision.part import Part

STOP_GRACE_S: Final = 2.0
LISTENERS: Final = ("auth", "cameras", "workers", "models", "analytics", "websocket", "gateway")


def service_parts(system: System, postgres: PostgresServer, nats: NatsServer) -> list[Part]:
    """The parts `control`, `ingest`, `api` and `worker`."""
    common = _environment(system)
    analytics = {"COUNTLINE_ANALYTICS_DSN": _dsn(system, postgres, "analytics")}
    # Each user of NATS has the name of its part.
    control, ingest, api, worker = (
        {**common, **own, "COUNTLINE_NATS_URL": nats.url_of(name)}
        for name, own in (
            (CONTROL, _control_environment(system, postgres)),
            (INGEST, analytics),
            (API, analytics),
            (WORKER, _worker_environment(system)),
        )
    )
    return [
        _service(system, CONTROL, ("serve", "all"), control, "cameras", ("postgres", "nats")),
        _service(system, INGEST, ("analytics", "ingest"), ingest, "ingest-health", ("postgres", "nats")),
        _service(system, API, ("analytics", "api"), api, "gateway", ("postgres", "nats", "control")),
        _service(system, WORKER, ("worker",), worker, "worker-health", ("nats", "triton", "control")),
    ]


def _service(
    system: System, name: str, command: tuple[str, ...], env: Mapping[str, str], listens: str, needs: tuple[str, ...]
) -> Part:
    health = system.address(f"{name}-health")
    return Part(
        name=name, argv=tuple(command_line(*command)),
        env={**env, **_tls_environment(system, name), "COUNTLINE_HEALTH_ADDRESS": health},
        address=system.address(listens),
        check=partial(http_ok, f"http://{health}/readyz"), waits_for="its health check", needs=needs,
        alive=partial(http_ok, f"http://{health}/healthz"), remarks=partial(http_remarks, f"http://{health}/healthz"),
        stop_grace_s=STOP_GRACE_S,
    )  # fmt: skip


def _environment(system: System) -> dict[str, str]:
    """What every process of ours gets, on top of the caller's own environment."""
    return {
        **system.environment(),
        **{f"COUNTLINE_{name.upper()}_ADDRESS": system.address(name) for name in LISTENERS},
        "COUNTLINE_TOKEN_PUBLIC_KEY_FILE": str(system.credentials.token_public_key),
    }


def _control_environment(system: System, postgres: PostgresServer) -> dict[str, str]:
    return {
        "COUNTLINE_AUTH_DSN": _dsn(system, postgres, "auth"),
        "COUNTLINE_CAMERAS_DSN": _dsn(system, postgres, "cameras"),
        "COUNTLINE_TOKEN_PRIVATE_KEY_FILE": str(system.credentials.token_key),
        "COUNTLINE_ADMIN_PASSWORD_FILE": str(system.credentials.admin_password),
        **_master_key(system),
        "COUNTLINE_TRITON_ADDRESS": system.address("triton-grpc"),
        "COUNTLINE_MODEL_REPOSITORY": str(system.data.models),
        "COUNTLINE_MODEL_WORK": str(system.data.model_work),
    }


def _dsn(system: System, postgres: PostgresServer, database: str) -> str:
    """The address of a database. The wheel's PostgreSQL has no TLS: it listens on 127.0.0.1 only."""
    return postgres.dsn(database) + ("?sslmode=disable" if system.use_tls else "")


def _tls_environment(system: System, name: str) -> dict[str, str]:
    files = system.tls(name)
    if files is None:
        return {}
    return {
        "COUNTLINE_TLS_CA_FILE": str(files.ca),
        "COUNTLINE_TLS_CERT_FILE": str(files.certificate),
        "COUNTLINE_TLS_KEY_FILE": str(files.key),
        "COUNTLINE_TLS_REQUIRE_CLIENT_CERTS": "true",
    }


def _master_key(system: System) -> dict[str, str]:
    """The source that the caller's environment names; the file of the data folder if it names none."""
    named = {name: os.environ[name] for name in SOURCE_VARIABLES if os.environ.get(name)}
    return named or {"COUNTLINE_MASTER_KEY_FILE": str(system.credentials.master_key)}


def _worker_environment(system: System) -> dict[str, str]:
    return {
        "COUNTLINE_TRITON_ADDRESS": system.address("triton-grpc"),
        "COUNTLINE_WORKER_NAME": WORKER_NAME,
        "COUNTLINE_WORKER_TOKEN_FILE": str(system.credentials.worker_token),
        "COUNTLINE_SPOOL": str(system.data.spool),
    }

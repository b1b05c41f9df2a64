"""The whole system: its folders made ready, and its parts in the order in which people read them."""

import json
from datetime import UTC, datetime

from countline_local.parts.nats import nats_part, nats_server
from countline_local.parts.postgres import postgres_part, postgres_server
from countline_local.parts.services import service_parts
from countline_local.parts.system import System
from countline_local.parts.triton import triton_part
from countline_local.supervision.part import Part
from countline_local.supervision.state_files import replace_text
from countline_local.triton.shipped_models import copy_shipped, find_shipped


def prepare(system: System) -> None:
    """Make folders, credentials and models, and write where the services listen, for clients on this machine."""
    data = system.data
    for folder in (data.run, data.logs, data.spool, data.demo, data.triton):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    system.credentials.ensure()
    if system.use_tls:
        system.authority.init()
        system.authority.renew_old(datetime.now(UTC))
    copy_shipped(find_shipped(), data.models)
    _write_endpoints(system)


def _write_endpoints(system: System) -> None:
    names = ("auth", "cameras", "workers", "models", "analytics", "websocket", "triton-grpc")
    endpoints = {
        "gateway": system.url.rstrip("/"),
        **{name: system.address(name) for name in names},
        "tls": system.use_tls,
    }
    replace_text(system.data.run / "endpoints.json", json.dumps(endpoints, indent=2) + "\n")


def all_parts(system: System) -> list[Part]:
    """Every part of the system."""
    postgres, nats = postgres_server(system), nats_server(system)
    return [
        postgres_part(system, postgres),
        nats_part(system, nats),
        triton_part(system),
        *service_parts(system, postgres, nats),
    ]

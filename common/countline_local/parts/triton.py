"""Triton as a part: the embedded server with the models of the data folder."""

from functools import partial
from typing import Final

from countline_common.secrets.secret_files import ensure_secret
from countline_common.triton.shared_memory import SHARED_MEMORY_DIRECTORY
from countline_local.parts.http_check import http_ok
from countline_local.parts.system import System
from countline_local.supervision.part import Part
from countline_local.triton.assembly import prepare_backends
from countline_local.triton.command import TritonPorts, TritonSettings, triton_command

START_TIMEOUT_S: Final = 90.0
STOP_GRACE_S: Final = 2.5


def triton_part(system: System) -> Part:
    """The part `triton`.

    Raises:
        TritonMissingError: the wheel is not installed or does not fit this Python.
    """
    ports = TritonPorts(system.ports["triton-http"], system.ports["triton-grpc"], system.ports["triton-metrics"])
    secret = ensure_secret(system.credentials.triton_secret)
    settings = TritonSettings(repositories=(system.data.models,), secret=secret, ports=ports)
    command = triton_command(settings, prepare_backends(system.data.triton), ports, system.triton_segments)
    return Part(
        name="triton", argv=command.argv, env=command.env, address=system.address("triton-grpc"),
        check=partial(http_ok, f"http://{system.address('triton-http')}/v2/health/ready"),
        waits_for="Triton to be ready", prepare=partial(_remove_segments, system.triton_segments),
        start_timeout_s=START_TIMEOUT_S, stop_grace_s=STOP_GRACE_S,
    )  # fmt: skip


def _remove_segments(prefix: str) -> None:
    """Remove the shared memory that a killed Triton left behind."""
    for path in SHARED_MEMORY_DIRECTORY.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)

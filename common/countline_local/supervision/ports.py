"""The port of each listener: the usual one, the one of the last time, or a free one."""

import json
import random
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_common.errors import ConflictError, InvalidInputError
from countline_local.supervision.state_files import replace_text

HOST: Final = "127.0.0.1"
USUAL_PORTS: Final[Mapping[str, int]] = {
    "gateway": 8080,
    "auth": 3001,
    "cameras": 8000,
    "workers": 8003,
    "models": 8005,
    "analytics": 8001,
    "websocket": 8004,
    "triton-http": 9000,
    "triton-grpc": 9001,
    "triton-metrics": 9002,
    "postgres": 5432,
    "nats": 4222,
    "nats-monitor": 8222,
    "control-health": 9010,
    "ingest-health": 9011,
    "api-health": 9012,
    "worker-health": 9013,
}
"""The preferred port of each listener, as documented."""

SEARCH_ABOVE: Final = 100
"""Number of ports above a taken port that are tried first. A near port is easy to remember."""
ANY_FROM: Final = 10_240
ANY_TRIES: Final = 200
EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class PortChoice:
    """The chosen port of one listener."""

    name: str
    port: int
    replaces: int | None
    """The usual port, if another one was chosen; else None."""


def parse_wishes(options: Iterable[str]) -> dict[str, int]:
    """Parse requested ports: `NAME=PORT`, or a bare number for the gateway.

    Raises:
        InvalidInputError: the name is unknown, or the number is no port.
    """
    wishes: dict[str, int] = {}
    for option in options:
        name, _, number = option.rpartition("=")
        name = name or "gateway"
        if name not in USUAL_PORTS or not number.isdigit() or not 0 < int(number) < 65536:
            raise InvalidInputError(
                f"--port {option!r} names no port", hint=f"write NAME=PORT; the names are: {', '.join(USUAL_PORTS)}"
            )
        wishes[name] = int(number)
    return wishes


def choose_ports(
    remembered: Mapping[str, int], wishes: Mapping[str, int] | None = None, *, any_free: bool = False
) -> dict[str, PortChoice]:
    """A port for each name: the requested one, else that of the last time, else the usual one, else a free one near it.

    Each port is held until all are chosen, so no two names get the same port.

    Raises:
        ConflictError: a requested port is taken.
    """
    held: list[socket.socket] = []
    try:
        return {name: _choose(name, remembered, wishes or {}, any_free, held) for name in USUAL_PORTS}
    finally:
        for holder in held:
            holder.close()


def _choose(
    name: str, remembered: Mapping[str, int], wishes: Mapping[str, int], any_free: bool, held: list[socket.socket]
) -> PortChoice:
    usual = USUAL_PORTS[name]
    if name in wishes:
        if _hold(wishes[name], held) is None:
            raise ConflictError(f"port {wishes[name]} for {name} is taken", hint=f"give another one: --port {name}=…")
        return PortChoice(name, wishes[name], None)
    taken = {*USUAL_PORTS.values(), *wishes.values(), *remembered.values()}
    near = (port for port in range(usual + 1, usual + SEARCH_ABOVE) if port not in taken)
    first = [remembered[name]] if name in remembered else []
    candidates = [*first, *any_ports()] if any_free else [*first, usual, *near, *any_ports()]
    for candidate in candidates:
        if (port := _hold(candidate, held)) is not None:
            return PortChoice(name, port, None if any_free or port == usual else usual)
    raise ConflictError(f"there is no free port for {name}", hint="close some programs that listen on 127.0.0.1")


def any_ports() -> list[int]:
    """Ports to try if any port will do, in random order.

    The range of outgoing connections is left out: while a part is away, a client that tries to reconnect could get the
    part's port as its own, or even connect to itself.
    """
    end = int(EPHEMERAL_RANGE.read_text().split()[0]) if EPHEMERAL_RANGE.exists() else 32_768
    return random.sample(range(ANY_FROM, max(end, ANY_FROM + ANY_TRIES)), ANY_TRIES)


def _hold(port: int, held: list[socket.socket]) -> int | None:
    """Bind a port; None if it is taken."""
    holder = socket.socket()
    # As servers do: a port with connections in TIME_WAIT counts as free.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((HOST, port))
        holder.listen(1)
    except OSError:
        holder.close()
        return None
    held.append(holder)
    return int(holder.getsockname()[1])


def read_remembered(path: Path) -> dict[str, int]:
    """Ports of the last time; empty if the file is missing or unreadable, since they are only a preference."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: port for name, port in found.items() if name in USUAL_PORTS and isinstance(port, int)}


def remember(path: Path, choices: Mapping[str, PortChoice]) -> None:
    """Store the ports for the next time."""
    replace_text(path, json.dumps({name: choice.port for name, choice in choices.items()}, indent=2) + "\n")

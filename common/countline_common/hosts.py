"""Hosts of addresses, which of them are this machine, and which are reached through a proxy."""

import contextlib
import ipaddress
import os
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit
from urllib.request import proxy_bypass


def host_of(address: str) -> str:
    """The host of HOST:PORT or of a URL, without the brackets of an IPv6 address; empty if there is none."""
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine, by its name or by an address of its own; asks no name server."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified or _is_own(ip)


def address_for_others(address: str) -> str:
    """Return HOST:PORT, on which this machine listens, for other machines: its name in place of every address."""
    host, _, port = address.rpartition(":")
    return f"{socket.gethostname()}:{port}" if host.strip("[]") in ("", "0.0.0.0", "::") else address  # noqa: S104


def _is_own(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a socket can be bound to an address: only a machine's own addresses allow that."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(ip), 0))
        return True
    return False


def proxy_remark(address: str, variables: Sequence[str], client: str) -> str:
    """Names the proxy through which an address is reached, for errors; empty if there is none, or no address.

    The proxy's address is not part of it, because it may contain a password.

    Args:
        address: HOST:PORT or a URL.
        variables: of the environment that the client reads, the first one that is set counts.
        client: what goes through the proxy.
    """
    variable = next((name for name in variables if os.environ.get(name)), "")
    host = host_of(address)
    if not variable or not host or is_this_machine(host) or proxy_bypass(host):
        return ""
    return f"{variable} is set, so {client} goes through a proxy; to go without it, add {host} to no_proxy"

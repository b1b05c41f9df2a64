"""The address of a client, also behind our own proxies.

`X-Forwarded-For` is trusted only if the peer is in a configured proxy network, and then only its last address: our
proxy wrote that one, and the client can forge the others.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

from countline_common.errors import InvalidInputError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
IPV6_PREFIX: Final = 56
"""A customer of a provider gets at least such a network, so all of its addresses count as one."""


def networks(text: str, variable: str) -> tuple[Network, ...]:
    """Parse the networks of a setting, separated by commas.

    Args:
        text: such as `10.0.0.0/8,::1/128`.
        variable: the name of the setting, for messages.

    Raises:
        InvalidInputError: one of them is not a network.
    """
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"{variable}: {error}", hint="give networks by commas, such as 10.0.0.0/8,::1/128"
        ) from error


def address(text: str) -> Address | None:
    """Parse an address; None if the text is not one. IPv4 mapped to IPv6 becomes IPv4."""
    try:
        found = ip_address(text.strip())
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def calling(peer: Address | None, forwarded_for: str, trusted: Collection[Network]) -> Address | None:
    """The client's address; None if a trusted proxy did not name it.

    Args:
        peer: address of the connection's other end.
        forwarded_for: the `X-Forwarded-For` header.
        trusted: networks of our own proxies.
    """
    if peer is None or not any(peer in network for network in trusted):
        return peer
    return address(forwarded_for.rpartition(",")[2])


def caller_address(peer: str, forwarded_for: str, trusted: Collection[Network]) -> str:
    """Return the address of the caller of a gRPC server; empty if it is unknown, see `calling`.

    Args:
        peer: the peer in gRPC's form, such as `ipv4:10.0.0.7:5000`.
        forwarded_for: the header of the call.
        trusted: networks of our own proxies; the header is ignored if it comes from elsewhere.
    """
    connected = address(unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]"))
    return str(calling(connected, forwarded_for, trusted) or "")


def client_address(peer: str, forwarded_for: str, proxies: Collection[Network]) -> str:
    """Return the address of the caller of the gateway; empty if it is unknown.

    It is unknown behind a proxy that does not send the client's address, and on loopback, where an unconfigured proxy
    may run: if auth counted wrong passwords by the address of a proxy, one person could lock out all others.

    Args:
        peer: address of the connection.
        forwarded_for: the X-Forwarded-For headers, joined by commas.
        proxies: networks of trusted proxies.
    """
    connected = address(peer)
    found = calling(connected, forwarded_for, proxies)
    if found is None or (found == connected and found.is_loopback):
        return ""
    return str(found)


def counted_as(text: str) -> str:
    """Return what stands for an address where callers are counted: the network of its customer if it is IPv6.

    Args:
        text: an address; another text is returned as it is.

    >>> counted_as("2001:db8:0:1::1")
    '2001:db8::/56'
    """
    found = address(text)
    return str(IPv6Network((found, IPV6_PREFIX), strict=False)) if isinstance(found, IPv6Address) else text

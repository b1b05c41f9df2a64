"""From where somebody calls, through proxies of ours that say for whom they ask.

What `X-Forwarded-For` says is believed only from networks that were named as those of our own proxies, and of it only
the last address: that one was written by our proxy, the ones before it by whoever called.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from countline_common.errors import InvalidInputError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def networks(text: str, variable: str) -> tuple[Network, ...]:
    """Networks that stand in a setting, separated by commas.

    Args:
        text: such as `10.0.0.0/8,::1/128`.
        variable: that it comes from.

    Raises:
        InvalidInputError: one of them is no network.
    """
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"{variable}: {error}", hint="give networks by commas, such as 10.0.0.0/8,::1/128"
        ) from error


def address(text: str) -> Address | None:
    """An address; None for what is none. IPv4 that came over an IPv6 socket is IPv4."""
    try:
        found = ip_address(text.strip())
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def calling(peer: Address | None, forwarded_for: str, trusted: Collection[Network]) -> Address | None:
    """From where somebody calls; None where that cannot be told, since a proxy that we trust did not say for whom.

    Args:
        peer: who has connected.
        forwarded_for: what came along as `X-Forwarded-For`.
        trusted: the networks of our own proxies.
    """
    if peer is None or not any(peer in network for network in trusted):
        return peer
    return address(forwarded_for.rpartition(",")[2])

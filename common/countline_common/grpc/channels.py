"""Opens gRPC connections: the same options for all, and no proxy for services of this machine.

gRPC sends every connection through the proxy that `http_proxy` names, also one to 127.0.0.1, where the proxy itself
cannot reach it.
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc
import grpc.aio

from countline_common import hosts
from countline_common.hosts import host_of, is_this_machine
from countline_common.tls.files import TlsFiles
from countline_common.tls.grpc_credentials import channel_credentials
from countline_common.tls.renewing_channel import RenewingChannel

MOST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
PROXY_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
"""gRPC reads them in this order and uses the first that is set."""

Option = tuple[str, Any]


def channel_options(address: str) -> list[Option]:
    """The options of a connection.

    Args:
        address: HOST:PORT.
    """
    usual: list[Option] = [
        ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
        # gRPC's own pause grows to two minutes. With these, a server that comes back is found within a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    return [*usual, *proxy_options(address)]


def proxy_options(address: str) -> list[Option]:
    """The option that keeps a connection to this machine away from a proxy; none for other machines."""
    return [("grpc.enable_http_proxy", 0)] if is_this_machine(host_of(address)) else []


def open_channel(
    address: str,
    tls: TlsFiles | None,
    *,
    options: Sequence[Option] = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """Open a connection, to be closed by the caller.

    Args:
        address: HOST:PORT.
        tls: the certificate files; None for a connection without TLS.
        options: beside `channel_options`.
        interceptors: of the calls.

    Raises:
        InvalidInputError: the certificate files cannot be used.
    """
    every = [*channel_options(address), *options]
    if tls is None:
        return grpc.aio.insecure_channel(address, options=every, interceptors=list(interceptors))

    def open_now() -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            address, channel_credentials(tls), options=every, interceptors=list(interceptors)
        )

    return RenewingChannel(tls, open_now)


def open_blocking_channel(address: str, tls: TlsFiles | None) -> grpc.Channel:
    """The same for gRPC's blocking interface."""
    if tls is None:
        return grpc.insecure_channel(address, options=channel_options(address))
    return grpc.secure_channel(address, channel_credentials(tls), options=channel_options(address))


def proxy_remark(address: str) -> str:
    """Names the proxy through which gRPC reaches an address, for errors; empty if there is none, or no address."""
    return hosts.proxy_remark(address, PROXY_VARIABLES, "gRPC")

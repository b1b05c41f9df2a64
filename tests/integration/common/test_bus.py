"""A connection that NATS closes for good is noticed, whatever happens to the socket at that moment."""

import asyncio
import contextlib

import nats.errors
import pytest
from nats.aio.transport import TcpTransport
from tests.fixtures.nats import NatsServer

from countline_common.data import bus
from countline_common.resilience.vitality import faults, forget_fault


async def test_a_client_closed_by_nats_is_noticed_although_its_socket_breaks_meanwhile(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py then ends its closing with an unhandled error and calls no callback."""
    client = await bus.connect(nats_server.url, "test")
    drain, broken = TcpTransport.drain, asyncio.Event()

    async def drain_or_break(self: TcpTransport) -> None:
        if client.is_closed:
            broken.set()
            raise ConnectionResetError("Connection lost")
        await drain(self)

    async def publish_again() -> None:
        while not client.is_closed:
            await client.publish("test", b"")
            await asyncio.sleep(0)

    monkeypatch.setattr(TcpTransport, "drain", drain_or_break)
    async with asyncio.timeout(20):
        with contextlib.suppress(nats.errors.Error, OSError):
            await client.subscribe("x" * 5_000)
            await publish_again()
        await client.lost()
    try:
        assert broken.is_set()
        assert "bus test" in faults()
    finally:
        forget_fault("bus test")


async def test_a_client_that_this_process_closes_is_no_fault(nats_server: NatsServer) -> None:
    client = await bus.connect(nats_server.url, "test")
    await client.close()
    async with asyncio.timeout(20):
        await client.lost()
    assert not faults()

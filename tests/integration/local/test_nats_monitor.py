"""The monitor of NATS shows clients, accounts and streams, and knows no login."""

import asyncio
import socket
import stat
from pathlib import Path

import aiohttp
import nats
import pytest
from tests.fixtures.analytics.stack import until

from countline_common.errors import UnavailableError
from countline_local.parts.nats import NatsServer

PAGES = ("", "connz", "varz", "jsz", "subsz", "routez", "accountz", "healthz", "stacksz", "debug/pprof/")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def test_no_page_of_the_monitor_opens_without_the_secret_and_health_is_still_checked(tmp_path: Path) -> None:
    """Any user of the machine could list the clients of NATS with their names and addresses."""
    server = NatsServer(tmp_path / "nats", *free_ports(2))
    server.prepare()
    process = await asyncio.create_subprocess_exec(*server.argv(), env=server.env(), stderr=asyncio.subprocess.DEVNULL)
    try:

        async def is_healthy() -> bool:
            try:
                await server.check()
            except UnavailableError:
                return False
            return True

        await until(is_healthy)
        client = await nats.connect(server.url)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.monitor_port}") as session:
            for page in PAGES:
                async with session.get(f"/{page}") as response:
                    assert response.status == 404, page
                    assert "countline" not in await response.text()
        await client.close()
    finally:
        process.terminate()
        await process.wait()
    (path,) = (tmp_path / "credentials").glob("nats-monitor")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UnavailableError) as caught:
        await server.check()
    assert path.read_text().strip() not in str(caught.value)

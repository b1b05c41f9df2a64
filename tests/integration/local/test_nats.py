"""The server of `countline up`: its users, and its monitor.

The monitor of NATS shows clients, accounts and streams, and knows no login."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import nats
import pytest
from tests.fixtures.analytics.stack import until
from tests.fixtures.local.ports import free_ports

from countline_common.data import bus
from countline_common.data.bus_client import NotPermittedError
from countline_common.errors import UnavailableError
from countline_common.secrets.secret_files import write_secret
from countline_local.parts.nats import NatsServer

PAGES = ("", "connz", "varz", "jsz", "subsz", "routez", "accountz", "healthz", "stacksz", "debug/pprof/")


@asynccontextmanager
async def running(server: NatsServer) -> AsyncIterator[None]:
    server.prepare()
    process = await asyncio.create_subprocess_exec(*server.argv(), env=server.env(), stderr=asyncio.subprocess.DEVNULL)

    async def is_healthy() -> bool:
        try:
            await server.check()
        except UnavailableError:
            return False
        return True

    try:
        await until(is_healthy)
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_after_an_upgrade_the_shared_password_of_before_is_good_for_a_worker_alone(tmp_path: Path) -> None:
    """Workers on other machines go on with it; a taken one can no longer forge the audit."""
    write_secret(tmp_path / "credentials" / "nats-password", "of-before")
    server = NatsServer(tmp_path / "nats", *free_ports(2))
    async with running(server):
        control = await bus.connect(server.url_of("control"), "control", user="control")
        await bus.ensure_streams(control.jetstream())
        earlier = f"nats://countline:of-before@127.0.0.1:{server.port}"
        for user in ("", "worker"):  # the inbox of earlier releases, and the one of today
            client = await bus.connect(earlier, "worker", user=user)
            assert (await client.jetstream().publish(bus.counts_subject("shop", "door"), b"x")).seq
            with pytest.raises(NotPermittedError):
                await client.jetstream().publish(bus.audit_subject("auth"), b"forged", timeout=10.0)
            await client.close()
        before = {path.name: path.read_text() for path in (tmp_path / "credentials").iterdir()}
        await control.close()
    async with running(server):
        assert {path.name: path.read_text() for path in (tmp_path / "credentials").iterdir()} == before
    (tmp_path / "credentials" / "nats-password").unlink()
    async with running(server):
        with pytest.raises(UnavailableError):
            await bus.connect(earlier, "worker")


async def test_no_page_of_the_monitor_opens_without_the_secret_and_health_is_still_checked(tmp_path: Path) -> None:
    """Any user of the machine could list the clients of NATS with their names and addresses."""
    server = NatsServer(tmp_path / "nats", *free_ports(2))
    async with running(server):
        client = await nats.connect(server.url_of("operator"))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.monitor_port}") as session:
            for page in PAGES:
                async with session.get(f"/{page}") as response:
                    assert response.status == 404, page
                    assert "countline" not in await response.text()
        await client.close()
    (path,) = (tmp_path / "credentials").glob("nats-monitor")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UnavailableError) as caught:
        await server.check()
    assert path.read_text().strip() not in str(caught.value)

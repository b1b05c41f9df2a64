"""The clock of a worker against that of a real NATS."""

import asyncio
import time

import pytest
from tests.fixtures.nats import NatsServer

from countline_pipelines.sources.wall_clock import WallClock
from countline_pipelines.worker.bus_link import BusLink
from countline_pipelines.worker.clock_check import ClockCheck


@pytest.mark.parametrize("offset_s", [0.0, -3600.0, 90.0])
async def test_a_worker_knows_how_far_its_clock_is_off_and_dates_by_the_server(
    nats_server: NatsServer, offset_s: float
) -> None:
    link = BusLink(nats_server.url, "worker", lambda _: None)
    running = asyncio.create_task(link.run())
    wall = WallClock(lambda: time.time() + offset_s)
    check = ClockCheck(wall, link.stream_info)
    try:
        async with asyncio.timeout(20):
            await check.check()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await link.close()
    assert check.checked.is_set()
    assert wall.offset_s == pytest.approx(offset_s, abs=0.5)
    assert wall.is_off is (abs(offset_s) > 2)
    assert wall.now() == pytest.approx(time.time(), abs=0.5)

"""The statuses of cameras that the API reads from NATS."""

import asyncio

import nats
import pytest
from tests.fixtures.analytics.stack import until
from tests.fixtures.nats import NatsServer

from countline_analytics.live import bus as live_bus
from countline_analytics.live.bus import LiveBus, StatusBoard
from countline_common.data import bus

FAR_S = 60.0
"""A wait that a test would not survive."""
STOPPED_S = 20.0


async def test_a_board_of_statuses_stops_with_its_connection(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the connection closed while the board read from it, the board took the cancellation for an outage."""
    monkeypatch.setattr(live_bus, "CHECK_PERIOD_S", FAR_S)
    monkeypatch.setattr(live_bus, "READ_WAIT_S", FAR_S)
    connection = LiveBus(nats_server.url)
    tasks = [asyncio.create_task(connection.run()), asyncio.create_task(StatusBoard(connection).run())]
    client = await nats.connect(nats_server.url)

    async def reads() -> bool:
        try:
            return bool(await client.jetstream().consumers_info(bus.STATUS))
        except nats.js.errors.NotFoundError:
            return False

    await until(reads)
    async with asyncio.timeout(STOPPED_S):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()

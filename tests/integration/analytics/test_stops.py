"""Parts that wait for NATS stop at once: an operator, `countline down` and each restart wait for them."""

import asyncio

import nats
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.stack import ingesting, until
from tests.fixtures.nats import NatsServer

from countline_analytics.ingest import consumer, pull
from countline_analytics.live import bus as live_bus
from countline_analytics.live.bus import LiveBus, StatusBoard
from countline_common.data import bus

FAR_S = 60.0
"""A wait that a test would not survive."""
STOPPED_S = 20.0


async def test_an_ingest_that_waits_for_records_stops_at_once(
    nats_server: NatsServer, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finished its wait for the next record first."""
    monkeypatch.setattr(consumer, "READ_WAIT_S", FAR_S)
    monkeypatch.setattr(pull, "REQUEST_EXPIRES_S", FAR_S)
    client = await nats.connect(nats_server.url)

    async def waits() -> bool:
        try:
            return bool((await client.jetstream().consumer_info(bus.COUNTS, consumer.DURABLE)).num_waiting)
        except nats.js.errors.NotFoundError:
            return False

    async with asyncio.timeout(STOPPED_S), ingesting(nats_server.url, engine):
        await until(waits)
    await client.close()


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

"""Ingest stops at once: an operator, `countline down` and each restart wait for it."""

import asyncio

import nats
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.stack import ingesting, until
from tests.fixtures.nats import NatsServer

from countline_analytics.ingest import consumer, pull
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

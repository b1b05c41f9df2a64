"""The ingest process: builds its parts and runs until a stop signal.

One ingest process is enough. Several are safe, because writers take turns, but not faster.
"""

import asyncio
import contextlib
import logging
import time
from datetime import timedelta
from functools import partial
from typing import Final

import nats.errors
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from nats.aio.client import Client
from nats.js import JetStreamContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from countline_analytics.ingest.consumer import Ingest, check, report_correction
from countline_analytics.ingest.refence import refence
from countline_analytics.ingest.sites import SiteFollower
from countline_analytics.ingest.writer import CountWriter
from countline_analytics.instants import to_datetime
from countline_analytics.processes import check_database, stop_signals, until_available
from countline_analytics.settings import IngestSettings
from countline_analytics.store.rollups import RETENTION_MARGIN, Rollups, find_rollups
from countline_common.data import bus, database
from countline_common.errors import UnavailableError
from countline_common.http.health import HealthServer
from countline_common.logs import configure

MAKE_ROOM_EVERY_S: Final = 15
FLUSH_S: Final = 2


async def run(settings: IngestSettings) -> None:
    """Ingest until SIGTERM or SIGINT."""
    configure("ingest")
    engine = database.create_engine(settings.dsn)
    ingest: Ingest | None = None

    async def ready() -> None:
        await check_database(engine)
        if ingest is None:
            raise RuntimeError("starting")
        await check(ingest)

    with stop_signals() as stopping:
        async with HealthServer(settings.health_address, {"ingest": ready}):
            try:
                client = await _connect(settings, stopping)
                try:
                    ingest = _build(settings, engine, client)
                    await _correct_fences(engine, stopping)
                    rollups = await find_rollups(engine)
                    jetstream = partial(_jetstream, client, client.jetstream())
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(SiteFollower(jetstream, engine, stopping).run(), name="sites")
                        tasks.create_task(_serve(ingest, rollups, settings, stopping), name="ingest")
                finally:
                    await _close(client)
            finally:
                await engine.dispose()


def _jetstream(client: Client, jetstream: JetStreamContext) -> JetStreamContext | None:
    return jetstream if client.is_connected else None


async def _connect(settings: IngestSettings, stopping: asyncio.Event) -> Client:
    """Wait for the database and migrate it, then wait for NATS."""

    async def migrate() -> None:
        await database.migrate(settings.dsn, "countline_analytics.store", "analytics")

    await until_available("database", migrate, stopping)
    return await until_available("nats", lambda: bus.connect(settings.nats_url, "ingest", tls=settings.tls), stopping)


async def _correct_fences(engine: AsyncEngine, stopping: asyncio.Event) -> None:
    """Judge stored hand-overs again: an earlier release may have believed wrong ones."""

    async def correct() -> None:
        try:
            result = await refence(engine, only_outdated=True)
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise UnavailableError(f"the database does not answer: {error.__class__.__name__}") from error
        for correction in result.corrections:
            report_correction(correction)

    await until_available("database", correct, stopping)


async def _close(client: Client) -> None:
    """Send the last acknowledgements while NATS is connected, then disconnect."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        if client.is_connected:
            await client.flush(FLUSH_S)
    await client.close()


def _build(settings: IngestSettings, engine: AsyncEngine, client: Client) -> Ingest:
    days = settings.crossings_retention_days
    kept_s = float("inf") if days is None else days * 86_400.0
    writer = CountWriter(engine, time.time)
    return Ingest(client, writer, settings.ingest_batch_messages, oldest=lambda: time.time() - kept_s)


async def _serve(ingest: Ingest, rollups: Rollups, settings: IngestSettings, stopping: asyncio.Event) -> None:
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # at INFO it logs every run
    scheduler = AsyncIOScheduler(timezone="UTC", job_defaults={"max_instances": 1, "coalesce": True})
    scheduler.add_job(rollups.refresh, "interval", seconds=settings.rollup_interval_s, id="refresh rollups")
    scheduler.add_job(ingest.make_room, "interval", seconds=MAKE_ROOM_EVERY_S, id="make room in the stream")
    scheduler.add_job(_delete_old, "interval", args=(rollups, settings), hours=6, id="delete old rows")
    scheduler.start()
    try:
        await ingest.run(stopping)
    finally:
        scheduler.shutdown(wait=False)


async def _delete_old(rollups: Rollups, settings: IngestSettings) -> None:
    kept = {
        "crossings": settings.crossings_retention_days,
        "visits": settings.crossings_retention_days,
        "occupancy": settings.occupancy_retention_days,
        "trajectories": settings.trajectories_retention_days,
    }
    for table, days in kept.items():
        if days is not None:
            now = to_datetime(round(time.time() * 1e6))
            await rollups.forget(table, now - timedelta(days=days) - RETENTION_MARGIN)

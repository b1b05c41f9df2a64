"""The ingest process: builds its parts and runs until a stop signal.

One ingest process is enough. Several are safe, because writers take turns, but not faster.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import nats.errors
from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from nats.aio.client import Client
from nats.js import JetStreamContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from countline_analytics.ingest.consumer import Ingest, cause_of, check, report_correction
from countline_analytics.ingest.refence import refence
from countline_analytics.ingest.retention import SETTING_OF, delete_old, oldest_kept
from countline_analytics.ingest.sites import SiteFollower
from countline_analytics.ingest.writer import CountWriter
from countline_analytics.processes import check_database, stop_signals, until_available
from countline_analytics.settings import IngestSettings
from countline_analytics.store.rollups import Rollups, find_rollups
from countline_common.administration.current import CurrentSettings
from countline_common.administration.levels import follow_level, level_base
from countline_common.data import bus, database
from countline_common.data.migration_reports import reader
from countline_common.data.part_feeds import OpenJetStream, PartFeeds, RunningPart
from countline_common.errors import CountlineError, UnavailableError
from countline_common.http.health import Check, HealthServer
from countline_common.logs import configure, get_logger
from countline_common.redaction import redact
from countline_common.tasks import cancel

MAKE_ROOM_EVERY_S: Final = 15
FLUSH_S: Final = 2

_log = get_logger(__name__)


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
                current = CurrentSettings({**level_base("ingest"), **settings.retention_of_environment()})
                follow_level("ingest", current)
                try:
                    ingest = _build(settings, engine, client, current)
                    await _correct_fences(engine, stopping)
                    rollups = await find_rollups(engine)
                    jetstream = partial(_jetstream, client, client.jetstream())
                    feeds = _feeds(engine, jetstream, ready, current)
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(_until(stopping, feeds), name="feeds of the part")
                        tasks.create_task(SiteFollower(jetstream, engine, stopping).run(), name="sites")
                        tasks.create_task(_serve(ingest, rollups, settings, current, stopping), name="ingest")
                finally:
                    await _close(client)
            finally:
                await engine.dispose()


def _feeds(engine: AsyncEngine, jetstream: OpenJetStream, ready: Check, current: CurrentSettings) -> PartFeeds:
    """Build what the process does over NATS beside its work."""
    part = RunningPart("ingest", checks={"ingest": ready})
    part.migrations.append(reader(part, engine, "countline_analytics.store", "analytics"))
    return PartFeeds(part, "ingest", jetstream, current)


async def _until(stopping: asyncio.Event, feeds: PartFeeds) -> None:
    running = asyncio.create_task(feeds.run())
    try:
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        feeds.stop()
        await running
    finally:
        await cancel(running)


def _jetstream(client: Client, jetstream: JetStreamContext) -> JetStreamContext | None:
    return jetstream if client.is_connected else None


async def _connect(settings: IngestSettings, stopping: asyncio.Event) -> Client:
    """Wait for the database and migrate it, then wait for NATS."""

    async def migrate() -> None:
        await database.migrate(settings.dsn, "countline_analytics.store", "analytics")

    await until_available("database", migrate, stopping)

    async def connect() -> Client:
        return await bus.connect(settings.nats_url, "ingest", settings.tls, user="ingest")

    return await until_available("nats", connect, stopping)


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


def _build(settings: IngestSettings, engine: AsyncEngine, client: Client, current: CurrentSettings) -> Ingest:
    writer = CountWriter(engine, time.time)
    return Ingest(client, writer, settings.ingest_batch_messages, oldest=partial(oldest_kept, current))


def again(name: str, job: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """Return a periodic job that warns, without a traceback, while NATS or the database does not serve it.

    Its next run tries again. Other errors reach the scheduler, which logs their traceback.
    """

    async def run_once() -> None:
        try:
            await job()
        except (CountlineError, nats.errors.Error, DBAPIError, PoolTimeoutError, OSError) as error:
            cause = cause_of(error)
            _log.warning("ingest.job_retry", job=name, error=redact(str(cause)) or type(cause).__name__)

    return run_once


async def _serve(
    ingest: Ingest, rollups: Rollups, settings: IngestSettings, current: CurrentSettings, stopping: asyncio.Event
) -> None:
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # at INFO it logs every run
    scheduler = AsyncIOScheduler(timezone="UTC", job_defaults={"max_instances": 1, "coalesce": True})

    def every(name: str, job: Callable[[], Awaitable[object]], **period: float) -> Job:
        return scheduler.add_job(again(name, job), "interval", id=name, **period)

    every("refresh rollups", rollups.refresh, seconds=settings.rollup_interval_s)
    every("make room in the stream", ingest.make_room, seconds=MAKE_ROOM_EVERY_S)
    deleting = every("delete old rows", partial(delete_old, rollups, current), hours=6)
    scheduler.start()
    for setting in set(SETTING_OF.values()):
        current.listen(setting, lambda _: deleting.modify(next_run_time=datetime.now(UTC)))
    try:
        await ingest.run(stopping)
    finally:
        scheduler.shutdown(wait=False)

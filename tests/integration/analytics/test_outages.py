"""Parts die under load; the totals are those of an undisturbed run."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import nats
import nats.errors
import psycopg
import pytest
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer
from tests.integration.analytics.conftest import until
from tests.integration.analytics.factory import NOON, crossing, record, subject

from countline_common import bus
from countline_common.database import migrate

COUNTLINE = Path(sys.executable).with_name("countline")
RECORDS = 240
PER_RECORD = 10


class IngestProcess:
    """`countline analytics ingest` as it is run."""

    def __init__(self, dsn: str, nats_url: str, log: Path) -> None:
        self._environment = {
            "COUNTLINE_ANALYTICS_DSN": dsn,
            "COUNTLINE_NATS_URL": nats_url,
            "COUNTLINE_ROLLUP_INTERVAL_S": "0.5",
            "COUNTLINE_INGEST_BATCH_MESSAGES": "8",
        }
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(COUNTLINE), "analytics", "ingest", env=self._environment, stdout=log, stderr=log
            )

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Stop in an orderly way; gives the exit status."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 10)


@pytest.fixture
async def dsn(own_postgres: PostgresServer) -> str:
    dsn = own_postgres.create_database()
    await migrate(dsn, "countline_analytics", "analytics")
    return dsn


@pytest.fixture
async def ingest(dsn: str, nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[IngestProcess]:
    process = IngestProcess(dsn, nats_server.url, tmp_path / "ingest.log")
    await process.start()
    yield process
    await process.stop()


def ask(dsn: str, statement: str) -> object:
    """The one value of a statement; None while the database is away."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=2) as connection:
            row = connection.execute(statement.encode()).fetchone()
    except psycopg.OperationalError:
        return None
    return None if row is None else row[0]


async def publish_steadily(nats_url: str, progress: Callable[[int], Awaitable[None]]) -> None:
    """What a worker's spool does: each record again until JetStream has acknowledged it."""
    client = await bus.connect(nats_url, "worker")
    js = client.jetstream()
    await bus.ensure_streams(js)
    for i in range(RECORDS):
        events = [crossing(i * PER_RECORD + k, NOON + i + k / 10) for k in range(PER_RECORD)]
        message = record(*events, sequence=i)
        while True:
            try:
                await js.publish(subject(message), message.SerializeToString(), timeout=1)
                break
            except (nats.errors.Error, OSError, TimeoutError):
                await asyncio.sleep(0.1)
        await progress(i)
        await asyncio.sleep(0.005)
    await client.close()


def check_totals(dsn: str) -> None:
    expected = RECORDS * PER_RECORD
    assert ask(dsn, "SELECT count(*) FROM analytics.crossings") == expected
    assert ask(dsn, "SELECT last_sequence FROM analytics.ingest_state") == expected
    assert ask(dsn, "SELECT count(DISTINCT ingest_sequence) FROM analytics.crossings") == expected
    assert ask(dsn, "SELECT sum(count)::int FROM analytics.counts_1m") == expected
    assert ask(dsn, "SELECT sum(count)::int FROM analytics.counts_15m") == expected


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["postgres", "nats", "ingest"])
async def test_a_part_that_is_killed_under_load_changes_no_total(
    victim: str, own_postgres: PostgresServer, dsn: str, nats_server: NatsServer, ingest: IngestProcess
) -> None:
    async def kill_and_start(i: int) -> None:
        if i not in {60, 61, 150}:  # twice in a row as well
            return
        if victim == "postgres":
            await asyncio.to_thread(own_postgres.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(own_postgres.start)
        elif victim == "nats":
            await nats_server.kill()
            await asyncio.sleep(0.3)
            await nats_server.start()
        else:
            await ingest.kill()
            await ingest.start()

    await publish_steadily(nats_server.url, kill_and_start)
    await until(lambda: ask(dsn, "SELECT count(*) FROM analytics.crossings") == RECORDS * PER_RECORD, 60)
    await until(lambda: ask(dsn, "SELECT count(*) FROM analytics.changed_buckets") == 0, 60)
    check_totals(dsn)


async def test_ingest_waits_for_parts_that_come_later_and_stops_when_told(
    own_postgres: PostgresServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    dsn = own_postgres.create_database()
    await nats_server.stop()
    own_postgres.stop()
    ingest = IngestProcess(dsn, nats_server.url, tmp_path / "ingest.log")
    await ingest.start()
    await until(lambda: "waiting" in ingest.log.read_text())
    await nats_server.start()
    own_postgres.start()
    await publish_steadily(nats_server.url, lambda _: asyncio.sleep(0))
    await until(lambda: ask(dsn, "SELECT count(*) FROM analytics.crossings") == RECORDS * PER_RECORD, 60)
    assert await ingest.stop() == 0


@pytest.mark.parametrize("missing", ["database", "nats"])
async def test_a_process_that_waits_for_a_part_stops_when_told(missing: str, dsn: str, tmp_path: Path) -> None:
    away = "postgresql://user:secret@127.0.0.1:1/x" if missing == "database" else dsn
    ingest = IngestProcess(away, "nats://user:secret@127.0.0.1:1", tmp_path / "ingest.log")
    await ingest.start()
    sign = "waiting" if missing == "database" else "bus.error"
    await until(lambda: ingest.log.exists() and sign in ingest.log.read_text())
    assert await ingest.stop() == 0
    assert "Traceback" not in ingest.log.read_text()
    assert "secret" not in ingest.log.read_text()


async def test_readiness_says_what_is_missing(
    own_postgres: PostgresServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    dsn = own_postgres.create_database()
    ingest = IngestProcess(dsn, nats_server.url, tmp_path / "ingest.log")
    port = _free_port()
    ingest._environment["COUNTLINE_HEALTH_ADDRESS"] = f"127.0.0.1:{port}"
    await ingest.start()

    async def readiness() -> tuple[int, dict]:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as response:
                return response.status, await response.json()
        except aiohttp.ClientError:
            return 0, {}

    async def ready() -> bool:
        return (await readiness())[0] == 200

    async def not_ready() -> bool:
        return (await readiness())[0] == 503

    await until(ready)
    own_postgres.stop()
    await until(not_ready)
    assert "ingest" in (await readiness())[1]["problems"]
    own_postgres.start()
    await until(ready)
    assert await ingest.stop() == 0


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

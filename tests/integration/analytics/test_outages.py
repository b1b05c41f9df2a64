"""Parts die under load; the totals are those of an undisturbed run."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import nats
import nats.errors
import psycopg
import pytest
from tests.fixtures.analytics.factory import NOON, crossing, record, subject
from tests.fixtures.analytics.page import Page, connected, now_records, receive
from tests.fixtures.analytics.stack import Stack, publish, until
from tests.fixtures.forked.command import KILL, countline
from tests.fixtures.local.ports import free_port
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer

from countline_analytics.ingest.consumer import DURABLE
from countline_common.administration.current import AdministrationState
from countline_common.data import bus
from countline_common.data.administration_feed import STATE, open_bucket
from countline_common.data.database import migrate
from countline_common.grpc.tokens import TokenSigner, generate_key_pair

RECORDS = 240
PER_RECORD = 10


class IngestProcess:
    """`countline analytics ingest`."""

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
                str(countline()), "analytics", "ingest", env=self._environment, stdout=log, stderr=log
            )

    async def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(KILL)
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
    await migrate(dsn, "countline_analytics.store", "analytics")
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


def crossings(dsn: str) -> int:
    found = ask(dsn, "SELECT count(*) FROM analytics.crossings")
    return found if isinstance(found, int) else 0


async def deliver_again(nats_url: str) -> None:
    """Have JetStream deliver at once what it delivered to an ingest that was killed; it waits for half a minute."""
    client = await bus.connect(nats_url, "test")
    js = client.jetstream()
    config = (await js.consumer_info(bus.COUNTS, DURABLE)).config
    config.ack_wait = 0.5
    await js.add_consumer(bus.COUNTS, config)
    await client.close()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["postgres", "nats", "ingest"])
async def test_a_part_that_is_killed_under_load_changes_no_total(
    victim: str, own_postgres: PostgresServer, dsn: str, nats_server: NatsServer, ingest: IngestProcess
) -> None:
    stored = [0]

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
            if i != 61:  # it counts again before it is killed again
                before = stored[-1]
                await until(lambda: crossings(dsn) > before, 60)
                stored.append(crossings(dsn))
            await ingest.kill()
            await ingest.start()

    await publish_steadily(nats_server.url, kill_and_start)
    if victim == "ingest":
        await deliver_again(nats_server.url)
    await until(lambda: ask(dsn, "SELECT count(*) FROM analytics.crossings") == RECORDS * PER_RECORD, 60)
    await until(lambda: ask(dsn, "SELECT count(*) FROM analytics.changed_buckets") == 0, 60)
    check_totals(dsn)


async def test_a_changed_retention_acts_on_ingest_at_once(
    dsn: str, nats_server: NatsServer, ingest: IngestProcess
) -> None:
    await publish(nats_server.url, record(crossing(1, time.time() - 20 * 86_400)))
    await until(lambda: ask(dsn, "SELECT count(*) FROM analytics.crossings") == 1)
    client = await nats.connect(nats_server.url)
    try:
        bucket = await open_bucket(client.jetstream())
        await bucket.put(STATE, AdministrationState({"retention.crossings_days": "7"}).to_bytes())
        await until(lambda: ask(dsn, "SELECT count(*) FROM analytics.crossings") == 0, 15.0)
    finally:
        await client.close()


async def test_ingest_waits_for_parts_that_come_later_and_stops_when_asked(
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
async def test_a_process_that_waits_for_a_part_stops_when_asked(missing: str, dsn: str, tmp_path: Path) -> None:
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
    port = free_port()
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


@pytest.fixture
def postgres(own_postgres: PostgresServer) -> PostgresServer:
    """Here the server of the whole stack may be killed."""
    return own_postgres


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    return plain_dsn


async def test_a_page_sees_every_crossing_through_outages_of_the_database_and_of_nats(
    stack: Stack, own_postgres: PostgresServer, nats_server: NatsServer
) -> None:
    page = Page()
    async with connected(stack) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts"})
        for i, outage in enumerate(["none", "database", "nats", "none"]):
            if outage == "database":
                await asyncio.to_thread(own_postgres.kill)
                status, body = await stack.call("GET", "analytics/counts")
                assert (status, body["errors"][0]["code"]) == (503, "UNAVAILABLE")
                await asyncio.to_thread(own_postgres.start)
            elif outage == "nats":
                await nats_server.kill()
                await nats_server.start()
            await stack.publish(*now_records(4, start=16 * i))
            async with asyncio.timeout(40):
                while page.sequence != 16 * (i + 1):
                    page.take(await receive(socket))
    assert sum(map(sum, page.totals.values())) == 64


async def test_the_api_process_sends_pages_away_and_stops_when_asked(
    plain_dsn: str, nats_server: NatsServer, tmp_path: Path
) -> None:
    private, public = generate_key_pair()
    (tmp_path / "key.pub").write_bytes(public)
    port = free_port()
    environment = {
        "COUNTLINE_ANALYTICS_DSN": plain_dsn,
        "COUNTLINE_NATS_URL": nats_server.url,
        "COUNTLINE_TOKEN_PUBLIC_KEY_FILE": str(tmp_path / "key.pub"),
        "COUNTLINE_GATEWAY_ADDRESS": f"127.0.0.1:{port}",
        "COUNTLINE_ANALYTICS_ADDRESS": "127.0.0.1:0",
        "COUNTLINE_WEBSOCKET_ADDRESS": "127.0.0.1:0",
        **{f"COUNTLINE_{name}_ADDRESS": "127.0.0.1:1" for name in ("AUTH", "CAMERAS", "WORKERS")},
    }
    process = await asyncio.create_subprocess_exec(str(countline()), "analytics", "api", env=environment)
    async with aiohttp.ClientSession() as session:

        async def serves() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/api/v1/openapi.json") as response:
                    return response.status == 200
            return False

        await until(serves)
        token = TokenSigner(private).sign("u", "u", roles=(), permissions=frozenset({"*"}), lifetime_s=60)
        async with session.ws_connect(f"ws://127.0.0.1:{port}/ws") as socket:
            await socket.send_json({"type": "auth", "token": token})
            for channel in ("counts", "status", "preview:cam-1"):
                await socket.send_json({"type": "subscribe", "channel": channel})
            assert (await receive(socket))["type"] == "ready"
            process.send_signal(signal.SIGTERM)
            while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_ingest_stops_when_asked_while_nats_is_away(ingest: IngestProcess, nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.url)

    async def consuming() -> bool:
        with contextlib.suppress(nats.errors.Error):
            return (await client.jetstream().consumer_info(bus.COUNTS, "ingest")).num_waiting == 1
        return False

    await until(consuming)
    await client.close()
    await nats_server.kill()
    await until(lambda: "bus.disconnected" in ingest.log.read_text() or "bus.error" in ingest.log.read_text())
    assert await ingest.stop() == 0

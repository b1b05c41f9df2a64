"""Spool to JetStream over a real NATS: outages, a full stream, and starting again."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from tests.fixtures.nats import NatsServer

from countline_common.data import bus
from countline_pipelines.publishing.publisher import Publisher
from countline_pipelines.publishing.spool import Spool

SUBJECT = bus.counts_subject("site", "cam")


@pytest.fixture
async def jetstream(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await bus.connect(nats_server.url, "test")
    await bus.ensure_streams(client.jetstream(), counts_max_bytes=200_000)
    yield client.jetstream()
    await client.close()


@asynccontextmanager
async def publishing(spool: Spool, jetstream: JetStreamContext) -> AsyncIterator[Publisher]:
    async def context() -> JetStreamContext:
        return jetstream

    publisher = Publisher(spool, context, lambda: bus.ensure_streams(jetstream))
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def stored(jetstream: JetStreamContext) -> int:
    return (await jetstream.stream_info(bus.COUNTS)).state.messages


async def test_what_is_acknowledged_is_forgotten_and_nothing_else(tmp_path: Path, jetstream: JetStreamContext) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.append([(SUBJECT, f"record {index}".encode()) for index in range(300)])
        async with publishing(spool, jetstream) as publisher:
            assert await publisher.drained(20)
            await asyncio.to_thread(spool.append, [(SUBJECT, b"a later one")])
            publisher.notify()
            assert await publisher.drained(20)
        assert spool.waiting == 0
    assert await stored(jetstream) == 301


async def test_a_full_stream_keeps_records_in_the_spool_until_there_is_room(
    tmp_path: Path, jetstream: JetStreamContext
) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.append([(SUBJECT, bytes([index]) * 10_000) for index in range(40)])
        async with publishing(spool, jetstream) as publisher:
            assert not await publisher.drained(1.5)
            waiting, held = spool.waiting, await stored(jetstream)
            assert 0 < held < 40
            assert waiting == 40 - held
            assert publisher._failing
            for _ in range(10):
                await jetstream.purge_stream(bus.COUNTS)
                if await publisher.drained(2.0):
                    break
            assert spool.waiting == 0


async def test_an_outage_in_the_middle_leaves_each_record_in_the_stream_once(
    tmp_path: Path, nats_server: NatsServer, jetstream: JetStreamContext
) -> None:
    with Spool(tmp_path / "spool") as spool:
        async with publishing(spool, jetstream) as publisher:
            for batch in range(20):
                await asyncio.to_thread(spool.append, [(SUBJECT, f"{batch}.{index}".encode()) for index in range(20)])
                publisher.notify()
                if batch == 8:
                    await nats_server.kill()
                if batch == 14:
                    await nats_server.start()
            assert await publisher.drained(30)
    assert await stored(jetstream) == 400


async def test_what_is_sent_again_after_a_crash_is_known_by_its_hash(
    tmp_path: Path, jetstream: JetStreamContext
) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.append([(SUBJECT, f"record {index}".encode()) for index in range(50)])
        crashed = tmp_path / "crashed"  # as the disk is when the power fails before any acknowledgement is written
        shutil.copytree(tmp_path / "spool", crashed)
        async with publishing(spool, jetstream) as publisher:
            assert await publisher.drained(20)
    with Spool(crashed) as spool:
        assert spool.waiting == 50
        async with publishing(spool, jetstream) as publisher:
            assert await publisher.drained(20)
    assert await stored(jetstream) == 50


async def test_a_stream_that_is_missing_is_made(tmp_path: Path, jetstream: JetStreamContext) -> None:
    await jetstream.delete_stream(bus.COUNTS)
    with Spool(tmp_path / "spool") as spool:
        spool.append([(SUBJECT, b"record")])
        async with publishing(spool, jetstream) as publisher:
            assert await publisher.drained(20)
    assert await stored(jetstream) == 1

"""The periodic jobs of ingest while what they need is away."""

import time

import nats
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from tests.fixtures.nats import NatsServer

from countline_analytics.ingest.consumer import Ingest
from countline_analytics.ingest.process import again
from countline_analytics.ingest.writer import CountWriter
from countline_analytics.store.rollups import TableRollups
from countline_common.data.database import create_engine


async def test_a_job_says_in_one_line_that_nats_has_no_streams(nats_server: NatsServer, engine: AsyncEngine) -> None:
    """The scheduler logged a traceback every 15 seconds until the streams existed."""
    client = await nats.connect(nats_server.url)
    ingest = Ingest(client, CountWriter(engine, time.time), 10)
    with capture_logs() as logs:
        await again("make room", ingest.make_room)()
    await client.close()
    assert [(each["event"], each["job"], each["log_level"]) for each in logs] == [
        ("ingest.job_retry", "make room", "warning")
    ]
    assert "stream not found" in logs[0]["error"]


async def test_a_job_says_in_one_line_that_the_database_is_away() -> None:
    engine = create_engine("postgresql://nobody:secret@127.0.0.1:1/none")
    with capture_logs() as logs:
        await again("refresh", TableRollups(engine).refresh)()
    await engine.dispose()
    assert "onnection refused" in logs[-1]["error"]
    assert "secret" not in str(logs)


async def test_an_error_of_the_program_reaches_the_scheduler() -> None:
    async def faulty() -> None:
        raise LookupError("a fault")

    with pytest.raises(LookupError):
        await again("faulty", faulty)()

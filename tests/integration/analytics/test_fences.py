"""Hand-overs of workers with wrong clocks erase no counts."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.factory import crossing, record, span, visit
from tests.fixtures.analytics.stack import ingesting, publish, until
from tests.fixtures.nats import NatsServer

from countline_analytics.ingest.refence import refence
from countline_common.times import to_timestamp

Scalar = Callable[..., object]
DAY_S = 86_400.0
TOTAL = "SELECT coalesce(sum(count), 0)::integer FROM analytics.counts_15m"


def history(now: float) -> list[object]:
    """Two days of an epoch, a crossing every ten minutes, the newest a second ago."""
    times = [now - 1 - 600 * k for k in range(288)]
    return [
        record(
            *[crossing(n, t) for n, t in enumerate(times)],
            hand_over_at=to_timestamp(now - 2 * DAY_S),
            visits=[visit(n, t - 9, 8) for n, t in enumerate(times[:10])],
            coverage=[span(now - 100, now - 1)],
        )
    ]


@pytest.mark.parametrize("back_s", [None, DAY_S, 3600.0], ids=["1970", "a day", "an hour"])
@pytest.mark.parametrize("together", [True, False])
async def test_a_clock_that_was_set_back_erases_no_history(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar, back_s: float | None, together: bool
) -> None:
    now = time.time()
    wrong = 5.0 if back_s is None else now - back_s
    later = record(crossing(1000, wrong, salt="2"), epoch=2, run="run-2", hand_over_at=to_timestamp(wrong))
    async with ingesting(nats_server.url, engine):
        await publish(nats_server.url, *history(now))
        if not together:
            await until(lambda: scalar(TOTAL) == 288)
        await publish(nats_server.url, later)
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 289)
    assert scalar(TOTAL) == 289
    assert scalar("SELECT count(*) FROM analytics.visits WHERE fenced") == 0
    reported = scalar("SELECT extract(epoch FROM reported_at)::float FROM analytics.hand_over_audit WHERE epoch = 2")
    assert reported == pytest.approx(wrong, abs=1e-3)
    assert scalar("SELECT fault FROM analytics.hand_over_audit WHERE epoch = 2") != ""


async def test_an_assignment_shows_that_a_late_hand_over_is_right(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    """The worker was cut off for an hour, while a stale one went on."""
    now = time.time()
    assigned_at = to_timestamp(now - 3601)
    cut_off = record(
        crossing(1000, now - 3599, salt="2"),
        epoch=2,
        run="run-2",
        hand_over_at=to_timestamp(now - 3600),
        assigned_at=assigned_at,
    )
    async with ingesting(nats_server.url, engine):
        await publish(nats_server.url, *history(now))
        await until(lambda: scalar(TOTAL) == 288)
        await publish(nats_server.url, cut_off)
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 289)
    assert scalar("SELECT count(*) FROM analytics.crossings WHERE fenced") == 6
    assert scalar(TOTAL) == 283


async def test_a_later_epoch_proves_an_earlier_hand_over_wrong_and_restores_the_counts(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    """The wrong hand-over came first, when there was nothing to compare it with."""
    now = time.time()
    wrong = record(crossing(1000, 5, salt="2"), epoch=2, run="run-2", hand_over_at=to_timestamp(5))
    right = record(crossing(2000, now, salt="3"), epoch=3, run="run-3", hand_over_at=to_timestamp(now))
    (old,) = history(now)
    first = record(epoch=1, hand_over_at=old.hand_over_at)
    old.ClearField("hand_over_at")
    async with ingesting(nats_server.url, engine):
        await publish(nats_server.url, wrong)
        await until(lambda: scalar(TOTAL) == 1)
        await publish(nats_server.url, old)
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 289)
        assert scalar(TOTAL) == 1
        before = scalar("SELECT last_sequence FROM analytics.ingest_state")
        await publish(nats_server.url, first, right)
        await until(lambda: scalar(TOTAL) == 290)
    assert scalar("SELECT last_sequence FROM analytics.ingest_state") == before + 2
    assert scalar("SELECT count(*) FROM analytics.visits WHERE fenced") == 0


async def test_refence_restores_what_an_older_release_fenced(
    nats_server: NatsServer,
    engine: AsyncEngine,
    scalar: Scalar,
    execute: Callable[..., None],
    analytics_dsn: str,
) -> None:
    now = time.time()
    async with ingesting(nats_server.url, engine):
        await publish(nats_server.url, *history(now))
        await until(lambda: scalar(TOTAL) == 288)
    execute(
        "INSERT INTO analytics.epochs (camera_id, epoch, hand_over_at, reported_at, received_at, written_at)"
        " VALUES ('cam-1', 2, to_timestamp(5), to_timestamp(5), now(), now())"
    )
    for table in ("crossings", "visits"):
        execute(f"UPDATE analytics.{table} SET fenced = true")
    execute(
        "INSERT INTO analytics.changed_buckets (camera_id, bucket)"
        " SELECT camera_id, date_trunc('minute', t) FROM analytics.crossings"
    )
    assert scalar(TOTAL) == 0
    result = await refence(engine, only_outdated=True)
    assert (result.cameras, result.fenced, result.restored) == (1, 0, 288)
    assert [(each.camera_id, each.epoch) for each in result.corrections] == [("cam-1", 2)]
    assert scalar(TOTAL) == 288
    assert scalar("SELECT count(*) FROM analytics.visits WHERE fenced") == 0
    assert (await refence(engine, only_outdated=True)).cameras == 0
    execute("UPDATE analytics.epochs SET hand_over_at = reported_at, fault = ''")
    printed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "countline_common", "db", "refence", "--json"],
        env={**os.environ, "COUNTLINE_ANALYTICS_DSN": analytics_dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    found = json.loads(printed.stdout)
    assert (found["cameras"], found["fenced"], found["restored"]) == (1, 0, 0)
    assert [each["epoch"] for each in found["corrections"]] == [2]

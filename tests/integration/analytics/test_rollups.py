"""Rollups against the crossings that they sum up."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.factory import NOON, crossing, record, subject

from countline_analytics.ingest.records import decode
from countline_analytics.ingest.writer import CountWriter
from countline_analytics.store.rollups import find_rollups
from countline_common.times import to_timestamp

Scalar = Callable[..., object]
DIFFERENCES = """
SELECT count(*) FROM (
    SELECT camera_id, line_id, direction, class_name, date_bin('{size}', t, '2000-01-01Z') AS bucket,
           count(*) FILTER (WHERE NOT fenced) AS count
    FROM analytics.crossings GROUP BY 1, 2, 3, 4, 5
) exact
FULL JOIN analytics.{view} rolled USING (camera_id, line_id, direction, class_name, bucket)
WHERE exact.count IS DISTINCT FROM rolled.count
"""


def differences(scalar: Scalar) -> list[object]:
    """How many rows of each view are not what the crossings say."""
    sizes = {"counts_1m": "1 minute", "counts_15m": "15 minutes"}
    return [scalar(DIFFERENCES.format(view=view, size=size)) for view, size in sizes.items()]


class Feeder:
    """Writes random crossings, old and new, on some cameras."""

    def __init__(self, engine: AsyncEngine, seed: int) -> None:
        self._writer = CountWriter(engine, time.time)
        self._random = random.Random(seed)
        self._number = 0

    async def write(self, records: int = 1, **fields: object) -> None:
        messages = [self._record(**fields) for _ in range(records)]
        await self._writer.write([decode(each.SerializeToString(), subject(each)) for each in messages])

    def _record(self, **fields: object):
        chance = self._random
        events = []
        for _ in range(chance.randrange(1, 20)):
            self._number += 1
            age = chance.choice([60, 3_000, 86_400, 40 * 86_400])
            line, direction = chance.choice(["gate", "door"]), chance.choice(["in", "out"])
            kind = chance.choice(["person", "car"])
            events.append(
                crossing(self._number, NOON - chance.random() * age, line=line, direction=direction, kind=kind)
            )
        values = {"camera": f"cam-{chance.randrange(3)}", "epoch": chance.randrange(1, 4), **fields}
        return record(*events, **values)


async def test_views_are_right_after_every_batch_whether_rolled_up_or_not(engine: AsyncEngine, scalar: Scalar) -> None:
    rollups, feeder, chance = await find_rollups(engine), Feeder(engine, 1), random.Random(2)
    for _ in range(12):
        await feeder.write(chance.randrange(1, 4))
        assert differences(scalar) == [0, 0]
        if chance.random() < 0.5:
            await rollups.refresh()
            assert differences(scalar) == [0, 0]
    assert scalar("SELECT count(*) > 0 FROM analytics.rollup_15m")


async def test_fencing_is_seen_in_counts_that_were_rolled_up_long_ago(engine: AsyncEngine, scalar: Scalar) -> None:
    rollups, feeder = await find_rollups(engine), Feeder(engine, 3)
    for _ in range(5):
        await feeder.write(2, camera="cam-1", epoch=1)
    await rollups.refresh()
    before = scalar("SELECT sum(count) FROM analytics.counts_15m")
    await feeder.write(camera="cam-1", epoch=2, hand_over_at=to_timestamp(NOON - 2 * 86_400))
    assert differences(scalar) == [0, 0]
    await rollups.refresh()
    assert differences(scalar) == [0, 0]
    assert scalar("SELECT sum(count) FROM analytics.counts_15m") < before


async def test_nothing_that_is_written_while_rollups_are_refreshed_is_lost(engine: AsyncEngine, scalar: Scalar) -> None:
    rollups, done = await find_rollups(engine), asyncio.Event()

    async def refresh() -> None:
        while not done.is_set():
            await rollups.refresh()

    async def feed(seed: int) -> None:
        feeder = Feeder(engine, seed)
        for _ in range(15):
            await feeder.write(2, run=f"run-{seed}", camera=f"cam-{seed}")

    refreshing = asyncio.create_task(refresh())
    await asyncio.gather(feed(11), feed(12))
    done.set()
    await refreshing
    assert differences(scalar) == [0, 0]
    await rollups.refresh()
    assert scalar("SELECT count(*) FROM analytics.changed_buckets") == 0
    assert differences(scalar) == [0, 0]


async def test_counts_stay_when_crossings_are_forgotten(engine: AsyncEngine, scalar: Scalar) -> None:
    rollups, feeder = await find_rollups(engine), Feeder(engine, 5)
    for _ in range(10):
        await feeder.write(2)
    await rollups.refresh()
    before = scalar("SELECT sum(count) FROM analytics.counts_15m")
    rows = scalar("SELECT count(*) FROM analytics.crossings")
    await rollups.forget("crossings", datetime.fromtimestamp(NOON, UTC) - timedelta(days=5))
    left = scalar("SELECT count(*) FROM analytics.crossings")
    assert left < rows
    await feeder.write(3)
    await rollups.refresh()
    new = scalar("SELECT count(*) FROM analytics.crossings") - left
    assert scalar("SELECT sum(count) FROM analytics.counts_15m") == before + new


async def test_several_writers_take_turns_and_count_each_event_once(engine: AsyncEngine, scalar: Scalar) -> None:
    same = [record(*[crossing(i * 5 + k, NOON + i) for k in range(5)], sequence=i) for i in range(20)]
    rows = [decode(each.SerializeToString(), subject(each)) for each in same]

    async def write(seed: int) -> None:
        writer, own = CountWriter(engine, time.time), list(rows)
        random.Random(seed).shuffle(own)
        for i in range(0, 20, 4):
            await writer.write(own[i : i + 4])

    await asyncio.gather(*(write(seed) for seed in range(3)))
    assert scalar("SELECT count(*) FROM analytics.crossings") == 100
    assert scalar("SELECT array_agg(ingest_sequence ORDER BY ingest_sequence) FROM analytics.crossings") == list(
        range(1, 101)
    )

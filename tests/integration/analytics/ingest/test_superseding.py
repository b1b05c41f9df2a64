"""A file that is counted again with a later version of the counting rule: the new run supersedes the old one."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.factory import NOON, crossing, record, sample, span, subject, trajectory, visit

from countline_analytics.ingest.records import decode
from countline_analytics.ingest.writer import CountWriter
from countline_analytics.store.sql import query

Scalar = Callable[..., object]
TOTAL = "SELECT coalesce(sum(count), 0)::integer FROM analytics.counts_15m"
FENCED = "SELECT coalesce(string_agg(DISTINCT run, ','), '') FROM analytics.{} WHERE fenced"


def part(run, version, *numbers, sequence=0, recording="film", epoch=0, camera="cam-1"):
    """A record of a run over a file; each number is a crossing with an id of its run."""
    crossings = [crossing(n, NOON + n, salt=run) for n in numbers]
    return record(
        *crossings,
        camera=camera,
        epoch=epoch,
        run=run,
        sequence=sequence,
        recording=recording,
        rule_version=version,
        coverage=[span(NOON, NOON + 30)],
    )


async def write(engine: AsyncEngine, *messages):
    records = [decode(message.SerializeToString(), subject(message)) for message in messages]
    return await CountWriter(engine, lambda: NOON + 100).write(records)


async def test_the_old_run_is_fenced_in_the_transaction_in_which_the_new_one_begins(
    engine: AsyncEngine, scalar: Scalar
) -> None:
    await write(engine, part("old", 1, 1, 2, 3))
    assert scalar(TOTAL) == 3
    written = await write(engine, part("new", 2, 1))
    assert (written.crossings, written.fenced) == (1, 3)
    assert scalar(TOTAL) == 1
    await write(engine, part("new", 2, 2, sequence=1))
    assert scalar(TOTAL) == 2
    assert scalar(FENCED.format("crossings")) == "old"
    assert scalar("SELECT count(*) FROM analytics.crossings") == 5, "nothing is deleted"


async def test_a_new_run_without_a_crossing_supersedes_as_well(engine: AsyncEngine, scalar: Scalar) -> None:
    await write(engine, part("old", 1, 1, 2))
    await write(engine, part("new", 2))
    assert scalar(TOTAL) == 0


async def test_records_of_the_old_run_that_come_late_do_not_count(engine: AsyncEngine, scalar: Scalar) -> None:
    await write(engine, part("old", 1, 1))
    await write(engine, part("new", 2, 1))
    late = part("old", 1, 1, 2, sequence=1)
    late.visits.append(visit(1, NOON, 8))
    late.occupancy.append(sample(NOON, 2))
    written = await write(engine, late)
    assert (written.crossings, written.fenced, written.duplicates) == (1, 1, 1)
    assert scalar(TOTAL) == 1
    assert [scalar(FENCED.format(table)) for table in ("visits", "occupancy")] == ["old", "old"]


async def test_runs_in_one_batch_and_in_any_order_leave_the_latest_rule(engine: AsyncEngine, scalar: Scalar) -> None:
    await write(engine, part("third", 3, 1), part("first", 1, 1, 2), part("second", 2, 1, 2, 3))
    assert scalar(TOTAL) == 1
    await write(engine, part("third", 3, 1), part("first", 1, 3, sequence=1))
    assert scalar(TOTAL) == 1


async def test_visits_occupancy_and_paths_of_the_old_run_are_fenced(engine: AsyncEngine, scalar: Scalar) -> None:
    old = part("old", 1, 1)
    old.visits.append(visit(1, NOON, 8))
    old.occupancy.append(sample(NOON, 2))
    old.trajectories.append(trajectory(1, NOON))
    await write(engine, old)
    assert await paths(engine) == 1
    await write(engine, part("new", 2, 1))
    assert [scalar(FENCED.format(table)) for table in ("visits", "occupancy")] == ["old", "old"]
    assert await paths(engine) == 0


async def paths(engine: AsyncEngine) -> int:
    """Return the number of trajectories that a query finds."""
    asked = {"camera_ids": ["cam-1"], "start": "2026-01-01Z", "end": "2027-01-01Z", "limit": 10}
    async with engine.connect() as connection:
        rows = await connection.execute(
            query("counts", "list_trajectories"), {**asked, "after_t": None, "after_id": None}
        )
        return len(rows.all())


async def test_other_files_cameras_parts_and_live_runs_stay(engine: AsyncEngine, scalar: Scalar) -> None:
    await write(
        engine,
        part("old", 1, 1),
        part("other-file", 1, 2, recording="other"),
        part("other-camera", 1, 3, camera="cam-2"),
        part("live", 0, 4, epoch=3, recording=""),
        part("nameless", 0, 5, recording=""),
    )
    await write(engine, part("new", 2, 6), part("new.1", 2, 7))
    assert scalar(FENCED.format("crossings")) == "old"
    assert scalar(TOTAL) == 6

"""SQL of trials. Each function works inside the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.times import to_datetime
from countline_control.models.domain import (
    CameraSpan,
    CrossingBucket,
    StoredTrial,
    TrialMode,
    TrialOutcome,
    TrialReport,
)
from countline_control.models.tables import trial_records, trial_tallies, trials
from countline_models.trials.verdict import PairedCounts

_PLAIN: Final = (
    "trial_id",
    "name",
    "challenger",
    "incumbent",
    "margin",
    "promote_if_better",
    "looks",
    "verdict",
    "created_by",
)
"""Columns whose values need no conversion."""


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def _trial(row: Mapping[str, Any]) -> StoredTrial:
    return StoredTrial(
        **{name: row[name] for name in _PLAIN},
        mode=TrialMode(row["mode"]),
        state=TrialOutcome(row["state"]),
        camera_ids=tuple(row["camera_ids"]),
        started_at=row["started_at"].timestamp(),
        ends_by=_seconds(row["ends_by"]),
        ended_at=_seconds(row["ended_at"]),
    )


async def insert_trial(connection: AsyncConnection, trial: StoredTrial) -> None:
    """Add a trial."""
    values: dict[str, Any] = {name: getattr(trial, name) for name in _PLAIN}
    values |= {"mode": trial.mode.value, "state": trial.state.value, "camera_ids": list(trial.camera_ids)}
    values |= {"started_at": to_datetime(trial.started_at)}
    values |= {"ends_by": to_datetime(trial.ends_by) if trial.ends_by is not None else None}
    await connection.execute(trials.insert().values(values))


async def end_trial(
    connection: AsyncConnection, trial_id: str, state: TrialOutcome, verdict: str, now: datetime
) -> StoredTrial | None:
    """End a running trial and return it; None if it has ended already."""
    where = (trials.c.trial_id == trial_id, trials.c.state == TrialOutcome.RUNNING.value)
    changes: dict[str, Any] = {"state": state.value, "verdict": verdict, "ended_at": now}
    row = (await connection.execute(update(trials).where(*where).values(changes).returning(trials))).mappings()
    found = row.one_or_none()
    return _trial(dict(found)) if found is not None else None


async def record_look(connection: AsyncConnection, trial_id: str, looks: int, verdict: str) -> None:
    """Store a look at a running trial."""
    where = (trials.c.trial_id == trial_id, trials.c.state == TrialOutcome.RUNNING.value)
    await connection.execute(update(trials).where(*where).values(looks=looks, verdict=verdict))


async def get_trial(connection: AsyncConnection, trial_id: str) -> StoredTrial | None:
    """Return one trial."""
    row = (await connection.execute(select(trials).where(trials.c.trial_id == trial_id))).mappings().one_or_none()
    return _trial(dict(row)) if row is not None else None


async def list_trials(connection: AsyncConnection, name: str, before: str, limit: int) -> list[StoredTrial]:
    """Return trials of a model, the newest first, beginning before `before`."""
    query = select(trials).where(trials.c.name == name).order_by(trials.c.trial_id.desc()).limit(limit)
    rows = (await connection.execute(query.where(trials.c.trial_id < before) if before else query)).mappings()
    return [_trial(dict(row)) for row in rows]


async def running_trials(connection: AsyncConnection) -> tuple[StoredTrial, ...]:
    """Return the running trials."""
    query = select(trials).where(trials.c.state == TrialOutcome.RUNNING.value).order_by(trials.c.trial_id)
    return tuple(_trial(dict(row)) for row in (await connection.execute(query)).mappings())


async def add_report(connection: AsyncConnection, record_id: str, report: TrialReport) -> bool:
    """Store a worker's report of a trial. Return False if it is a duplicate, or if the trial does not run."""
    trial = await get_trial(connection, report.trial_id)
    if trial is None or trial.state is not TrialOutcome.RUNNING or report.camera_id not in trial.camera_ids:
        return False  # crossings after the verdict could contradict it
    values = {
        "record_id": record_id,
        "trial_id": report.trial_id,
        "camera_id": report.camera_id,
        "starts_at": to_datetime(report.start),
        "ends_at": to_datetime(report.end),
        "frames": report.frames,
        "frames_missed": report.frames_missed,
    }
    statement = upsert(trial_records).values(values).on_conflict_do_nothing(index_elements=["record_id"])
    if await connection.scalar(statement.returning(trial_records.c.record_id)) is None:
        return False
    rows = [
        {
            "record_id": record_id,
            "line_id": each.line_id,
            "direction": each.direction,
            "both": each.tally.both,
            "only_incumbent": each.tally.only_incumbent,
            "only_challenger": each.tally.only_challenger,
        }
        for each in report.tallies
    ]
    if rows:
        await connection.execute(trial_tallies.insert(), rows)
    return True


async def spans(connection: AsyncConnection, trial_id: str) -> dict[str, CameraSpan]:
    """Return how much of each camera both versions have processed."""
    length = func.extract("epoch", trial_records.c.ends_at - trial_records.c.starts_at)
    query = (
        select(
            trial_records.c.camera_id,
            func.sum(length).label("seconds"),
            func.sum(trial_records.c.frames).label("frames"),
            func.sum(trial_records.c.frames_missed).label("missed"),
        )
        .where(trial_records.c.trial_id == trial_id)
        .group_by(trial_records.c.camera_id)
    )
    rows = await connection.execute(query)
    return {row.camera_id: CameraSpan(float(row.seconds), int(row.frames), int(row.missed)) for row in rows}


async def tallies(connection: AsyncConnection, trial_id: str) -> dict[tuple[str, str], PairedCounts]:
    """Return the crossings by camera and line, both directions together."""
    columns = (trial_tallies.c.both, trial_tallies.c.only_incumbent, trial_tallies.c.only_challenger)
    query = (
        select(trial_records.c.camera_id, trial_tallies.c.line_id, *(func.sum(column) for column in columns))
        .join(trial_tallies, trial_tallies.c.record_id == trial_records.c.record_id)
        .where(trial_records.c.trial_id == trial_id)
        .group_by(trial_records.c.camera_id, trial_tallies.c.line_id)
        .order_by(trial_records.c.camera_id, trial_tallies.c.line_id)
    )
    rows = (await connection.execute(query)).all()
    return {
        (camera, line): PairedCounts(int(both), int(first), int(second)) for camera, line, both, first, second in rows
    }


async def buckets(connection: AsyncConnection, trial_id: str, width_s: int) -> tuple[CrossingBucket, ...]:
    """Return the crossings that each version counted, in buckets of `width_s` seconds, in order of time."""
    # As a parameter, each clause would get its own, and PostgreSQL would see different expressions.
    start = func.date_bin(
        literal_column(f"interval '{width_s:d} seconds'"),
        trial_records.c.starts_at,
        literal_column("'epoch'::timestamptz"),
    )
    query = (
        select(
            start.label("start"),
            func.coalesce(func.sum(trial_tallies.c.both + trial_tallies.c.only_incumbent), 0).label("incumbent"),
            func.coalesce(func.sum(trial_tallies.c.both + trial_tallies.c.only_challenger), 0).label("challenger"),
        )
        .select_from(trial_records.outerjoin(trial_tallies, trial_tallies.c.record_id == trial_records.c.record_id))
        .where(trial_records.c.trial_id == trial_id)
        .group_by(start)
        .order_by(start)
    )
    rows = await connection.execute(query)
    return tuple(CrossingBucket(row.start.timestamp(), int(row.incumbent), int(row.challenger)) for row in rows)

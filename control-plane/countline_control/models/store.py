"""SQL of models. Each function works inside the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from sqlalchemy import case, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import events_pb2
from countline.v1.events_pb2 import TrialRecord
from countline.v1.models_pb2 import ModelValidation
from countline_common.errors import AlreadyExistsError
from countline_common.times import from_timestamp, to_datetime
from countline_control.models.domain import Mode, Outcome, Stored, StoredModel, StoredTrial, StoredVersion
from countline_control.models.tables import models, numbers, trial_records, trial_tallies, trials, versions
from countline_models.contract_model import ContractModel
from countline_models.deploy import FoundVersion, ModelBackend, ModelTarget, Tuning
from countline_models.trials.verdict import PairedCounts

DIRECTIONS = {events_pb2.DIRECTION_IN: "in", events_pb2.DIRECTION_OUT: "out"}


# Models and versions -------------------------------------------------------------------------------------------------


def _contract_json(contract: ContractModel) -> dict[str, Any]:
    return {
        "height": contract.height,
        "width": contract.width,
        "max_detections": contract.max_detections,
        "labels": list(contract.labels),
        "score_threshold": contract.score_threshold,
    }


def _contract(values: Mapping[str, Any]) -> ContractModel:
    return ContractModel(**{**values, "labels": tuple(values["labels"])})


def _tuning_json(tuning: Tuning) -> dict[str, int]:
    return {
        "max_batch_size": tuning.max_batch_size,
        "max_queue_delay_us": tuning.max_queue_delay_us,
        "instances": tuning.instances,
    }


def _model(row: Mapping[str, Any], of: tuple[StoredVersion, ...]) -> StoredModel:
    return StoredModel(
        name=row["name"],
        contract=_contract(row["contract"]),
        tuning=Tuning(**row["tuning"]),
        target=ModelTarget(row["target"]),
        backend=ModelBackend(row["backend"]),
        live_version=row["live_version"],
        previous_version=row["previous_version"],
        created_at=row["created_at"].timestamp(),
        updated_at=row["updated_at"].timestamp(),
        versions=of,
    )


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def _version(row: Mapping[str, Any]) -> StoredVersion:
    return StoredVersion(
        name=row["name"],
        version=row["version"],
        state=Stored(row["state"]),
        digest=row["digest"],
        size_bytes=row["size_bytes"],
        score_threshold=row["score_threshold"],
        fused=row["fused"],
        comment=row["comment"],
        validation=ParseDict(row["validation"], ModelValidation(), ignore_unknown_fields=True),
        created_by=row["created_by"],
        created_at=row["created_at"].timestamp(),
        promoted_by=row["promoted_by"],
        promoted_at=_seconds(row["promoted_at"]),
    )


async def get_model(connection: AsyncConnection, name: str, *, lock: bool = False) -> StoredModel | None:
    """One model with its versions; locked until the transaction ends, if wished."""
    query = select(models).where(models.c.name == name)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        return None
    return _model(dict(row), (await _versions(connection, [name])).get(name, ()))


async def list_models(connection: AsyncConnection, after: str, limit: int) -> list[StoredModel]:
    """Models by name, those after one."""
    query = select(models).where(models.c.name > after).order_by(models.c.name).limit(limit)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    of = await _versions(connection, [row["name"] for row in rows])
    return [_model(row, of.get(row["name"], ())) for row in rows]


async def all_models(connection: AsyncConnection) -> list[StoredModel]:
    """Every model."""
    rows = [dict(row) for row in (await connection.execute(select(models).order_by(models.c.name))).mappings()]
    of = await _versions(connection, [row["name"] for row in rows])
    return [_model(row, of.get(row["name"], ())) for row in rows]


async def _versions(connection: AsyncConnection, names: list[str]) -> dict[str, tuple[StoredVersion, ...]]:
    query = select(versions).where(versions.c.name.in_(names)).order_by(versions.c.name, versions.c.version)
    found: dict[str, tuple[StoredVersion, ...]] = {}
    for row in (await connection.execute(query)).mappings():
        found[row["name"]] = (*found.get(row["name"], ()), _version(dict(row)))
    return found


async def live_versions(connection: AsyncConnection) -> dict[str, int]:
    """The live version of each model that has one."""
    query = select(models.c.name, models.c.live_version).where(models.c.live_version > 0)
    return {row.name: row.live_version for row in await connection.execute(query)}


async def insert_model(connection: AsyncConnection, model: StoredModel) -> None:
    """Add a model, without versions.

    Raises:
        AlreadyExistsError: the name is taken.
    """
    values = {
        "name": model.name,
        "contract": _contract_json(model.contract),
        "tuning": _tuning_json(model.tuning),
        "target": model.target.value,
        "backend": model.backend.value,
        "live_version": model.live_version,
        "previous_version": model.previous_version,
        "created_at": to_datetime(model.created_at),
        "updated_at": to_datetime(model.updated_at),
    }
    statement = upsert(models).values(values).on_conflict_do_nothing(index_elements=["name"])
    if await connection.scalar(statement.returning(models.c.name)) is None:
        raise AlreadyExistsError(f"there is a model {model.name!r} already", hint="try again")


async def insert_version(connection: AsyncConnection, version: StoredVersion) -> None:
    """Add a version, and note for ever what its number was given to."""
    values = {
        "name": version.name,
        "version": version.version,
        "state": version.state.value,
        "digest": version.digest,
        "size_bytes": version.size_bytes,
        "score_threshold": version.score_threshold,
        "fused": version.fused,
        "comment": version.comment,
        "validation": MessageToDict(version.validation, preserving_proto_field_name=True),
        "created_by": version.created_by,
        "created_at": to_datetime(version.created_at),
        "promoted_by": version.promoted_by,
        "promoted_at": to_datetime(version.promoted_at) if version.promoted_at is not None else None,
    }
    await connection.execute(versions.insert().values(values))
    await _note_number(connection, version.name, version.version, version.digest)


async def _note_number(connection: AsyncConnection, name: str, version: int, digest: str) -> None:
    statement = upsert(numbers).values(name=name, version=version, digest=digest)
    changes = {"digest": statement.excluded.digest}
    await connection.execute(statement.on_conflict_do_update(index_elements=["name", "version"], set_=changes))


async def given_numbers(connection: AsyncConnection, name: str) -> dict[int, str]:
    """Every number that was ever given to a version of that name, and the digest of what it was given to.

    The digest is empty where nobody remembers it. A model that was deleted keeps its numbers.
    """
    query = select(numbers.c.version, numbers.c.digest).where(numbers.c.name == name)
    return {row.version: row.digest for row in await connection.execute(query)}


async def set_state(connection: AsyncConnection, name: str, version: int, state: Stored) -> None:
    """Write down what a version has become."""
    where = (versions.c.name == name, versions.c.version == version)
    await connection.execute(update(versions).where(*where).values(state=state.value))


async def replace_found(connection: AsyncConnection, name: str, contract: ContractModel, found: FoundVersion) -> None:
    """Write down that a version that was found has another content now, as a newer release brings it."""
    where = (versions.c.name == name, versions.c.version == found.version)
    changes: dict[str, Any] = {
        "digest": found.digest,
        "size_bytes": found.size_bytes,
        "score_threshold": found.score_threshold,
    }
    await connection.execute(update(versions).where(*where).values(changes))
    await _note_number(connection, name, found.version, found.digest)
    await connection.execute(update(models).where(models.c.name == name).values(contract=_contract_json(contract)))


async def set_live(
    connection: AsyncConnection, name: str, version: int, previous: int, actor: str, now: datetime
) -> None:
    """Make a version the live one."""
    changes: dict[str, Any] = {"live_version": version, "previous_version": previous, "updated_at": now}
    await connection.execute(update(models).where(models.c.name == name).values(changes))
    where = (versions.c.name == name, versions.c.version == version)
    made: dict[str, Any] = {"promoted_by": actor, "promoted_at": now, "state": Stored.VALIDATED.value}
    await connection.execute(update(versions).where(*where).values(made))


async def set_tuning(connection: AsyncConnection, name: str, tuning: Tuning, now: datetime) -> None:
    """Write down how Triton shall run a model."""
    changes: dict[str, Any] = {"tuning": _tuning_json(tuning), "updated_at": now}
    await connection.execute(update(models).where(models.c.name == name).values(changes))


async def delete_version(connection: AsyncConnection, name: str, version: int) -> None:
    """Forget a version; its number is not given again."""
    await connection.execute(delete(versions).where(versions.c.name == name, versions.c.version == version))
    forget = case((models.c.previous_version == version, 0), else_=models.c.previous_version)
    await connection.execute(update(models).where(models.c.name == name).values(previous_version=forget))


async def delete_model(connection: AsyncConnection, name: str) -> None:
    """Forget a model with its versions and trials; its numbers are not given again."""
    await connection.execute(delete(models).where(models.c.name == name))


async def delete_unfinished(connection: AsyncConnection, name: str) -> None:
    """Forget versions whose deployment was broken off; only where none can be under way."""
    where = (versions.c.name == name, versions.c.state == Stored.REGISTERED.value)
    await connection.execute(delete(versions).where(*where))


async def digests_in_use(connection: AsyncConnection) -> set[str]:
    """The digests of all versions."""
    return set((await connection.execute(select(versions.c.digest))).scalars())


# Trials --------------------------------------------------------------------------------------------------------------


_PLAIN = (
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
"""Columns of a trial that are what they are in code."""


def _trial(row: Mapping[str, Any]) -> StoredTrial:
    return StoredTrial(
        **{name: row[name] for name in _PLAIN},
        mode=Mode(row["mode"]),
        state=Outcome(row["state"]),
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
    connection: AsyncConnection, trial_id: str, state: Outcome, verdict: str, now: datetime
) -> StoredTrial | None:
    """End a trial that runs; None where it has ended already."""
    where = (trials.c.trial_id == trial_id, trials.c.state == Outcome.RUNNING.value)
    changes: dict[str, Any] = {"state": state.value, "verdict": verdict, "ended_at": now}
    row = (await connection.execute(update(trials).where(*where).values(changes).returning(trials))).mappings()
    found = row.one_or_none()
    return _trial(dict(found)) if found is not None else None


async def note_look(connection: AsyncConnection, trial_id: str, looks: int, verdict: str) -> None:
    """Write down that a running trial was looked at."""
    where = (trials.c.trial_id == trial_id, trials.c.state == Outcome.RUNNING.value)
    await connection.execute(update(trials).where(*where).values(looks=looks, verdict=verdict))


async def get_trial(connection: AsyncConnection, trial_id: str) -> StoredTrial | None:
    """One trial."""
    row = (await connection.execute(select(trials).where(trials.c.trial_id == trial_id))).mappings().one_or_none()
    return _trial(dict(row)) if row is not None else None


async def list_trials(connection: AsyncConnection, name: str, before: str, limit: int) -> list[StoredTrial]:
    """Trials of a model, the newest first, those older than one."""
    query = select(trials).where(trials.c.name == name).order_by(trials.c.trial_id.desc()).limit(limit)
    rows = (await connection.execute(query.where(trials.c.trial_id < before) if before else query)).mappings()
    return [_trial(dict(row)) for row in rows]


async def running_trials(connection: AsyncConnection) -> tuple[StoredTrial, ...]:
    """Trials that run."""
    query = select(trials).where(trials.c.state == Outcome.RUNNING.value).order_by(trials.c.trial_id)
    return tuple(_trial(dict(row)) for row in (await connection.execute(query)).mappings())


async def add_record(connection: AsyncConnection, record_id: str, record: TrialRecord) -> bool:
    """Write down what a worker told of a trial; false where it was known, or the trial is not."""
    trial = await get_trial(connection, record.trial_id)
    if trial is None or trial.state is not Outcome.RUNNING or record.camera_id not in trial.camera_ids:
        return False  # what comes after the verdict would speak against it
    values = {
        "record_id": record_id,
        "trial_id": record.trial_id,
        "camera_id": record.camera_id,
        "starts_at": to_datetime(from_timestamp(record.start)),
        "ends_at": to_datetime(from_timestamp(record.end)),
        "frames": record.frames,
        "frames_missed": record.frames_missed,
    }
    statement = upsert(trial_records).values(values).on_conflict_do_nothing(index_elements=["record_id"])
    if await connection.scalar(statement.returning(trial_records.c.record_id)) is None:
        return False
    rows = [
        {
            "record_id": record_id,
            "line_id": tally.line_id,
            "direction": DIRECTIONS.get(tally.direction, "in"),
            "both": tally.both,
            "only_incumbent": tally.only_incumbent,
            "only_challenger": tally.only_challenger,
        }
        for tally in record.tallies
    ]
    if rows:
        await connection.execute(trial_tallies.insert(), rows)
    return True


@dataclass(frozen=True, slots=True)
class CameraSpan:
    """How much both versions have seen of a camera."""

    seconds: float
    frames: int
    frames_missed: int


async def spans(connection: AsyncConnection, trial_id: str) -> dict[str, CameraSpan]:
    """By camera."""
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
    """By camera and line, both directions together."""
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


async def buckets(connection: AsyncConnection, trial_id: str, width_s: int) -> list[tuple[float, int, int]]:
    """Crossings that each version counted: start of the bucket, incumbent's, challenger's; in order of time."""
    # Its own parameter in each clause would make PostgreSQL take them for different expressions.
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
    return [(row.start.timestamp(), int(row.incumbent), int(row.challenger)) for row in rows]

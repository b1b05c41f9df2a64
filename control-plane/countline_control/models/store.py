"""SQL of models and their versions. Each function works inside the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.errors import AlreadyExistsError, NotFoundError
from countline_common.times import to_datetime
from countline_control.models import messages
from countline_control.models.domain import StoredModel, StoredVersion, VersionState
from countline_control.models.tables import models, numbers, versions
from countline_models.contract_model import ContractModel
from countline_models.deploy import FoundVersion, ModelBackend, ModelTarget, Tuning


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
        state=VersionState(row["state"]),
        digest=row["digest"],
        size_bytes=row["size_bytes"],
        score_threshold=row["score_threshold"],
        fused=row["fused"],
        comment=row["comment"],
        validation=messages.validation_from_json(row["validation"]),
        created_by=row["created_by"],
        created_at=row["created_at"].timestamp(),
        promoted_by=row["promoted_by"],
        promoted_at=_seconds(row["promoted_at"]),
    )


async def get_model(connection: AsyncConnection, name: str, *, lock: bool = False) -> StoredModel | None:
    """Return one model with its versions; with `lock`, its row stays locked until the transaction ends."""
    query = select(models).where(models.c.name == name)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        return None
    return _model(dict(row), (await _versions(connection, [name])).get(name, ()))


async def existing_model(connection: AsyncConnection, name: str, *, lock: bool = False) -> StoredModel:
    """Return one model as `get_model` does.

    Raises:
        NotFoundError: there is no such model.
    """
    model = await get_model(connection, name, lock=lock)
    if model is None:
        raise NotFoundError(f"there is no model {name!r}", hint="list the models: countline models list")
    return model


async def list_models(connection: AsyncConnection, after: str, limit: int) -> list[StoredModel]:
    """Return models by name, beginning after `after`."""
    query = select(models).where(models.c.name > after).order_by(models.c.name).limit(limit)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    of = await _versions(connection, [row["name"] for row in rows])
    return [_model(row, of.get(row["name"], ())) for row in rows]


async def all_models(connection: AsyncConnection) -> list[StoredModel]:
    """Return every model."""
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
    """Return the live version of each model that has one."""
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
        raise AlreadyExistsError(f"model {model.name!r} already exists", hint="try again")


async def insert_version(connection: AsyncConnection, version: StoredVersion) -> None:
    """Add a version, and record for ever which content got its number."""
    values = {
        "name": version.name,
        "version": version.version,
        "state": version.state.value,
        "digest": version.digest,
        "size_bytes": version.size_bytes,
        "score_threshold": version.score_threshold,
        "fused": version.fused,
        "comment": version.comment,
        "validation": messages.validation_json(version.validation),
        "created_by": version.created_by,
        "created_at": to_datetime(version.created_at),
        "promoted_by": version.promoted_by,
        "promoted_at": to_datetime(version.promoted_at) if version.promoted_at is not None else None,
    }
    await connection.execute(versions.insert().values(values))
    await _record_number(connection, version.name, version.version, version.digest)


async def _record_number(connection: AsyncConnection, name: str, version: int, digest: str) -> None:
    statement = upsert(numbers).values(name=name, version=version, digest=digest)
    changes = {"digest": statement.excluded.digest}
    await connection.execute(statement.on_conflict_do_update(index_elements=["name", "version"], set_=changes))


async def given_numbers(connection: AsyncConnection, name: str) -> dict[int, str]:
    """Return every number that a version of that name ever had → the digest of its content.

    The digest is empty if it was not recorded. A deleted model keeps its numbers.
    """
    query = select(numbers.c.version, numbers.c.digest).where(numbers.c.name == name)
    return {row.version: row.digest for row in await connection.execute(query)}


async def set_state(connection: AsyncConnection, name: str, version: int, state: VersionState) -> None:
    """Store the state of a version."""
    where = (versions.c.name == name, versions.c.version == version)
    await connection.execute(update(versions).where(*where).values(state=state.value))


async def replace_found(connection: AsyncConnection, name: str, contract: ContractModel, found: FoundVersion) -> None:
    """Store the new content of a version that was found in the repository, after a release replaced it."""
    where = (versions.c.name == name, versions.c.version == found.version)
    changes: dict[str, Any] = {
        "digest": found.digest,
        "size_bytes": found.size_bytes,
        "score_threshold": found.score_threshold,
    }
    await connection.execute(update(versions).where(*where).values(changes))
    await _record_number(connection, name, found.version, found.digest)
    await connection.execute(update(models).where(models.c.name == name).values(contract=_contract_json(contract)))


async def set_live(
    connection: AsyncConnection, name: str, version: int, previous: int, actor: str, now: datetime
) -> None:
    """Store that a version is live."""
    changes: dict[str, Any] = {"live_version": version, "previous_version": previous, "updated_at": now}
    await connection.execute(update(models).where(models.c.name == name).values(changes))
    where = (versions.c.name == name, versions.c.version == version)
    made: dict[str, Any] = {"promoted_by": actor, "promoted_at": now, "state": VersionState.VALIDATED.value}
    await connection.execute(update(versions).where(*where).values(made))


async def set_tuning(connection: AsyncConnection, name: str, tuning: Tuning, now: datetime) -> None:
    """Store how Triton should run a model."""
    changes: dict[str, Any] = {"tuning": _tuning_json(tuning), "updated_at": now}
    await connection.execute(update(models).where(models.c.name == name).values(changes))


async def delete_version(connection: AsyncConnection, name: str, version: int) -> None:
    """Delete a version; its number is not given again."""
    await connection.execute(delete(versions).where(versions.c.name == name, versions.c.version == version))
    forget = case((models.c.previous_version == version, 0), else_=models.c.previous_version)
    await connection.execute(update(models).where(models.c.name == name).values(previous_version=forget))


async def delete_model(connection: AsyncConnection, name: str) -> None:
    """Delete a model with its versions and trials; its numbers are not given again."""
    await connection.execute(delete(models).where(models.c.name == name))


async def delete_unfinished(connection: AsyncConnection, name: str) -> None:
    """Delete versions whose deployment was interrupted. The caller makes sure that no deployment is running."""
    where = (versions.c.name == name, versions.c.state == VersionState.REGISTERED.value)
    await connection.execute(delete(versions).where(*where))


async def digests_in_use(connection: AsyncConnection) -> set[str]:
    """Return the digests of all versions."""
    return set((await connection.execute(select(versions.c.digest))).scalars())

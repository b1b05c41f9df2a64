"""Adopts models that lie in Triton's repository although they were never deployed, such as the shipped ones.

The newest version of them that Triton serves becomes live.
"""

import asyncio
import time
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.triton import ModelRef
from countline_control.database import Database
from countline_control.models import store
from countline_control.models.domain import (
    StoredModel,
    StoredVersion,
    Validation,
    VersionState,
    given_to_another,
    next_number,
)
from countline_control.models.repository import Repository
from countline_models.deploy import FoundModel, FoundVersion

SHIPPED: Final = frozenset({"demo_detector"})
"""Models that come with a release: the next release may bring other content under the same number."""

_log = get_logger(__name__)


class Adoption:
    """Compares the repository with the database, and adds what the database does not know.

    Args:
        database: holds the schema `models`.
        repository: Triton's repository.
    """

    def __init__(self, database: Database, repository: Repository) -> None:
        self._database = database
        self._repository = repository

    async def adopt(self) -> None:
        """Add models that the database does not know, and record content that a release replaced."""
        known = {model.name: model for model in await self._database.read(store.all_models)}
        for name in await asyncio.to_thread(self._repository.folder.names):
            if name in known and all(version.created_by for version in known[name].versions):
                continue  # every version was deployed: do not spend time on reading its files
            found = await self._look_at(name)
            if found is not None and name in known:
                await self._note_replaced(known[name], found)
            elif found is not None:
                await self._add(found)

    async def _look_at(self, name: str) -> FoundModel | None:
        """Read a folder of the repository; None if it is not a model of ours."""
        try:
            found = await asyncio.to_thread(self._repository.folder.find, name)
        except CountlineError as error:
            _log.warning("model.ignored", model=name, error=error.message)
            return None
        return found if found.versions else None

    async def _add(self, found: FoundModel) -> None:
        now = time.time()
        served = found.served or (max(version.version for version in found.versions),)
        model = StoredModel(
            name=found.name,
            contract=found.contract,
            tuning=found.tuning,
            target=found.target,
            live_version=max(served),
            previous_version=0,
            created_at=now,
            updated_at=now,
            backend=found.backend,
        )
        async with self._database.begin() as connection:
            given = await store.given_numbers(connection, found.name)
            digests = {version.version: version.digest for version in found.versions}
            if others := given_to_another(given, digests):
                hint = f"name its folders by numbers from {next_number(given)} on, or deploy it"
                _log.error("model.number_reused", model=found.name, versions=others, hint=hint)
                return
            await store.insert_model(connection, model)
            for version in found.versions:
                await store.insert_version(connection, _adopted(found, version, served, now))
        _log.info("model.adopted", model=found.name, versions=[version.version for version in found.versions])

    async def _note_replaced(self, model: StoredModel, found: FoundModel) -> None:
        """Compare the digests of adopted files with their stored ones. Only a newer release may replace a file."""
        adopted = {version.version: version.digest for version in model.versions if not version.created_by}
        there = {version.version: version for version in found.versions}
        others = given_to_another(adopted, {number: there[number].digest for number in adopted if number in there})
        if others and model.name not in SHIPPED:
            hint = f"put the former file back, and deploy this one: countline models deploy FILE --name {model.name}"
            _log.error("model.number_reused", model=model.name, versions=others, hint=hint)
            return
        for number in others:
            async with self._database.begin() as connection:
                await store.replace_found(connection, model.name, found.contract, there[number])
            _log.info("model.replaced", model=str(ModelRef(model.name, number)), digest=there[number].digest)


def _adopted(found: FoundModel, version: FoundVersion, served: tuple[int, ...], now: float) -> StoredVersion:
    return StoredVersion(
        name=found.name,
        version=version.version,
        state=VersionState.VALIDATED if version.version in served else VersionState.RETIRED,
        digest=version.digest,
        size_bytes=version.size_bytes,
        score_threshold=version.score_threshold,
        fused="",
        comment="found in the repository",
        validation=Validation(),
        created_by="",
        created_at=now,
        promoted_at=now if version.version == max(served) else None,
    )

"""Brings the database, Triton's repository and the artifact store back together when the service starts.

Models that lie in the repository and that nobody deployed, such as the shipped ones, are taken in: what Triton serves
of them is live. What a deployment that was killed left behind is removed. Files that are missing are fetched by digest.
"""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Final

from countline.v1.models_pb2 import ModelValidation
from countline_common.errors import CountlineError, NotFoundError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Cooldowns
from countline_common.triton import InferenceLostError, ModelRef
from countline_common.waiting import happens
from countline_control.database import Database, is_away
from countline_control.models import store
from countline_control.models.artifacts import ArtifactStore
from countline_control.models.domain import Stored, StoredModel, StoredVersion, given_to_another, next_number
from countline_control.models.repository import Repository
from countline_models.deploy import FoundModel, FoundVersion
from countline_models.digests import file_digest

LOOK_S: Final = 10.0
SHIPPED: Final = frozenset({"demo_detector"})
"""Models that come with a release: the next one may bring another content under the same number."""
AGAIN_S: Final = 10.0
AGAIN_LONGEST_S: Final = 600.0
"""Between attempts to have Triton serve what it refused: each has the versions loaded anew that do count."""
_log = get_logger(__name__)


class Upkeep:
    """See the module.

    Args:
        database: with the schema `models`.
        repository: Triton's.
        artifacts: where files are kept besides; None for nowhere.
        work: the folder of uploads.
    """

    def __init__(self, database: Database, repository: Repository, artifacts: ArtifactStore | None, work: Path) -> None:
        self._database = database
        self._repository = repository
        self._artifacts = artifacts
        self._work = work
        self._cooldowns = Cooldowns[str](AGAIN_S, AGAIN_LONGEST_S, jitter=0.0)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def begin(self) -> None:
        """What has to be done before anybody is answered; talks to the database and the disk alone."""
        staged = await asyncio.to_thread(self._repository.folder.unstage_all)
        await asyncio.to_thread(_clear_uploads, self._work)
        if staged:
            _log.info("models.unstaged", names=staged)
        await self._forget_unfinished()
        await self._adopt()

    async def run(self) -> None:
        """Fetch what is missing, however long that takes, and keep Triton at what is written down."""
        restoring = True
        while not self._stopping.is_set():
            restoring = restoring and await self._is_restoring()
            await self._correct()
            await happens(self._stopping, LOOK_S)

    async def _is_restoring(self) -> bool:
        """Fetch what can be had now; whether more may come later. Nothing that goes wrong here ends a service."""
        try:
            await self._repository.unload_staged()
            return await self._restore()
        except Exception as error:  # noqa: BLE001  (a disk, a database or a store that fails now may be well later)
            _say_unless_away("models.not_restored", error)
            return True

    async def _correct(self) -> None:
        """Have Triton serve what it should where somebody told it otherwise.

        A worker that finds Triton restarted loads each model twice, the second time as it suits the machine, with the
        versions that it read before: one that was deployed in between is dropped by that, and no worker brings it back.
        """
        try:
            models = await self._database.read(store.all_models)
        except Exception as error:  # noqa: BLE001  (the database is away, or will be well later)
            _say_unless_away("models.not_looked_after", error)
            return
        for model in models:
            if model.served and self._cooldowns.may_try(model.name, model.served):
                await self._look_after(model)

    async def _look_after(self, model: StoredModel) -> None:
        """Correct one, or leave it alone for a while; one that fails keeps none of the others from being put right."""
        try:
            await self._correct_one(model)
        except Exception as error:  # noqa: BLE001  (whatever it is may be well later)
            if not _is_silent(error):
                self._cooldowns.record_failure(model.name, model.served)
            _say_unless_away("model.not_corrected", error, model=model.name)
        else:
            self._cooldowns.record_success(model.name)

    async def _correct_one(self, seen: StoredModel) -> None:
        if not await self._repository.serves_others(seen):
            return
        async with self._repository.changing:  # what is under way may be what was seen
            model = await self._database.read(lambda connection: store.get_model(connection, seen.name))
            if model is None or not model.served or not await self._repository.serves_others(model):
                return
            _log.warning("model.served_otherwise", model=model.name, versions=model.served)
            await self._repository.refresh(model)

    async def _forget_unfinished(self) -> None:
        for model in await self._database.read(store.all_models):
            for version in model.versions:
                if version.state is Stored.REGISTERED:
                    _log.warning("model.unfinished", model=str(version.ref))
                    async with self._database.begin() as connection:
                        await store.delete_version(connection, model.name, version.version)
                    await self._repository.remove_files(model, version.version)
            if model.versions and all(version.state is Stored.REGISTERED for version in model.versions):
                async with self._database.begin() as connection:
                    await store.delete_model(connection, model.name)

    async def _adopt(self) -> None:
        known = {model.name: model for model in await self._database.read(store.all_models)}
        for name in await asyncio.to_thread(self._repository.folder.names):
            if name in known and all(version.created_by for version in known[name].versions):
                continue  # all of it was deployed: nothing to learn, and nobody waits for its files to be read
            found = await self._look_at(name)
            if found is not None and name in known:
                await self._note_replaced(known[name], found)
            elif found is not None:
                await self._take_in(found)

    async def _look_at(self, name: str) -> FoundModel | None:
        """What lies there under a name; None for what is no model of ours, which is left alone."""
        try:
            found = await asyncio.to_thread(self._repository.folder.find, name)
        except CountlineError as error:
            _log.warning("model.left_alone", model=name, error=error.message)
            return None
        return found if found.versions else None

    async def _take_in(self, found: FoundModel) -> None:
        now = time.time()
        served = found.served or (max(version.version for version in found.versions),)
        live = max(served)
        model = StoredModel(
            name=found.name,
            contract=found.contract,
            tuning=found.tuning,
            target=found.target,
            live_version=live,
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
                _log.error("model.number_given_before", model=found.name, versions=others, hint=hint)
                return
            await store.insert_model(connection, model)
            for version in found.versions:
                await store.insert_version(connection, _adopted(found, version, served, now))
        _log.info("model.taken_in", model=found.name, versions=[version.version for version in found.versions])

    async def _note_replaced(self, model: StoredModel, found: FoundModel) -> None:
        """Look for files that have another digest than what was taken in; a newer release alone may bring such."""
        adopted = {version.version: version.digest for version in model.versions if not version.created_by}
        there = {version.version: version for version in found.versions}
        others = given_to_another(adopted, {number: there[number].digest for number in adopted if number in there})
        if others and model.name not in SHIPPED:
            hint = f"put the former file back, and deploy this one: countline models deploy FILE --name {model.name}"
            _log.error("model.number_given_before", model=model.name, versions=others, hint=hint)
            return
        for number in others:
            async with self._database.begin() as connection:
                await store.replace_found(connection, model.name, found.contract, there[number])
            _log.info("model.replaced", model=str(ModelRef(model.name, number)), digest=there[number].digest)

    async def _restore(self) -> bool:
        """Fetch files that are missing or not what they were; whether something is still missing that may come."""
        waits = False
        for model in await self._database.read(store.all_models):
            missing = [version for version in model.versions if await self._is_missing(version)]
            for version in missing:
                waits |= not await self._fetch(version)
            if missing:
                await self._serve_again(model.name)
        return waits

    async def _serve_again(self, name: str) -> None:
        """Write what is served of a model, as it is known now and as far as its files are there."""
        async with self._repository.changing:
            model = await self._database.read(lambda connection: store.get_model(connection, name))
            if model is not None and model.served and await asyncio.to_thread(self._repository.has_all, model):
                await self._repository.write_config(model)

    async def _is_missing(self, version: StoredVersion) -> bool:
        if version.state is Stored.REGISTERED or not version.created_by:
            return False
        there = await asyncio.to_thread(self._repository.folder.digest, version.name, version.version)
        return there != version.digest

    async def _put_back(self, version: StoredVersion, file: Path) -> None:
        """Put a file where it was, unless its version was deleted meanwhile; its digest says that it is the one."""
        async with self._repository.changing:
            model = await self._database.read(lambda connection: store.get_model(connection, version.name))
            if model is None or version.version not in {each.version for each in model.versions}:
                return
            folder = self._repository.folder
            await asyncio.to_thread(folder.write_version, version.name, version.version, file, replace=True)

    async def _fetch(self, version: StoredVersion) -> bool:
        """Whether there is nothing more to try."""
        if self._artifacts is None:
            _log.error("model.file_missing", model=str(version.ref), hint="deploy it again")
            return True
        partial = self._work / f"{version.digest}.partial"
        try:
            await self._artifacts.get(version.digest, partial)
            await asyncio.to_thread(_check_digest, partial, version.digest)
            await self._put_back(version, partial)
        except NotFoundError as error:
            _log.error("model.file_missing", model=str(version.ref), error=error.message, hint="deploy it again")
            return True
        except CountlineError as error:
            _log.warning("model.not_fetched", model=str(version.ref), error=error.message)
            return False
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        _log.info("model.fetched", model=str(version.ref))
        return True


def _adopted(found: FoundModel, version: FoundVersion, served: tuple[int, ...], now: float) -> StoredVersion:
    return StoredVersion(
        name=found.name,
        version=version.version,
        state=Stored.VALIDATED if version.version in served else Stored.RETIRED,
        digest=version.digest,
        size_bytes=version.size_bytes,
        score_threshold=version.score_threshold,
        fused="",
        comment="found in the repository",
        validation=ModelValidation(),
        created_by="",
        created_at=now,
        promoted_at=now if version.version == max(served) else None,
    )


def _check_digest(file: Path, digest: str) -> None:
    if file_digest(file) != digest:
        raise NotFoundError("what is kept under this digest has another one")


def _is_silent(error: Exception) -> bool:
    """Whether the database or Triton does not answer; others say so, and it need not be said at every look."""
    return is_away(error) or isinstance(error, InferenceLostError)


def _say_unless_away(event: str, error: Exception, **more: str) -> None:
    if _is_silent(error):
        return
    if isinstance(error, CountlineError):
        _log.warning(event, error=error.message, hint=error.hint, **more)
    else:
        _log.error(event, exc_info=error, **more)


def _clear_uploads(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (*work.glob("deploy-*"), *work.glob("*.partial")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

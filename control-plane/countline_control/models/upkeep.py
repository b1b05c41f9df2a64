"""Reconciles the database, Triton's repository, Triton and the artifact store: at the start, and every few seconds.

The start removes what a killed deployment left behind, and adopts models that were never deployed. Missing files are
fetched by digest.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Final

from countline_common.data.database import is_away
from countline_common.errors import CountlineError, NotFoundError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Cooldowns
from countline_common.triton import InferenceLostError
from countline_common.waiting import happens
from countline_control.database import Database
from countline_control.models import store
from countline_control.models.adoption import Adoption
from countline_control.models.artifacts import DEPLOY_AGAIN, ArtifactStore
from countline_control.models.domain import StoredModel, StoredVersion, VersionState
from countline_control.models.repository import Repository
from countline_models.digests import file_digest

LOOK_S: Final = 10.0
AGAIN_S: Final = 10.0
AGAIN_LONGEST_S: Final = 600.0
"""Between attempts to load what Triton refused: each attempt also reloads the versions that work."""

_log = get_logger(__name__)


class Upkeep:
    """The task that reconciles.

    Args:
        database: holds the schema `models`.
        repository: Triton's repository, and the Triton that serves it.
        artifacts: second place of model files; None for none.
        work: folder for uploads.
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
        """Do what must be done before the first call is answered; uses only the database and the disk."""
        staged = await asyncio.to_thread(self._repository.folder.unstage_all)
        await asyncio.to_thread(_clear_uploads, self._work)
        if staged:
            _log.info("models.unstaged", names=staged)
        await self._forget_unfinished()
        await Adoption(self._database, self._repository).adopt()

    async def run(self) -> None:
        """Fetch missing files, and keep Triton at the stored versions, until `stop` is called."""
        restoring = True
        while not self._stopping.is_set():
            restoring = restoring and await self._is_restoring()
            await self._correct()
            await happens(self._stopping, LOOK_S)

    async def _is_restoring(self) -> bool:
        """Fetch what is available now; return whether more may come later. No error here ends the service."""
        try:
            await self._repository.unload_staged()
            return await self._restore()
        except Exception as error:  # noqa: BLE001  (a disk, a database or a store that fails now may recover)
            _log_unless_away("models.restore_failed", error)
            return True

    async def _correct(self) -> None:
        """Make Triton serve the stored versions again if someone changed them.

        A worker that finds Triton restarted loads each model twice, the second time adapted to the machine, with the
        versions that it read before. That drops a version that was deployed in between, and no worker restores it.
        """
        try:
            models = await self._database.read(store.all_models)
        except Exception as error:  # noqa: BLE001  (the database is away, or may recover)
            _log_unless_away("models.check_failed", error)
            return
        for model in models:
            if model.served and self._cooldowns.may_try(model.name, model.served):
                await self._look_after(model)

    async def _look_after(self, model: StoredModel) -> None:
        """Correct one model, or pause it after a failure. A failure does not stop the correction of other models."""
        try:
            await self._correct_one(model)
        except Exception as error:  # noqa: BLE001  (whatever fails now may recover)
            if not _is_silent(error):
                self._cooldowns.record_failure(model.name, model.served)
            _log_unless_away("model.correction_failed", error, model=model.name)
        else:
            self._cooldowns.record_success(model.name)

    async def _correct_one(self, seen: StoredModel) -> None:
        if not await self._repository.serves_others(seen):
            return
        async with self._repository.changing:  # a change in progress may explain the difference
            model = await self._database.read(lambda connection: store.get_model(connection, seen.name))
            if model is None or not model.served or not await self._repository.serves_others(model):
                return
            _log.warning("model.versions_differ", model=model.name, versions=model.served)
            await self._repository.refresh(model)

    async def _forget_unfinished(self) -> None:
        for model in await self._database.read(store.all_models):
            for version in model.versions:
                if version.state is VersionState.REGISTERED:
                    _log.warning("model.unfinished_removed", model=str(version.ref))
                    async with self._database.begin() as connection:
                        await store.delete_version(connection, model.name, version.version)
                    await self._repository.remove_files(model, version.version)
            if model.versions and all(version.state is VersionState.REGISTERED for version in model.versions):
                async with self._database.begin() as connection:
                    await store.delete_model(connection, model.name)

    async def _restore(self) -> bool:
        """Fetch files that are missing or changed; return whether a missing file may become available later."""
        waits = False
        for model in await self._database.read(store.all_models):
            missing = [version for version in model.versions if await self._is_missing(version)]
            for version in missing:
                waits |= not await self._fetch(version)
            if missing:
                await self._serve_again(model.name)
        return waits

    async def _serve_again(self, name: str) -> None:
        """Write the configuration of a model from its current state, if its files are there."""
        async with self._repository.changing:
            model = await self._database.read(lambda connection: store.get_model(connection, name))
            if model is not None and model.served and await asyncio.to_thread(self._repository.has_all, model):
                await self._repository.write_config(model)

    async def _is_missing(self, version: StoredVersion) -> bool:
        if version.state is VersionState.REGISTERED or not version.created_by:
            return False
        there = await asyncio.to_thread(self._repository.folder.digest, version.name, version.version)
        return there != version.digest

    async def _put_back(self, version: StoredVersion, file: Path) -> None:
        """Put a checked file back into the repository, unless its version was deleted meanwhile."""
        async with self._repository.changing:
            model = await self._database.read(lambda connection: store.get_model(connection, version.name))
            if model is None or version.version not in {each.version for each in model.versions}:
                return
            folder = self._repository.folder
            await asyncio.to_thread(folder.write_version, version.name, version.version, file, replace=True)

    async def _fetch(self, version: StoredVersion) -> bool:
        """Fetch the file of a version; return False if a later attempt may succeed."""
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
            _log.warning("model.fetch_failed", model=str(version.ref), error=error.message)
            return False
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        _log.info("model.fetched", model=str(version.ref))
        return True


def _check_digest(file: Path, digest: str) -> None:
    if file_digest(file) != digest:
        raise NotFoundError("the file that is stored under this digest has another one", hint=DEPLOY_AGAIN)


def _is_silent(error: Exception) -> bool:
    """Whether the database or Triton does not answer; other parts log that, so this task does not."""
    return is_away(error) or isinstance(error, InferenceLostError)


def _log_unless_away(event: str, error: Exception, **more: str) -> None:
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

"""Makes an examined model a version that Triton serves, or undoes everything: database, repository, Triton."""

import time
from dataclasses import dataclass, replace

from countline_common.data.outbox import Outbox
from countline_common.logs import get_logger
from countline_common.tasks import to_its_end
from countline_control.database import Database
from countline_control.models import messages, store
from countline_control.models.artifacts import ArtifactStore
from countline_control.models.deployment.progress import Progress
from countline_control.models.deployment.upload import Upload
from countline_control.models.domain import StoredModel, StoredVersion, Validation, VersionState, next_number
from countline_control.models.repository import Repository
from countline_models.deploy import ExaminedModel, ModelTarget, Tuning, check_interchangeable

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A deployment that was received and examined."""

    upload: Upload
    candidate: ExaminedModel
    target: ModelTarget
    actor: str

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.upload.request.name


class Installer:
    """Installs versions.

    Args:
        database: holds the schema `models`.
        repository: Triton's repository, and the Triton that serves it.
        artifacts: second place of model files; None for none.
        outbox: the outbox of the service.
    """

    def __init__(
        self, database: Database, repository: Repository, artifacts: ArtifactStore | None, outbox: Outbox
    ) -> None:
        self._database = database
        self._repository = repository
        self._artifacts = artifacts
        self._outbox = outbox

    async def install(self, order: Order, validation: Validation, progress: Progress) -> StoredVersion:
        """Store, load and warm up a new version; return it.

        Raises:
            CountlineError: a step failed; its changes are undone.
        """
        await progress.begin("store")
        await self._keep(order.candidate)
        await progress.done("store", order.candidate.digest[:12])
        async with self._repository.changing:
            before, version = await self._registered(order, validation)
            try:
                # Again: another deployment of the same file may have failed meanwhile, and deleted the file as unused.
                await self._keep(order.candidate)
                await progress.begin("load")
                await self._repository.add(before, version, order.candidate.file)
                await progress.done("load", str(version.ref))
                await progress.begin("warm_up")
                await self._repository.warm_up(version.ref, order.candidate.contract)
                await progress.done("warm_up")
            except BaseException:
                await to_its_end(self._take_back(before, version))
                raise
            return await to_its_end(self._finished(before, version))

    async def _keep(self, candidate: ExaminedModel) -> None:
        if self._artifacts is not None:
            await self._artifacts.put(candidate.digest, candidate.file)

    async def _registered(self, order: Order, validation: Validation) -> tuple[StoredModel, StoredVersion]:
        """Store a version that is about to be loaded. If the client disconnects meanwhile, delete it again."""
        try:
            return await to_its_end(self._register(order, validation))
        except BaseException:
            await to_its_end(self._forget(order.name, order.candidate.digest))
            raise

    async def _register(self, order: Order, validation: Validation) -> tuple[StoredModel, StoredVersion]:
        """Store a new version; return its model, which includes it, and the version."""
        now, candidate = time.time(), order.candidate
        async with self._database.begin() as connection:
            model = await store.get_model(connection, order.name, lock=True)
            if model is None:
                model = _new_model(order, now)
                await store.insert_model(connection, model)
            check_interchangeable(model.name, candidate.contract, model.contract)
            # This installation holds the lock of the repository: unfinished versions belong to no other one.
            await store.delete_unfinished(connection, model.name)
            version = StoredVersion(
                name=model.name,
                version=next_number(await store.given_numbers(connection, model.name)),
                state=VersionState.REGISTERED,
                digest=candidate.digest,
                size_bytes=candidate.size_bytes,
                score_threshold=candidate.contract.score_threshold,
                fused=candidate.fused,
                comment=order.upload.request.comment,
                validation=validation,
                created_by=order.actor,
                created_at=now,
            )
            await store.insert_version(connection, version)
            with_it = await store.get_model(connection, model.name)
        assert with_it is not None, "this transaction wrote it"
        return with_it, version

    async def _finished(self, before: StoredModel, version: StoredVersion) -> StoredVersion:
        """Store that a version is served, or undo its load. A client that disconnects in between changes nothing."""
        try:
            return await self._finish(version)
        except BaseException:
            await to_its_end(self._take_back(before, version))
            raise

    async def _finish(self, version: StoredVersion) -> StoredVersion:
        async with self._database.begin() as connection:
            await store.set_state(connection, version.name, version.version, VersionState.VALIDATED)
            model = await store.get_model(connection, version.name)
            assert model is not None, "this installation holds the lock of the repository"
            # In this transaction: otherwise a client that disconnects now could prevent the event.
            message = messages.event_message(model)
            await self._outbox.add(connection, "model", "deployed", version.created_by, message)
            # Not the end: the call may promote the version.
            await self._outbox.record(connection, f"ai-models/{model.name}", after=message, finished=False)
        _log.info("model.deployed", model=str(version.ref), digest=version.digest, actor=version.created_by)
        return replace(version, state=VersionState.VALIDATED)

    async def _take_back(self, before: StoredModel, version: StoredVersion) -> None:
        """Undo a load that failed: in Triton, then the files, then the rows.

        If the database is away the version stays registered; the next deployment of the name, or start, deletes it.
        """
        _log.warning("model.load_undone", model=str(version.ref))
        others = tuple(each for each in before.versions if each.version != version.version)
        await self._repository.take_back(replace(before, versions=others) if others else None, version)
        await self._forget(version.name, version.digest, version.version)

    async def _forget(self, name: str, digest: str, number: int = 0) -> None:
        """Delete the unfinished versions of a model, and version `number`; then the file, if no version needs it."""
        try:
            digests = await self._forgotten(name, number)
            if self._artifacts is not None and digest not in digests:
                await self._artifacts.delete(digest)
        except Exception as error:  # noqa: BLE001  (the caller must get the error that made this necessary)
            _log.error("model.cleanup_failed", model=name, error=str(error))

    async def _forgotten(self, name: str, number: int) -> set[str]:
        """Delete these rows, and the model's row if no version is left; return the digests in use."""
        async with self._database.begin() as connection:
            # This installation holds the lock of the repository: unfinished versions belong to no other one.
            await store.delete_unfinished(connection, name)
            await store.delete_version(connection, name, number)
            model = await store.get_model(connection, name, lock=True)
            if model is not None and not model.versions:
                await store.delete_model(connection, name)
            return await store.digests_in_use(connection)


def _new_model(order: Order, now: float) -> StoredModel:
    return StoredModel(
        name=order.name,
        contract=order.candidate.contract,
        tuning=Tuning(),
        target=order.target,
        live_version=0,
        previous_version=0,
        created_at=now,
        updated_at=now,
    )

"""Promotes, retires and deletes versions, in the database and in Triton."""

import time
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.outbox import Outbox
from countline_common.errors import ConflictError, CountlineError, InvalidInputError, UnavailableError
from countline_common.logs import get_logger
from countline_common.times import to_datetime
from countline_common.triton import ModelRef
from countline_control.database import Database
from countline_control.models import checks, messages, store
from countline_control.models.artifacts import ArtifactStore
from countline_control.models.domain import ModelRouting, StoredModel, StoredVersion, VersionState
from countline_control.models.repository import Repository
from countline_control.models.trials import store as trial_store
from countline_control.models.trials.runner import Trials
from countline_control.models.usage import ModelUsage

_log = get_logger(__name__)


class Lifecycle:
    """What happens to a version after its deployment. `trials` are the trials, which may promote a version too.

    Args:
        database: holds the schema `models`.
        repository: Triton's repository, and the Triton that serves it.
        artifacts: second place of model files; None for none.
        usage: knows the cameras that use a version.
        outbox: the outbox of the service.
        on_change: called after a change of what counts cameras.
    """

    def __init__(
        self,
        database: Database,
        repository: Repository,
        artifacts: ArtifactStore | None,
        usage: ModelUsage,
        outbox: Outbox,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._repository = repository
        self._artifacts = artifacts
        self._usage = usage
        self._outbox = outbox
        self._on_change = on_change
        self.trials = Trials(database, outbox, self._make_live, on_change)

    async def model(self, name: str) -> StoredModel:
        """Return one model.

        Raises:
            NotFoundError: there is no such model.
        """
        return await self._database.read(lambda connection: store.existing_model(connection, name))

    # The live version ------------------------------------------------------------------------------------------------

    async def promote(self, name: str, number: int, actor: str, *, if_better: bool = False) -> None:
        """Make a version live. A retired version is loaded first, so that no camera waits for it.

        Args:
            name: the model.
            number: the version.
            actor: who promotes it.
            if_better: only if its last trial against the live version accepted it.

        Raises:
            CountlineError: it cannot be promoted; the message says why.
        """
        async with self._repository.changing:
            model = await self.model(name)
            version = _wanted(model, number)
            checks.check_promotable(version)
            if if_better:
                trials = await self._database.read(
                    lambda connection: trial_store.list_trials(connection, name, "", 1000)
                )
                checks.check_better(model, version, trials)
            await self._load_retired(model, version)
            async with self._database.begin() as connection:
                model = await store.existing_model(connection, name, lock=True)
                if model.live_version == version.version:
                    return
                await self.trials.end_those_of(connection, name, f"{version.ref} was promoted", actor)
                await self._make_live(connection, model, version.version, actor)
        self._on_change()

    async def roll_back(self, name: str, actor: str) -> None:
        """Make the version live that was live before.

        Raises:
            ConflictError: there is none.
        """
        model = await self.model(name)
        if not model.previous_version:
            raise ConflictError(
                f"no other version of {model.name} was live before",
                hint=f"promote the version that you want: countline models promote {model.name}@N",
            )
        await self.promote(name, model.previous_version, actor)

    async def _make_live(self, connection: AsyncConnection, model: StoredModel, version: int, actor: str) -> None:
        now = to_datetime(time.time())
        await store.set_live(connection, model.name, version, model.live_version, actor, now)
        _log.info("model.promoted", model=str(ModelRef(model.name, version)), before=model.live_version, actor=actor)
        await _record(
            connection, self._outbox, "promoted", model, await store.existing_model(connection, model.name), actor
        )

    async def _load_retired(self, model: StoredModel, version: StoredVersion) -> None:
        if version.state is not VersionState.RETIRED:
            return
        await self._repository.serve_also(model, version)
        await self._repository.warm_up(version.ref, model.contract)
        async with self._database.begin() as connection:
            await store.set_state(connection, model.name, version.version, VersionState.VALIDATED)

    # Retiring and deleting -------------------------------------------------------------------------------------------

    async def retire(self, name: str, number: int, actor: str) -> None:
        """Unload a version that nothing uses; its files stay.

        Raises:
            CountlineError: it is in use, or its use is not known.
        """
        async with self._repository.changing:
            await self._idle(name, number)
            await self._retire(name, number, actor)

    async def delete(self, name: str, number: int, actor: str) -> None:
        """Delete a version that nothing uses, or with number 0 the whole model.

        Raises:
            CountlineError: it is in use, or its use is not known.
        """
        async with self._repository.changing:
            if number:
                await self._delete_version(name, number, actor)
            else:
                await self._delete_model(name, actor)

    async def _idle(self, name: str, number: int) -> tuple[StoredModel, StoredVersion]:
        """Return a version that nothing uses, and its model; raise if it is in use."""
        model = await self.model(name)
        version = _wanted(model, number)
        routing, users = await self._usage.users(surely=True)
        checks.check_idle(model, version, routing, users.get(str(version.ref), ()))
        return model, version

    async def _retire(self, name: str, number: int, actor: str, *, finished: bool = True) -> None:
        """Unload an idle version, unless a trial of it has started meanwhile."""
        async with self._database.begin() as connection:
            model = await store.existing_model(connection, name, lock=True)
            running = ModelRouting({}, await trial_store.running_trials(connection))
            checks.check_idle(model, model.version(number), running, ())
            await store.set_state(connection, name, number, VersionState.RETIRED)
            retired = await store.existing_model(connection, name)
            await _record(connection, self._outbox, "retired", model, retired, actor, finished=finished)
        await self._refresh(name)

    async def _refresh(self, name: str) -> None:
        """Make Triton serve the stored versions. If Triton is away, it reads them from the repository later."""
        model = await self.model(name)
        try:
            await self._repository.refresh(model)
        except UnavailableError as error:
            _log.warning("model.triton_away", model=name, error=error.message)

    async def _delete_version(self, name: str, number: int, actor: str) -> None:
        model, version = await self._idle(name, number)
        if len(model.versions) == 1:
            await self._delete_model(name, actor)
            return
        await self._retire(name, number, actor, finished=False)
        # Files first: if this is interrupted, a retired version is left, which can be deleted again.
        await self._repository.remove(name, number)
        async with self._database.begin() as connection:
            await store.delete_version(connection, name, number)
            await _record(
                connection, self._outbox, "deleted", model, await store.existing_model(connection, name), actor
            )
        await self._forget_files([version])

    async def _delete_model(self, name: str, actor: str) -> None:
        model = await self.model(name)
        if name == self._usage.default_model:
            raise ConflictError(
                f"{name} is the model of cameras that name none", hint="delete its versions that are not live instead"
            )
        routing, users = await self._usage.users(surely=True)
        for version in model.versions:
            if users.get(str(version.ref)) or any(trial.name == name for trial in routing.trials):
                checks.check_idle(model, version, routing, users.get(str(version.ref), ()))
        # Files first: the next start would adopt a folder that outlived its model.
        await self._repository.remove(name)
        async with self._database.begin() as connection:
            await _record(connection, self._outbox, "deleted", model, None, actor)
            await store.delete_model(connection, name)
        await self._forget_files(model.versions)
        self._on_change()

    async def _forget_files(self, gone: Sequence[StoredVersion]) -> None:
        """Delete files from the artifact store that no version needs. A file that cannot be deleted only costs room."""
        if self._artifacts is None:
            return
        needed = await self._database.read(store.digests_in_use)
        for digest in {version.digest for version in gone} - needed:
            try:
                await self._artifacts.delete(digest)
            except CountlineError as error:
                _log.warning("model.file_delete_failed", digest=digest, error=error.message)


async def _record(
    connection: AsyncConnection,
    outbox: Outbox,
    event: str,
    before: StoredModel,
    after: StoredModel | None,
    actor: str,
    *,
    finished: bool = True,
) -> None:
    """Add a change of a model to the outbox and to the audit; `finished` as in `Outbox.record`."""
    old, new = messages.event_message(before), messages.event_message(after) if after is not None else None
    await outbox.add(connection, "model", event, actor, new or old)
    await outbox.record(connection, f"ai-models/{before.name}", before=old, after=new, finished=finished)


def _wanted(model: StoredModel, number: int) -> StoredVersion:
    if number < 1:
        raise InvalidInputError(f"the version of {model.name} is missing", hint=f"write {model.name}@N")
    return model.version(number)

"""The gRPC service of models: deployments, which version is live, trials.

Whoever directs workers is told of each change of what counts cameras by `on_change`, and reads it with `serving`.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import models_pb2, models_pb2_grpc
from countline.v1.cameras_pb2 import CameraStatus
from countline.v1.models_pb2 import DeployModelRequest, DeployModelResponse, Model
from countline_common.errors import ConflictError, CountlineError, InvalidInputError, UnavailableError
from countline_common.grpc.calls import Context, current_principal
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_common.tasks import to_its_end
from countline_common.times import to_datetime
from countline_common.triton import ModelRef
from countline_control.database import Database
from countline_control.models import domain, store
from countline_control.models.artifacts import ArtifactStore
from countline_control.models.deployment import Deployer, Progress, reported
from countline_control.models.domain import Outcome, Serving, Stored, StoredModel, StoredVersion
from countline_control.models.repository import Repository
from countline_control.models.trials import Trials, not_found
from countline_control.outbox import Outbox
from countline_models.deploy import Tuning

NAME: Final = "countline.v1.ModelService"

_log = get_logger(__name__)


class CameraModels(Protocol):
    """Knows which model each camera names, and what counts it now; the services of cameras and workers do."""

    async def named(self) -> Mapping[str, str]:
        """What each camera's spec names, by id. Raises `CountlineError` while it cannot say."""
        ...

    async def statuses(self, camera_ids: Sequence[str]) -> Mapping[str, CameraStatus]:
        """Where their processing stands. Raises `CountlineError` while it cannot say."""
        ...


class ModelService(models_pb2_grpc.ModelServiceServicer):
    """Answers `countline.v1.ModelService`.

    Args:
        database: with the schema `models`.
        repository: Triton's.
        artifacts: where files are kept besides; None for nowhere.
        deployer: carries deployments out.
        cameras: who uses what.
        default_model: of cameras that name none.
        outbox: of the service; the deployer writes to it too.
        on_change: called after what counts cameras has changed.
        clock: Unix seconds now.
    """

    def __init__(
        self,
        database: Database,
        repository: Repository,
        artifacts: ArtifactStore | None,
        deployer: Deployer,
        cameras: CameraModels,
        default_model: str,
        outbox: Outbox,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._repository = repository
        self._artifacts = artifacts
        self._deployer = deployer
        self._cameras = cameras
        self._default_model = default_model
        self._on_change = on_change
        self._clock = clock
        self.outbox = outbox
        self.trials = Trials(database, self.outbox, self._make_live, on_change, clock)

    def as_service(self) -> Service:
        """How a server serves it."""
        return Service(
            NAME,
            lambda server: models_pb2_grpc.add_ModelServiceServicer_to_server(self, server),
            self._database.check,
        )

    async def serving(self) -> Serving:
        """What decides which version counts a camera; for services of this process only."""

        async def read(connection: AsyncConnection) -> Serving:
            live = await store.live_versions(connection)
            return Serving(live, await store.running_trials(connection), self._default_model)

        return await self._database.read(read)

    # Deploying ---------------------------------------------------------------------------------------------------

    async def DeployModel(
        self, request_iterator: AsyncIterator[DeployModelRequest], context: Context
    ) -> AsyncIterator[DeployModelResponse]:
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or not first.HasField("header"):
            raise InvalidInputError(
                "the upload does not begin with its header", hint="send the header, then the chunks"
            )
        header, actor = first.header, current_principal().name

        async def work(progress: Progress) -> StoredVersion:
            return await self._deployer.deploy(header, _chunks(requests), actor, progress)

        async with aclosing(reported(work)) as reports:  # a client that leaves stops the deployment now, not some day
            async for report in reports:
                if isinstance(report, DeployModelResponse):
                    yield report
                else:
                    async for answer in self._deployed(report, actor, promote=header.promote):
                        yield answer

    async def _deployed(
        self, version: StoredVersion, actor: str, *, promote: bool
    ) -> AsyncIterator[DeployModelResponse]:
        if promote:
            yield DeployModelResponse(step="promote", state=models_pb2.STEP_STATE_RUNNING)
            await self._promoted(version.name, version.version, actor, if_better=False)
            yield DeployModelResponse(step="promote", state=models_pb2.STEP_STATE_DONE, detail=f"{version.ref} is live")
        shown = await self._shown_by_name(version.name)
        (of_this,) = [each for each in shown.versions if each.version == version.version]
        yield DeployModelResponse(step="ready", state=models_pb2.STEP_STATE_DONE, version=of_this)

    # Looking -----------------------------------------------------------------------------------------------------

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        wanted = page(request.page_size, request.page_token)
        found = await self._database.read(
            lambda connection: store.list_models(connection, wanted.after, wanted.size + 1)
        )
        token = next_token(found[wanted.size - 1].name) if len(found) > wanted.size else ""
        return models_pb2.ListModelsResponse(models=await self._shown(found[: wanted.size]), next_page_token=token)

    async def GetModel(self, request: models_pb2.GetModelRequest, context: Context) -> models_pb2.GetModelResponse:
        return models_pb2.GetModelResponse(model=await self._shown_by_name(request.name))

    async def ListServing(
        self, request: models_pb2.ListServingRequest, context: Context
    ) -> models_pb2.ListServingResponse:
        serving = await self.serving()
        running = [domain.trial_message(trial) for trial in serving.trials]
        return models_pb2.ListServingResponse(live=serving.live, trials=running)

    # What is live ------------------------------------------------------------------------------------------------

    async def PromoteModel(
        self, request: models_pb2.PromoteModelRequest, context: Context
    ) -> models_pb2.PromoteModelResponse:
        actor = current_principal().name
        await self._promoted(request.name, request.version, actor, if_better=request.if_better)
        return models_pb2.PromoteModelResponse(model=await self._shown_by_name(request.name))

    async def RollbackModel(
        self, request: models_pb2.RollbackModelRequest, context: Context
    ) -> models_pb2.RollbackModelResponse:
        model = await self._database.read(lambda connection: self._existing(connection, request.name))
        if not model.previous_version:
            raise ConflictError(
                f"no other version of {model.name} was live before",
                hint=f"promote the one that you want: countline models promote {model.name}@N",
            )
        actor = current_principal().name
        await self._promoted(request.name, model.previous_version, actor, if_better=False)
        return models_pb2.RollbackModelResponse(model=await self._shown_by_name(request.name))

    async def _promoted(self, name: str, number: int, actor: str, *, if_better: bool) -> None:
        """Make a version live; one that was retired is loaded first, so that no camera waits for it."""
        async with self._repository.changing:
            model = await self._database.read(lambda connection: self._existing(connection, name))
            version = _wanted(model, number)
            domain.check_promotable(version)
            if if_better:
                await self._check_better(model, version)
            await self._brought_back(model, version)
            async with self._database.begin() as connection:
                model = await self._existing(connection, name, lock=True)
                if model.live_version == version.version:
                    return
                await self.trials.end_those_of(connection, name, f"{version.ref} was promoted", actor)
                await self._make_live(connection, model, version.version, actor)
        self._on_change()

    async def _make_live(self, connection: AsyncConnection, model: StoredModel, version: int, actor: str) -> None:
        now = to_datetime(self._clock())
        await store.set_live(connection, model.name, version, model.live_version, actor, now)
        _log.info("model.promoted", model=str(ModelRef(model.name, version)), before=model.live_version, actor=actor)
        await self._tell(connection, "promoted", await self._existing(connection, model.name), actor)

    async def _check_better(self, model: StoredModel, version: StoredVersion) -> None:
        """Raise unless the last trial of a version against the live one has accepted it."""
        trials = await self._database.read(lambda connection: store.list_trials(connection, model.name, "", 1000))
        ours = [t for t in trials if (t.challenger, t.incumbent) == (version.version, model.live_version)]
        if not ours or ours[0].state is not Outcome.ACCEPTED:
            found = f"its last trial: {ours[0].state.value}: {ours[0].verdict}" if ours else "it was never on trial"
            raise ConflictError(
                f"{version.ref} is not known to count as well as {ModelRef(model.name, model.live_version)}; {found}",
                hint=f"put it on trial: countline models canary {version.ref} --cameras ID,…",
            )

    async def _brought_back(self, model: StoredModel, version: StoredVersion) -> None:
        if version.state is not Stored.RETIRED:
            return
        await self._repository.serve_also(model, version)
        await self._repository.warm_up(version.ref, model.contract)
        async with self._database.begin() as connection:
            await store.set_state(connection, model.name, version.version, Stored.VALIDATED)

    async def RetireModel(
        self, request: models_pb2.RetireModelRequest, context: Context
    ) -> models_pb2.RetireModelResponse:
        actor = current_principal().name
        async with self._repository.changing:
            await self._idle(request.name, request.version)
            await self._retired(request.name, request.version, actor)
        return models_pb2.RetireModelResponse(model=await self._shown_by_name(request.name))

    async def _retired(self, name: str, number: int, actor: str) -> None:
        """Have Triton serve a version no more, unless a trial of it has begun since it was found idle."""
        async with self._database.begin() as connection:
            model = await self._existing(connection, name, lock=True)
            running = Serving({}, await store.running_trials(connection))
            domain.check_idle(model, model.version(number), running, ())
            await store.set_state(connection, name, number, Stored.RETIRED)
            await self._tell(connection, "retired", await self._existing(connection, name), actor)
        await self._refreshed(name)

    async def _refreshed(self, name: str) -> None:
        """Have Triton serve what the model says now; one that is away reads it from the repository when it is back."""
        model = await self._database.read(lambda connection: self._existing(connection, name))
        try:
            await self._repository.refresh(model)
        except UnavailableError as error:
            _log.warning("model.triton_away", model=name, error=error.message)

    async def DeleteModel(
        self, request: models_pb2.DeleteModelRequest, context: Context
    ) -> models_pb2.DeleteModelResponse:
        actor = current_principal().name
        async with self._repository.changing:
            if request.version:
                await self._delete_version(request.name, request.version, actor)
            else:
                await self._delete_model(request.name, actor)
        return models_pb2.DeleteModelResponse()

    async def _delete_version(self, name: str, number: int, actor: str) -> None:
        model, version = await self._idle(name, number)
        if len(model.versions) == 1:
            await self._delete_model(name, actor)
            return
        await self._retired(name, number, actor)
        # The files go first: what is left where this is broken off is a retired version, which can be deleted again.
        await self._repository.remove(name, number)
        async with self._database.begin() as connection:
            await store.delete_version(connection, name, number)
            await self._tell(connection, "deleted", await self._existing(connection, name), actor)
        await self._forget_files([version])

    async def _delete_model(self, name: str, actor: str) -> None:
        model = await self._database.read(lambda connection: self._existing(connection, name))
        if name == self._default_model:
            raise ConflictError(
                f"{name} is the model of cameras that name none", hint="delete its versions that are not live instead"
            )
        serving, users = await self._usage(surely=True)
        for version in model.versions:
            if users.get(str(version.ref)) or any(trial.name == name for trial in serving.trials):
                domain.check_idle(model, version, serving, users.get(str(version.ref), ()))
        # The files go first: a folder that outlived its model would be taken in at the next start.
        await self._repository.remove(name)
        async with self._database.begin() as connection:
            await self._tell(connection, "deleted", model, actor)
            await store.delete_model(connection, name)
        await self._forget_files(model.versions)
        self._on_change()

    async def _forget_files(self, gone: Sequence[StoredVersion]) -> None:
        """Delete from the artifact store what no version needs any more; what cannot be deleted now costs room only."""
        if self._artifacts is None:
            return
        needed = await self._database.read(store.digests_in_use)
        for digest in {version.digest for version in gone} - needed:
            try:
                await self._artifacts.delete(digest)
            except CountlineError as error:
                _log.warning("model.file_not_deleted", digest=digest, error=error.message)

    async def TuneModel(self, request: models_pb2.TuneModelRequest, context: Context) -> models_pb2.TuneModelResponse:
        tuning, actor = domain.checked_tuning(request.tuning), current_principal().name
        async with self._repository.changing:
            before = await self._database.read(lambda connection: self._existing(connection, request.name))
            try:
                await self._repository.refresh(replace(before, tuning=tuning))
            except BaseException:
                await to_its_end(self._untuned(before))
                raise
            await to_its_end(self._tuned(before, tuning, actor))
        return models_pb2.TuneModelResponse(model=await self._shown_by_name(request.name))

    async def _tuned(self, before: StoredModel, tuning: Tuning, actor: str) -> None:
        """Write down a tuning that is loaded, or take it back; a client that leaves in between changes nothing."""
        try:
            async with self._database.begin() as connection:
                await store.set_tuning(connection, before.name, tuning, to_datetime(self._clock()))
                await self._tell(connection, "tuned", await self._existing(connection, before.name), actor)
        except BaseException:
            await to_its_end(self._untuned(before))
            raise

    async def _untuned(self, before: StoredModel) -> None:
        """Have Triton serve a model as before: it may have loaded the tuning, or load it to its end, whoever hung up.

        A Triton that is away finds it written so.
        """
        _log.warning("model.tuning_taken_back", model=before.name)
        try:
            await self._repository.refresh(before)
        except CountlineError as error:
            _log.error("model.tuning_not_taken_back", model=before.name, error=error.message)

    # Trials ------------------------------------------------------------------------------------------------------

    async def StartTrial(
        self, request: models_pb2.StartTrialRequest, context: Context
    ) -> models_pb2.StartTrialResponse:
        cameras = dict(await self._cameras.named())
        trial = await self.trials.start(request, cameras, self._default_model)
        return models_pb2.StartTrialResponse(trial=await self.trials.message(trial))

    async def ListTrials(
        self, request: models_pb2.ListTrialsRequest, context: Context
    ) -> models_pb2.ListTrialsResponse:
        wanted = page(request.page_size, request.page_token, request.name)
        found = await self._database.read(
            lambda connection: store.list_trials(connection, request.name, wanted.after, wanted.size + 1)
        )
        token = next_token(found[wanted.size - 1].trial_id, request.name) if len(found) > wanted.size else ""
        shown = await self.trials.summaries(found[: wanted.size])
        return models_pb2.ListTrialsResponse(trials=shown, next_page_token=token)

    async def GetTrial(self, request: models_pb2.GetTrialRequest, context: Context) -> models_pb2.GetTrialResponse:
        trial = await self.trials.get(request.name, request.trial_id)
        return models_pb2.GetTrialResponse(trial=await self.trials.message(trial))

    async def StopTrial(self, request: models_pb2.StopTrialRequest, context: Context) -> models_pb2.StopTrialResponse:
        trial = await self.trials.stop_by_hand(request.name, request.trial_id)
        return models_pb2.StopTrialResponse(trial=await self.trials.message(trial))

    # Shared ------------------------------------------------------------------------------------------------------

    async def _existing(self, connection: AsyncConnection, name: str, *, lock: bool = False) -> StoredModel:
        model = await store.get_model(connection, name, lock=lock)
        if model is None:
            raise not_found(name)
        return model

    async def _idle(self, name: str, number: int) -> tuple[StoredModel, StoredVersion]:
        """A version that nothing uses, and its model.

        Raises:
            CountlineError: something does, or it cannot be told.
        """
        model = await self._database.read(lambda connection: self._existing(connection, name))
        version = _wanted(model, number)
        serving, users = await self._usage(surely=True)
        domain.check_idle(model, version, serving, users.get(str(version.ref), ()))
        return model, version

    async def _usage(self, *, surely: bool = False) -> tuple[Serving, dict[str, tuple[str, ...]]]:
        """What is served, and by `NAME@VERSION` the cameras that shall use it, or that still do.

        Raises:
            CountlineError: nobody can say; with `surely` also where some worker has still to say what it uses.
        """
        serving, cameras = await self.serving(), await self._cameras.named()
        users, statuses = domain.users_of(cameras, serving), await self._cameras.statuses(list(cameras))
        if surely:
            domain.check_heard(domain.unheard(cameras, statuses))
        for camera_id, status in statuses.items():
            for model in {status.model, status.follower_model} - {""}:
                users[model] = tuple(sorted({*users.get(model, ()), camera_id}))
        return serving, users

    async def _shown_by_name(self, name: str) -> Model:
        model = await self._database.read(lambda connection: self._existing(connection, name))
        (shown,) = await self._shown([model])
        return shown

    async def _shown(self, models: Sequence[StoredModel]) -> list[Model]:
        try:
            serving, users = await self._usage()
        except CountlineError as error:
            # Models can be looked at while nobody knows which camera uses them.
            _log.warning("model.users_unknown", error=error.message)
            serving, users = await self.serving(), {}
        return [domain.model_message(model, serving, users) for model in models]

    async def _tell(self, connection: AsyncConnection, event: str, model: StoredModel, actor: str) -> None:
        await self.outbox.add(connection, "model", event, actor, domain.model_message(model, Serving({}), {}))


def _wanted(model: StoredModel, number: int) -> StoredVersion:
    if number < 1:
        raise InvalidInputError(f"which version of {model.name} is not said", hint=f"write {model.name}@N")
    return model.version(number)


async def _chunks(requests: AsyncIterator[DeployModelRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if not request.HasField("chunk"):
            raise InvalidInputError("a second header came in the middle of the upload", hint="send one header")
        yield request.chunk

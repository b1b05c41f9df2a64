"""The gRPC service of models: deployments, live versions, trials.

After each change of what counts cameras the service calls `on_change` of its `Lifecycle`; the schedule of workers then
reads `routing`.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from countline.v1 import models_pb2, models_pb2_grpc
from countline.v1.models_pb2 import DeployModelRequest, DeployModelResponse
from countline_common.audit.calls import about
from countline_common.data.outbox import OutboxTrail
from countline_common.errors import CountlineError, InvalidInputError
from countline_common.grpc.calls import Context, current_principal
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_control.database import Database
from countline_control.models import messages, store
from countline_control.models.deployment.deployer import Deployer
from countline_control.models.deployment.domain import StepOutcome, StepReport
from countline_control.models.deployment.progress import Progress, reported
from countline_control.models.domain import StoredModel, StoredVersion
from countline_control.models.lifecycle import Lifecycle
from countline_control.models.trials import store as trial_store
from countline_control.models.trials.results import TrialResults
from countline_control.models.tuning import Tuner
from countline_control.models.usage import ModelUsage

NAME: Final = "countline.v1.ModelService"

_log = get_logger(__name__)


class ModelService(models_pb2_grpc.ModelServiceServicer):
    """Answers `countline.v1.ModelService`.

    Args:
        database: holds the schema `models`.
        deployer: carries deployments out.
        lifecycle: changes deployed versions, and runs trials.
        tuner: changes how Triton runs a model.
        usage: knows the cameras that use a version.
        trail: completes the audit rows of calls.
    """

    def __init__(
        self,
        database: Database,
        deployer: Deployer,
        lifecycle: Lifecycle,
        tuner: Tuner,
        usage: ModelUsage,
        trail: OutboxTrail,
    ) -> None:
        self._trail = trail
        self._database = database
        self._deployer = deployer
        self._lifecycle = lifecycle
        self._tuner = tuner
        self._usage = usage
        self._trials = lifecycle.trials
        self._results = TrialResults(database)

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(
            NAME,
            lambda server: models_pb2_grpc.add_ModelServiceServicer_to_server(self, server),
            self._database.check,
            trail=self._trail,
        )

    # Deployments -----------------------------------------------------------------------------------------------------

    async def DeployModel(
        self, request_iterator: AsyncIterator[DeployModelRequest], context: Context
    ) -> AsyncIterator[DeployModelResponse]:
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or not first.HasField("header"):
            raise InvalidInputError(
                "the upload does not begin with its header", hint="send the header, then the chunks"
            )
        header, actor = messages.deploy_request_of(first.header), current_principal().real_name
        about(f"ai-models/{first.header.name}")

        async def work(progress: Progress) -> StoredVersion:
            return await self._deployer.deploy(header, _chunks(requests), actor, progress)

        async with aclosing(reported(work)) as reports:  # a client that disconnects stops the deployment at once
            async for report in reports:
                if isinstance(report, StepReport):
                    yield messages.step_message(report)
                else:
                    async for answer in self._deployed(report, actor, promote=header.promote):
                        yield answer

    async def _deployed(
        self, version: StoredVersion, actor: str, *, promote: bool
    ) -> AsyncIterator[DeployModelResponse]:
        """Promote a new version if asked, and answer with it."""
        if promote:
            yield messages.step_message(StepReport("promote", StepOutcome.RUNNING))
            await self._lifecycle.promote(version.name, version.version, actor)
            yield messages.step_message(StepReport("promote", StepOutcome.DONE, f"{version.ref} is live"))
        shown = await self._shown_by_name(version.name)
        (of_this,) = [each for each in shown.versions if each.version == version.version]
        yield DeployModelResponse(step="ready", state=models_pb2.STEP_STATE_DONE, version=of_this)

    # Models ----------------------------------------------------------------------------------------------------------

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
        routing = await self._usage.routing()
        running = [messages.trial_message(trial) for trial in routing.trials]
        return models_pb2.ListServingResponse(live=routing.live, trials=running)

    async def PromoteModel(
        self, request: models_pb2.PromoteModelRequest, context: Context
    ) -> models_pb2.PromoteModelResponse:
        actor = current_principal().real_name
        await self._lifecycle.promote(request.name, request.version, actor, if_better=request.if_better)
        return models_pb2.PromoteModelResponse(model=await self._shown_by_name(request.name))

    async def RollbackModel(
        self, request: models_pb2.RollbackModelRequest, context: Context
    ) -> models_pb2.RollbackModelResponse:
        await self._lifecycle.roll_back(request.name, current_principal().real_name)
        return models_pb2.RollbackModelResponse(model=await self._shown_by_name(request.name))

    async def RetireModel(
        self, request: models_pb2.RetireModelRequest, context: Context
    ) -> models_pb2.RetireModelResponse:
        await self._lifecycle.retire(request.name, request.version, current_principal().real_name)
        return models_pb2.RetireModelResponse(model=await self._shown_by_name(request.name))

    async def DeleteModel(
        self, request: models_pb2.DeleteModelRequest, context: Context
    ) -> models_pb2.DeleteModelResponse:
        await self._lifecycle.delete(request.name, request.version, current_principal().real_name)
        return models_pb2.DeleteModelResponse()

    async def TuneModel(self, request: models_pb2.TuneModelRequest, context: Context) -> models_pb2.TuneModelResponse:
        values = messages.tuning_values(request.tuning)
        await self._tuner.tune(request.name, values, current_principal().real_name)
        return models_pb2.TuneModelResponse(model=await self._shown_by_name(request.name))

    async def _shown_by_name(self, name: str) -> models_pb2.Model:
        (shown,) = await self._shown([await self._lifecycle.model(name)])
        return shown

    async def _shown(self, models: Sequence[StoredModel]) -> list[models_pb2.Model]:
        try:
            routing, users = await self._usage.users()
        except CountlineError as error:
            # Models can be read while the cameras that use them are unknown.
            _log.warning("model.users_unknown", error=error.message)
            routing, users = await self._usage.routing(), {}
        return [messages.model_message(model, routing, users) for model in models]

    # Trials ----------------------------------------------------------------------------------------------------------

    async def StartTrial(
        self, request: models_pb2.StartTrialRequest, context: Context
    ) -> models_pb2.StartTrialResponse:
        cameras, wanted = dict(await self._usage.named()), messages.trial_request_of(request)
        actor = current_principal().real_name
        trial = await self._trials.start(wanted, cameras, self._usage.default_model, actor)
        return models_pb2.StartTrialResponse(trial=messages.result_message(await self._results.full(trial)))

    async def ListTrials(
        self, request: models_pb2.ListTrialsRequest, context: Context
    ) -> models_pb2.ListTrialsResponse:
        wanted = page(request.page_size, request.page_token, request.name)
        found = await self._database.read(
            lambda connection: trial_store.list_trials(connection, request.name, wanted.after, wanted.size + 1)
        )
        token = next_token(found[wanted.size - 1].trial_id, request.name) if len(found) > wanted.size else ""
        results = await self._results.summaries(found[: wanted.size])
        shown = [messages.summary_message(result) for result in results]
        return models_pb2.ListTrialsResponse(trials=shown, next_page_token=token)

    async def GetTrial(self, request: models_pb2.GetTrialRequest, context: Context) -> models_pb2.GetTrialResponse:
        trial = await self._trials.get(request.name, request.trial_id)
        return models_pb2.GetTrialResponse(trial=messages.result_message(await self._results.full(trial)))

    async def StopTrial(self, request: models_pb2.StopTrialRequest, context: Context) -> models_pb2.StopTrialResponse:
        trial = await self._trials.stop_by_hand(request.name, request.trial_id, current_principal().real_name)
        return models_pb2.StopTrialResponse(trial=messages.result_message(await self._results.full(trial)))


async def _chunks(requests: AsyncIterator[DeployModelRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if not request.HasField("chunk"):
            raise InvalidInputError("a second header came in the middle of the upload", hint="send one header")
        yield request.chunk

"""Models, versions, trials and cameras as users name them: look-up at the service, and shell completion."""

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from countline.v1 import models_pb2
from countline.v1.models_pb2 import (
    GetModelRequest,
    GetTrialRequest,
    ListModelsRequest,
    ListTrialsRequest,
    Model,
    Trial,
)
from countline_common.cli.completion import complete_camera, offered
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.triton import ModelRef

READY: Final = frozenset(
    {models_pb2.MODEL_STATE_VALIDATED, models_pb2.MODEL_STATE_SHADOW, models_pb2.MODEL_STATE_CANARY}
)
"""States of a version that is loaded but not live."""


async def all_models(client: Client) -> list[Model]:
    """All models of the service."""
    return await every_page(
        lambda token: client.models.ListModels(ListModelsRequest(page_token=token)), lambda answer: answer.models
    )


async def model_named(client: Client, name: str) -> Model:
    """One model with its versions."""
    return (await client.models.GetModel(GetModelRequest(name=name))).model


async def all_trials(client: Client, name: str) -> list[Trial]:
    """Trials of a model, newest first."""
    return await every_page(
        lambda token: client.models.ListTrials(ListTrialsRequest(name=name, page_token=token)),
        lambda answer: answer.trials,
    )


async def candidate(client: Client, text: str) -> ModelRef:
    """The named version, or the newest one that is ready but not live.

    Raises:
        InvalidInputError: the text does not name a model, or no such version exists.
    """
    ref = ModelRef.parse(text)
    if ref.version:
        return ref
    model = await model_named(client, ref.name)
    ready = [version.version for version in model.versions if version.state in READY]
    if not ready:
        raise InvalidInputError(
            f"{ref.name} has no version that is ready but not live",
            hint=f"deploy one: countline models deploy FILE --name {ref.name}",
        )
    return ModelRef(ref.name, max(ready))


def exact(text: str) -> ModelRef:
    """A version with its number.

    Raises:
        InvalidInputError: the text has no number.
    """
    ref = ModelRef.parse(text)
    if not ref.version:
        raise InvalidInputError(
            f"{text!r} names no version", hint=f"write {text}@1; see `countline models show {text}`"
        )
    return ref


async def trial_named(client: Client, text: str) -> Trial:
    """A trial by its id, or the newest one of a model.

    Raises:
        NotFoundError: there is none.
    """
    names = [model.name for model in await all_models(client)]
    if text in names:
        trials = (await client.models.ListTrials(ListTrialsRequest(name=text, page_size=1))).trials
        if not trials:
            raise NotFoundError(
                f"{text} has no trials", hint=f"start one: countline models shadow {text}@N --cameras ID"
            )
        return await refreshed(client, trials[0])
    for name in names:
        for trial in await all_trials(client, name):
            if trial.trial_id == text:
                return await refreshed(client, trial)
    raise NotFoundError(f"there is no trial and no model {text!r}", hint="list the models: countline models list")


async def refreshed(client: Client, trial: Trial) -> Trial:
    """The present state of a trial."""
    request = GetTrialRequest(name=trial.name, trial_id=trial.trial_id)
    return (await client.models.GetTrial(request)).trial


def complete_model(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of models with this beginning."""
    return offered(ctx, _names, incomplete)


def complete_version(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of models with this beginning, and their versions."""
    return offered(ctx, _versions if "@" in incomplete else _names_and_versions, incomplete)


def complete_trial(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of trials and names of models with this beginning."""
    return offered(ctx, _names_and_trials, incomplete)


def complete_cameras(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of cameras that complete the last one of a list separated by commas."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{camera_id}" for camera_id in complete_camera(ctx, last)]


async def _names(client: Client) -> Iterable[str]:
    return [model.name for model in await all_models(client)]


async def _versions(client: Client) -> Iterable[str]:
    return [f"{model.name}@{version.version}" for model in await all_models(client) for version in model.versions]


async def _names_and_versions(client: Client) -> Iterable[str]:
    return [*await _names(client), *await _versions(client)]


async def _names_and_trials(client: Client) -> Iterable[str]:
    names = list(await _names(client))
    return [*names, *[trial.trial_id for name in names for trial in await all_trials(client, name)]]


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.", autocompletion=complete_model)]
CandidateArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION]",
        help="The version. Default: the newest one that is ready but not live.",
        autocompletion=complete_version,
    ),
]
VersionArgument = Annotated[
    str, typer.Argument(metavar="NAME@VERSION", help="The version.", autocompletion=complete_version)
]
TrialArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID|NAME", help="Id of a trial, or name of a model for its newest trial.", autocompletion=complete_trial
    ),
]
CamerasOption = Annotated[
    str, typer.Option("--cameras", help="Ids of cameras, separated by commas.", autocompletion=complete_cameras)
]

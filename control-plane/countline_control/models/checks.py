"""What may be done with models, versions and trials. Pure; each check raises an error that says what to do instead."""

from collections.abc import Mapping, Sequence
from typing import Final

from countline_common.errors import ConflictError, FieldProblem, InvalidInputError, UnavailableError
from countline_common.triton import ModelRef
from countline_control.models.domain import (
    ModelRouting,
    StoredModel,
    StoredTrial,
    StoredVersion,
    TrialOutcome,
    VersionState,
)
from countline_control.models.routing import base_of
from countline_models.deploy import ModelBackend, Tuning
from countline_models.repository.names import check_name
from countline_models.repository.settings import MOST_BATCH_SIZE, MOST_INSTANCES, MOST_QUEUE_DELAY_US

DEFAULT_MARGIN: Final = 0.1
LARGEST_MARGIN: Final = 0.5
LONGEST_TRIAL_S: Final = 1e9
MAX_COMMENT: Final = 1000


# Versions ------------------------------------------------------------------------------------------------------------


def check_deployable(name: str, comment: str) -> None:
    """Check the name and the comment of a deployment.

    Raises:
        InvalidInputError: names each field that cannot be used.
    """
    problems = []
    try:
        if ModelRef.parse(name).version:
            problems.append(FieldProblem("name", f"{name!r} has a version; the service numbers the versions"))
        else:
            check_name(name)
    except InvalidInputError as error:
        problems.append(FieldProblem("name", f"{name[:80]!r} cannot be the name of a model; {error.hint}"))
    if len(comment) > MAX_COMMENT:
        problems.append(FieldProblem("comment", f"has {len(comment)} characters; {MAX_COMMENT} is the limit"))
    if problems:
        raise InvalidInputError(f"the model cannot be deployed: {problems[0].message}", fields=tuple(problems))


def check_takes_onnx(model: StoredModel) -> None:
    """Check that an ONNX model can become a version: all versions of a model use one backend.

    Raises:
        ConflictError: the versions use another backend.
    """
    if model.backend is not ModelBackend.ONNXRUNTIME:
        raise ConflictError(
            f"the versions of {model.name} run by {model.backend.value}, which cannot run an ONNX model",
            hint="deploy it under another --name",
        )


def check_promotable(version: StoredVersion) -> None:
    """Check that a version can become live.

    Raises:
        ConflictError: its deployment has not ended.
    """
    if version.state is VersionState.REGISTERED:
        raise ConflictError(f"{version.ref} is still being validated", hint="wait for its deployment to end")


def check_better(model: StoredModel, version: StoredVersion, trials: Sequence[StoredTrial]) -> None:
    """Check that the last trial of a version against the live one accepted it.

    Args:
        model: the model.
        version: the version to promote.
        trials: trials of the model, the newest first.

    Raises:
        ConflictError: there was no such trial, or it did not accept the version.
    """
    ours = [t for t in trials if (t.challenger, t.incumbent) == (version.version, model.live_version)]
    if not ours or ours[0].state is not TrialOutcome.ACCEPTED:
        found = f"its last trial: {ours[0].state.value}: {ours[0].verdict}" if ours else "it was never on trial"
        raise ConflictError(
            f"{version.ref} is not known to count as well as {ModelRef(model.name, model.live_version)}; {found}",
            hint=f"put it on trial: countline models canary {version.ref} --cameras ID,…",
        )


def check_idle(model: StoredModel, version: StoredVersion, routing: ModelRouting, users: Sequence[str]) -> None:
    """Check that a version is not in use, so that it can be retired or deleted.

    Raises:
        ConflictError: it is in use; the message says by what.
    """
    ref = version.ref
    if model.live_version == version.version:
        raise ConflictError(f"{ref} is live", hint="promote another version first")
    for trial in routing.trials:
        if trial.name == model.name and version.version in (trial.challenger, trial.incumbent):
            raise ConflictError(f"{ref} is on the trial {trial.trial_id}", hint="stop the trial first")
    if users:
        raise ConflictError(
            f"{ref} is named by {_some(users)}",
            hint=f"give them another model: countline cameras set {users[0]} --model NAME",
        )
    check_promotable(version)


def check_reported(camera_ids: Sequence[str]) -> None:
    """Check that no camera is left whose version is unknown; `camera_ids` come from `routing.unreported`.

    Raises:
        UnavailableError: there are such cameras.
    """
    if camera_ids:
        raise UnavailableError(
            f"which version counts {_some(camera_ids)} is not known yet: no worker has reported since the start",
            hint="try again in some seconds",
        )


def checked_tuning(values: Mapping[str, int]) -> Tuning:
    """Build a tuning from its fields.

    Args:
        values: `max_batch_size`, `max_queue_delay_us` and `instances`; 0 stands for the default.

    Raises:
        InvalidInputError: names each field that is out of bounds.
    """
    limits = {
        "max_batch_size": MOST_BATCH_SIZE,
        "max_queue_delay_us": MOST_QUEUE_DELAY_US,
        "instances": MOST_INSTANCES,
    }
    problems = tuple(
        FieldProblem(f"tuning.{name}", f"{values[name]} is not in 0..{most}; 0 is the default")
        for name, most in limits.items()
        if not 0 <= values[name] <= most
    )
    if problems:
        raise InvalidInputError("the tuning cannot be used", fields=problems)
    return Tuning(values["max_batch_size"], values["max_queue_delay_us"], values["instances"])


# Trials --------------------------------------------------------------------------------------------------------------


def check_trial(
    model: StoredModel,
    challenger: StoredVersion,
    camera_ids: Sequence[str],
    cameras: Mapping[str, str],
    routing: ModelRouting,
) -> None:
    """Check that a version can be put on trial.

    Args:
        model: the model.
        challenger: the version to try.
        camera_ids: the cameras of the trial.
        cameras: camera → the model that it names.
        routing: live versions and running trials.

    Raises:
        InvalidInputError: no camera is given, or one does not exist.
        ConflictError: the state of the model, of the version or of a camera forbids it.
    """
    if not model.live_version:
        raise ConflictError(
            f"no version of {model.name} is live, so there is nothing to compare with",
            hint=f"promote one: countline models promote {challenger.ref}",
        )
    if challenger.version == model.live_version:
        raise ConflictError(f"{challenger.ref} is live already", hint="put another version on trial")
    if challenger.state is not VersionState.VALIDATED:
        raise ConflictError(f"{challenger.ref} is {challenger.state.value}", hint="deploy it again, or promote it")
    if not camera_ids:
        raise InvalidInputError("no camera was named", fields=(FieldProblem("camera_ids", "name at least one"),))
    live = ModelRef(model.name, model.live_version)
    for camera_id in camera_ids:
        _check_trial_camera(camera_id, live, cameras, routing)


def _check_trial_camera(camera_id: str, live: ModelRef, cameras: Mapping[str, str], routing: ModelRouting) -> None:
    if camera_id not in cameras:
        raise InvalidInputError(
            f"there is no camera {camera_id!r}",
            hint="list cameras: countline cameras list",
            fields=(FieldProblem("camera_ids", f"there is no {camera_id!r}"),),
        )
    for trial in routing.trials:
        if camera_id in trial.camera_ids:
            raise ConflictError(
                f"the camera {camera_id} is on the trial {trial.trial_id} of {trial.name}",
                hint="wait for the end of that trial, or stop it",
            )
    named = cameras[camera_id]
    if base_of(named, routing) != live or ModelRef.parse(named or routing.default_model).version:
        raise ConflictError(
            f"the camera {camera_id} names {named or 'the default model'}, not the live version of {live.name}",
            hint=f"let it name the model without a version: countline cameras set {camera_id} --model {live.name}",
        )


def checked_margin(margin: float) -> float:
    """Check a margin and return it; 0 stands for the default.

    Raises:
        InvalidInputError: it is out of bounds.
    """
    if margin == 0.0:
        return DEFAULT_MARGIN
    if not 0.0 < margin <= LARGEST_MARGIN:
        raise InvalidInputError(
            f"{margin:g} is not a margin",
            fields=(FieldProblem("margin", f"give more than 0, at most {LARGEST_MARGIN:g}"),),
        )
    return margin


def check_time_limit(time_limit_s: float) -> None:
    """Check the time limit of a trial, in seconds; 0 stands for none.

    Raises:
        InvalidInputError: it is out of bounds.
    """
    if not 0.0 <= time_limit_s < LONGEST_TRIAL_S:
        raise InvalidInputError(f"{time_limit_s:g} s is not a time limit", hint="give seconds, or 0 for none")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

"""Which version of a model counts a camera, and which cameras use a version. Pure."""

from collections.abc import Iterable, Mapping

from countline_common.errors import InvalidInputError
from countline_common.triton import ModelRef
from countline_control.cameras.domain import CameraObservation, ObservedState
from countline_control.models.domain import Follower, ModelChoice, ModelRouting, TrialMode


def choose(camera_id: str, named: str, routing: ModelRouting) -> ModelChoice:
    """Choose the version that counts a camera.

    Args:
        camera_id: the camera; it may be on trial.
        named: the model that its spec names; empty for the default.
        routing: live versions and running trials.
    """
    base = base_of(named, routing)
    if base is None:
        return ModelChoice("")
    for trial in routing.trials:
        if camera_id in trial.camera_ids and base == ModelRef(trial.name, trial.incumbent):
            follower = Follower(trial.trial_id, str(trial.following), is_challenger=trial.mode is TrialMode.SHADOW)
            return ModelChoice(str(trial.counting), follower)
    return ModelChoice(str(base))


def base_of(named: str, routing: ModelRouting) -> ModelRef | None:
    """Return the version that a camera names, trials aside; None if no version of its model is live."""
    text = named or routing.default_model
    if not text:
        return None
    try:
        ref = ModelRef.parse(text)
    except InvalidInputError:
        return None  # stored before names were checked; the worker reports what is wrong with it
    version = ref.version or routing.live.get(ref.name, 0)
    return ModelRef(ref.name, version) if version else None


def users_of(cameras: Mapping[str, str], routing: ModelRouting) -> dict[str, tuple[str, ...]]:
    """Find the cameras that use each version, to count or as a follower.

    Args:
        cameras: camera → the model that it names.
        routing: live versions and running trials.

    Returns:
        `NAME@VERSION` → ids of cameras.
    """
    found: dict[str, list[str]] = {}
    for camera_id, named in sorted(cameras.items()):
        choice = choose(camera_id, named, routing)
        for model in {choice.model, choice.follower.model if choice.follower else ""} - {""}:
            found.setdefault(model, []).append(camera_id)
    return {model: tuple(camera_ids) for model, camera_ids in found.items()}


def unreported(camera_ids: Iterable[str], observations: Mapping[str, CameraObservation]) -> tuple[str, ...]:
    """Return the cameras whose worker has not reported yet which version counts them.

    After the service of workers starts, this lasts until the workers connect again. Until then a worker may count a
    camera with another version than it should.
    """
    return tuple(
        camera_id
        for camera_id in sorted(camera_ids)
        if (status := observations.get(camera_id)) is None
        or (status.state is ObservedState.PROBING and status.reported_at is None)
    )

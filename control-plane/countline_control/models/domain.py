"""The rules of models, their versions and trials, without IO. Times are Unix seconds.

A version is stored as registered, validated or retired. Whether it is live, a shadow or a canary follows from its
model and from the trials that run, so there is one place that says it. What Triton serves is every validated version:
a live one, those on trial, and those on standby, to which a rollback is instant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from countline.v1 import cameras_pb2, models_pb2
from countline.v1.cameras_pb2 import CameraStatus
from countline.v1.models_pb2 import Model, ModelTuning, ModelValidation, ModelVersion, Trial
from countline.v1.workers_pb2 import Follower
from countline_common.errors import ConflictError, FieldProblem, InvalidInputError, NotFoundError, UnavailableError
from countline_common.times import to_timestamp
from countline_common.triton import ModelRef
from countline_models.contract_model import ContractModel
from countline_models.deploy import ModelBackend, ModelTarget, Tuning
from countline_models.repository.names import check_name
from countline_models.repository.settings import MOST_BATCH_SIZE, MOST_INSTANCES, MOST_QUEUE_DELAY_US

DEFAULT_MARGIN: Final = 0.1
LARGEST_MARGIN: Final = 0.5
MAX_COMMENT: Final = 1000
MOST_DEPLOYMENTS: Final = 2
"""At once, where no setting says otherwise."""


class Stored(StrEnum):
    """The state of a version that is written down."""

    REGISTERED = "registered"
    VALIDATED = "validated"
    RETIRED = "retired"


class Mode(StrEnum):
    """Whose counts are the cameras' counts during a trial: the incumbent's (shadow) or the challenger's (canary)."""

    SHADOW = "shadow"
    CANARY = "canary"


class Outcome(StrEnum):
    """Where a trial stands."""

    RUNNING = "running"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    STOPPED = "stopped"


STATES: Final = {
    Stored.REGISTERED: models_pb2.MODEL_STATE_REGISTERED,
    Stored.VALIDATED: models_pb2.MODEL_STATE_VALIDATED,
    Stored.RETIRED: models_pb2.MODEL_STATE_RETIRED,
}
MODES: Final = {Mode.SHADOW: models_pb2.TRIAL_MODE_SHADOW, Mode.CANARY: models_pb2.TRIAL_MODE_CANARY}
OUTCOMES: Final = {
    Outcome.RUNNING: models_pb2.TRIAL_STATE_RUNNING,
    Outcome.ACCEPTED: models_pb2.TRIAL_STATE_ACCEPTED,
    Outcome.REJECTED: models_pb2.TRIAL_STATE_REJECTED,
    Outcome.STOPPED: models_pb2.TRIAL_STATE_STOPPED,
}


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version as it is written down."""

    name: str
    version: int
    state: Stored
    digest: str
    size_bytes: int
    score_threshold: float
    fused: str
    comment: str
    validation: ModelValidation
    created_by: str
    created_at: float
    promoted_by: str = ""
    promoted_at: float | None = None

    @property
    def ref(self) -> ModelRef:
        """Names it."""
        return ModelRef(self.name, self.version)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it is written down, with its versions, the oldest first."""

    name: str
    contract: ContractModel
    """What its versions have in common; the score threshold is that of the first."""
    tuning: Tuning
    target: ModelTarget
    live_version: int
    previous_version: int
    """Was live before; 0 for none."""
    created_at: float
    updated_at: float
    versions: tuple[StoredVersion, ...] = ()
    backend: ModelBackend = ModelBackend.ONNXRUNTIME

    def version(self, number: int) -> StoredVersion:
        """One of its versions.

        Raises:
            NotFoundError: it has none of that number.
        """
        for version in self.versions:
            if version.version == number:
                return version
        known = ", ".join(str(version.version) for version in self.versions) or "none"
        raise NotFoundError(f"there is no {ModelRef(self.name, number)}", hint=f"it has the versions: {known}")

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that Triton shall serve."""
        return tuple(version.version for version in self.versions if version.state is Stored.VALIDATED)

    @property
    def thresholds(self) -> dict[int, float]:
        """The score thresholds of the versions that are served."""
        return {version.version: version.score_threshold for version in self.versions if version.version in self.served}


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A trial as it is written down."""

    trial_id: str
    name: str
    challenger: int
    incumbent: int
    mode: Mode
    state: Outcome
    camera_ids: tuple[str, ...]
    margin: float
    promote_if_better: bool
    created_by: str
    started_at: float
    ends_by: float | None = None
    ended_at: float | None = None
    verdict: str = ""
    looks: int = 0
    """Looks at the sums that are spent; see `countline_models.trials.verdict`."""

    @property
    def counting(self) -> ModelRef:
        """The version whose counts are the cameras' counts."""
        return ModelRef(self.name, self.challenger if self.mode is Mode.CANARY else self.incumbent)

    @property
    def following(self) -> ModelRef:
        """The one that runs beside it."""
        return ModelRef(self.name, self.incumbent if self.mode is Mode.CANARY else self.challenger)


# What cameras are counted with ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Serving:
    """What decides which version counts a camera."""

    live: Mapping[str, int]
    """By name of the model."""
    trials: tuple[StoredTrial, ...] = ()
    """Those that run."""
    default_model: str = ""
    """Of cameras that name none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What counts a camera, and what runs beside it."""

    model: str
    """`NAME@VERSION`; empty where no version is known, so that the worker takes what the camera names."""
    follower: Follower | None = None


def choose(camera_id: str, named: str, serving: Serving) -> Choice:
    """The version that counts a camera.

    Args:
        camera_id: a trial may concern it.
        named: the model that its spec names; empty for the default.
        serving: what is live and on trial.
    """
    base = base_of(named, serving)
    if base is None:
        return Choice("")
    for trial in serving.trials:
        if camera_id in trial.camera_ids and base == ModelRef(trial.name, trial.incumbent):
            follower = Follower(
                trial_id=trial.trial_id, model=str(trial.following), is_challenger=trial.mode is Mode.SHADOW
            )
            return Choice(str(trial.counting), follower)
    return Choice(str(base))


def base_of(named: str, serving: Serving) -> ModelRef | None:
    """The version that a camera names, apart from trials; None where none is known to be live."""
    text = named or serving.default_model
    if not text:
        return None
    try:
        ref = ModelRef.parse(text)
    except InvalidInputError:
        return None  # stored before names were checked; the worker says what is wrong with it
    version = ref.version or serving.live.get(ref.name, 0)
    return ModelRef(ref.name, version) if version else None


def users_of(cameras: Mapping[str, str], serving: Serving) -> dict[str, tuple[str, ...]]:
    """Ids of the cameras that each version is in use on, as what counts or as what follows.

    Args:
        cameras: what each camera names, by its id.
        serving: what is live and on trial.

    Returns:
        By `NAME@VERSION`.
    """
    found: dict[str, list[str]] = {}
    for camera_id, named in sorted(cameras.items()):
        choice = choose(camera_id, named, serving)
        for model in {choice.model, choice.follower.model if choice.follower else ""} - {""}:
            found.setdefault(model, []).append(camera_id)
    return {model: tuple(camera_ids) for model, camera_ids in found.items()}


def unheard(camera_ids: Iterable[str], statuses: Mapping[str, CameraStatus]) -> tuple[str, ...]:
    """Cameras that a worker holds without having said yet what it counts them with.

    So it is after a start of the service of workers, for as long as the workers take to find it again. Until then a
    camera may be counted with another version than it shall be.
    """
    return tuple(
        camera_id
        for camera_id in sorted(camera_ids)
        if (status := statuses.get(camera_id)) is None
        or (status.state == cameras_pb2.CAMERA_STATE_STARTING and not status.HasField("reported_at"))
    )


def check_heard(camera_ids: Sequence[str]) -> None:
    """Raise where what counts some cameras is not known yet; see `unheard`.

    Raises:
        UnavailableError: of these.
    """
    if camera_ids:
        raise UnavailableError(
            f"it is not known yet what counts {_some(camera_ids)}: no worker has reported since the start",
            hint="try again in some seconds",
        )


# What may be done ----------------------------------------------------------------------------------------------------


def check_deployable(name: str, comment: str) -> None:
    """Raise where a deployment's words cannot be used.

    Raises:
        InvalidInputError: with each field that is wrong.
    """
    problems = []
    try:
        if ModelRef.parse(name).version:
            problems.append(FieldProblem("name", f"{name!r} has a version; versions are numbered by the service"))
        else:
            check_name(name)
    except InvalidInputError as error:
        problems.append(FieldProblem("name", f"{name[:80]!r} cannot be the name of a model; {error.hint}"))
    if len(comment) > MAX_COMMENT:
        problems.append(FieldProblem("comment", f"has {len(comment)} characters; {MAX_COMMENT} is the most"))
    if problems:
        raise InvalidInputError(f"the model cannot be deployed: {problems[0].message}", fields=tuple(problems))


def check_takes_onnx(model: StoredModel) -> None:
    """Raise where an ONNX model cannot become a version: all versions of a model run by one backend.

    Raises:
        ConflictError: and by which they do.
    """
    if model.backend is not ModelBackend.ONNXRUNTIME:
        raise ConflictError(
            f"the versions of {model.name} run by {model.backend.value}, and an ONNX model does not",
            hint="deploy it under another --name",
        )


def check_promotable(version: StoredVersion) -> None:
    """Raise where a version cannot become live.

    Raises:
        ConflictError: it is not ready.
    """
    if version.state is Stored.REGISTERED:
        raise ConflictError(f"{version.ref} is still being validated", hint="wait for its deployment to end")


def check_idle(model: StoredModel, version: StoredVersion, serving: Serving, users: Sequence[str]) -> None:
    """Raise where a version is in use, so that it can be neither retired nor deleted.

    Raises:
        ConflictError: and by what.
    """
    ref = version.ref
    if model.live_version == version.version:
        raise ConflictError(f"{ref} is live", hint="promote another version first")
    for trial in serving.trials:
        if trial.name == model.name and version.version in (trial.challenger, trial.incumbent):
            raise ConflictError(f"{ref} is on the trial {trial.trial_id}", hint="stop the trial first")
    if users:
        raise ConflictError(
            f"{ref} is named by {_some(users)}", hint=f"give them another one: countline cameras set {users[0]} --model"
        )
    if version.state is Stored.REGISTERED:
        raise ConflictError(f"{ref} is still being validated", hint="wait for its deployment to end")


def check_trial(
    model: StoredModel,
    challenger: StoredVersion,
    camera_ids: Sequence[str],
    cameras: Mapping[str, str],
    serving: Serving,
) -> None:
    """Raise where a version cannot be put on trial on those cameras.

    Raises:
        InvalidInputError: no camera, or one that is not there.
        ConflictError: the model, a version or a camera is not in the state for it.
    """
    if not model.live_version:
        raise ConflictError(
            f"no version of {model.name} is live, so there is nothing to compare with",
            hint=f"promote one: countline models promote {challenger.ref}",
        )
    if challenger.version == model.live_version:
        raise ConflictError(f"{challenger.ref} is live already", hint="put another version on trial")
    if challenger.state is not Stored.VALIDATED:
        raise ConflictError(f"{challenger.ref} is {challenger.state.value}", hint="deploy it again, or promote it")
    if not camera_ids:
        raise InvalidInputError("no camera was named", fields=(FieldProblem("camera_ids", "name at least one"),))
    live = ModelRef(model.name, model.live_version)
    for camera_id in camera_ids:
        _check_trial_camera(camera_id, live, cameras, serving)


def _check_trial_camera(camera_id: str, live: ModelRef, cameras: Mapping[str, str], serving: Serving) -> None:
    if camera_id not in cameras:
        raise InvalidInputError(
            f"there is no camera {camera_id!r}", fields=(FieldProblem("camera_ids", f"there is no {camera_id!r}"),)
        )
    for trial in serving.trials:
        if camera_id in trial.camera_ids:
            raise ConflictError(
                f"the camera {camera_id} is on the trial {trial.trial_id} of {trial.name}",
                hint="wait for its end, or stop it",
            )
    named = cameras[camera_id]
    if base_of(named, serving) != live or ModelRef.parse(named or serving.default_model).version:
        raise ConflictError(
            f"the camera {camera_id} names {named or 'the default model'}, which is not what is live of {live.name}",
            hint=f"let it name the model without a version: countline cameras set {camera_id} --model {live.name}",
        )


def checked_margin(margin: float) -> float:
    """The margin to use.

    Raises:
        InvalidInputError: it is out of bounds.
    """
    if margin == 0.0:
        return DEFAULT_MARGIN
    if not 0.0 < margin <= LARGEST_MARGIN:
        raise InvalidInputError(
            f"a margin of {margin:g} cannot be",
            fields=(FieldProblem("margin", f"give more than 0, at most {LARGEST_MARGIN:g}"),),
        )
    return margin


def checked_tuning(tuning: ModelTuning) -> Tuning:
    """A tuning as the repository takes it.

    Raises:
        InvalidInputError: with each field that is wrong.
    """
    limits = {
        "max_batch_size": MOST_BATCH_SIZE,
        "max_queue_delay_us": MOST_QUEUE_DELAY_US,
        "instances": MOST_INSTANCES,
    }
    problems = tuple(
        FieldProblem(f"tuning.{name}", f"{getattr(tuning, name)} is not in 0..{most}; 0 is the default")
        for name, most in limits.items()
        if not 0 <= getattr(tuning, name) <= most
    )
    if problems:
        raise InvalidInputError("the tuning cannot be used", fields=problems)
    return Tuning(tuning.max_batch_size, tuning.max_queue_delay_us, tuning.instances)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def next_number(given: Iterable[int]) -> int:
    """The number of a new version: above every one that was ever given."""
    return max(given, default=0) + 1


def given_to_another(given: Mapping[int, str], found: Mapping[int, str]) -> tuple[int, ...]:
    """Numbers under which something else is found than what they were given to; both by number, as digests."""
    return tuple(number for number, digest in sorted(found.items()) if given.get(number, digest) != digest)


# As messages ---------------------------------------------------------------------------------------------------------


def shown_state(
    model: StoredModel, version: StoredVersion, trials: Iterable[StoredTrial]
) -> models_pb2.ModelState.ValueType:
    """The state of a version as people see it."""
    if model.live_version == version.version:
        return models_pb2.MODEL_STATE_LIVE
    for trial in trials:
        if trial.name == model.name and trial.challenger == version.version:
            canary = trial.mode is Mode.CANARY
            return models_pb2.MODEL_STATE_CANARY if canary else models_pb2.MODEL_STATE_SHADOW
    return STATES[version.state]


def model_message(model: StoredModel, serving: Serving, users: Mapping[str, Sequence[str]]) -> Model:
    """A model with its versions, the newest first."""
    return Model(
        name=model.name,
        live_version=model.live_version,
        width=model.contract.width,
        height=model.contract.height,
        max_detections=model.contract.max_detections,
        labels=model.contract.labels,
        versions=[version_message(model, version, serving, users) for version in reversed(model.versions)],
        tuning=ModelTuning(
            max_batch_size=model.tuning.max_batch_size,
            max_queue_delay_us=model.tuning.max_queue_delay_us,
            instances=model.tuning.instances,
        ),
        created_at=to_timestamp(model.created_at),
        updated_at=to_timestamp(model.updated_at),
    )


def version_message(
    model: StoredModel, version: StoredVersion, serving: Serving, users: Mapping[str, Sequence[str]]
) -> ModelVersion:
    """One version."""
    return ModelVersion(
        name=version.name,
        version=version.version,
        state=shown_state(model, version, serving.trials),
        digest=version.digest,
        size_bytes=version.size_bytes,
        score_threshold=version.score_threshold,
        fused=version.fused,
        created_by=version.created_by,
        created_at=to_timestamp(version.created_at),
        promoted_at=None if version.promoted_at is None else to_timestamp(version.promoted_at),
        promoted_by=version.promoted_by,
        validation=version.validation,
        camera_ids=users.get(str(version.ref), ()),
        comment=version.comment,
    )


def trial_message(trial: StoredTrial) -> Trial:
    """A trial, without what was found."""
    return Trial(
        trial_id=trial.trial_id,
        name=trial.name,
        challenger=trial.challenger,
        incumbent=trial.incumbent,
        mode=MODES[trial.mode],
        state=OUTCOMES[trial.state],
        camera_ids=trial.camera_ids,
        margin=trial.margin,
        promote_if_better=trial.promote_if_better,
        started_at=to_timestamp(trial.started_at),
        ended_at=None if trial.ended_at is None else to_timestamp(trial.ended_at),
        created_by=trial.created_by,
        verdict=trial.verdict,
        ends_by=None if trial.ends_by is None else to_timestamp(trial.ends_by),
    )


def trial_of(message: Trial) -> StoredTrial:
    """What `trial_message` said, as far as serving goes; for a service that runs apart."""
    mode = Mode.CANARY if message.mode == models_pb2.TRIAL_MODE_CANARY else Mode.SHADOW
    return StoredTrial(
        trial_id=message.trial_id,
        name=message.name,
        challenger=message.challenger,
        incumbent=message.incumbent,
        mode=mode,
        state=Outcome.RUNNING,
        camera_ids=tuple(message.camera_ids),
        margin=message.margin,
        promote_if_better=message.promote_if_better,
        created_by=message.created_by,
        started_at=0.0,
    )

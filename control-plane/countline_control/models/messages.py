"""Models, versions, deployments and trials as messages of the contract, both ways."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import events_pb2, models_pb2
from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.times import from_timestamp, to_timestamp
from countline_control.models.deployment.domain import DeployRequest, GoldenClip, StepOutcome, StepReport
from countline_control.models.domain import (
    CameraSpan,
    CrossingBucket,
    GoldenResult,
    GoldenState,
    LineTally,
    ModelRouting,
    StoredModel,
    StoredTrial,
    StoredVersion,
    TrialMode,
    TrialOutcome,
    TrialReport,
    TrialRequest,
    TrialResult,
    Validation,
    VersionState,
    sum_of,
)
from countline_models.deploy import CountedLine, parse_truth
from countline_models.trials.verdict import ERROR, PairedCounts, ratio_interval

STATES: Final = {
    VersionState.REGISTERED: models_pb2.MODEL_STATE_REGISTERED,
    VersionState.VALIDATED: models_pb2.MODEL_STATE_VALIDATED,
    VersionState.RETIRED: models_pb2.MODEL_STATE_RETIRED,
}
MODES: Final = {TrialMode.SHADOW: models_pb2.TRIAL_MODE_SHADOW, TrialMode.CANARY: models_pb2.TRIAL_MODE_CANARY}
OUTCOMES: Final = {
    TrialOutcome.RUNNING: models_pb2.TRIAL_STATE_RUNNING,
    TrialOutcome.ACCEPTED: models_pb2.TRIAL_STATE_ACCEPTED,
    TrialOutcome.REJECTED: models_pb2.TRIAL_STATE_REJECTED,
    TrialOutcome.STOPPED: models_pb2.TRIAL_STATE_STOPPED,
}
STEPS: Final = {
    StepOutcome.RUNNING: models_pb2.STEP_STATE_RUNNING,
    StepOutcome.DONE: models_pb2.STEP_STATE_DONE,
    StepOutcome.SKIPPED: models_pb2.STEP_STATE_SKIPPED,
}
GOLDEN_STATES: Final = {
    GoldenState.UNSPECIFIED: models_pb2.GOLDEN_STATE_UNSPECIFIED,
    GoldenState.UNCHECKED: models_pb2.GOLDEN_STATE_UNCHECKED,
    GoldenState.PASSED: models_pb2.GOLDEN_STATE_PASSED,
}
_MODE_OF: Final = {message: mode for mode, message in MODES.items()}
_GOLDEN_STATE_OF: Final = {message: state for state, message in GOLDEN_STATES.items()}
_DIRECTION_OF: Final = {events_pb2.DIRECTION_IN: "in", events_pb2.DIRECTION_OUT: "out"}

Users = Mapping[str, Sequence[str]]
"""`NAME@VERSION` → ids of cameras."""


# Models and versions -------------------------------------------------------------------------------------------------


def shown_state(
    model: StoredModel, version: StoredVersion, trials: Iterable[StoredTrial]
) -> models_pb2.ModelState.ValueType:
    """Return the state of a version as callers see it."""
    if model.live_version == version.version:
        return models_pb2.MODEL_STATE_LIVE
    for trial in trials:
        if trial.name == model.name and trial.challenger == version.version:
            canary = trial.mode is TrialMode.CANARY
            return models_pb2.MODEL_STATE_CANARY if canary else models_pb2.MODEL_STATE_SHADOW
    return STATES[version.state]


def model_message(model: StoredModel, routing: ModelRouting, users: Users) -> models_pb2.Model:
    """Translate a model with its versions, the newest first."""
    return models_pb2.Model(
        name=model.name,
        live_version=model.live_version,
        width=model.contract.width,
        height=model.contract.height,
        max_detections=model.contract.max_detections,
        labels=model.contract.labels,
        versions=[version_message(model, version, routing, users) for version in reversed(model.versions)],
        tuning=models_pb2.ModelTuning(
            max_batch_size=model.tuning.max_batch_size,
            max_queue_delay_us=model.tuning.max_queue_delay_us,
            instances=model.tuning.instances,
        ),
        created_at=to_timestamp(model.created_at),
        updated_at=to_timestamp(model.updated_at),
    )


def event_message(model: StoredModel) -> models_pb2.Model:
    """Translate a model for a domain event: without trials and without the cameras that use it."""
    return model_message(model, ModelRouting({}), {})


def version_message(
    model: StoredModel, version: StoredVersion, routing: ModelRouting, users: Users
) -> models_pb2.ModelVersion:
    """Translate one version."""
    return models_pb2.ModelVersion(
        name=version.name,
        version=version.version,
        state=shown_state(model, version, routing.trials),
        digest=version.digest,
        size_bytes=version.size_bytes,
        score_threshold=version.score_threshold,
        fused=version.fused,
        created_by=version.created_by,
        created_at=to_timestamp(version.created_at),
        promoted_at=_timestamp(version.promoted_at),
        promoted_by=version.promoted_by,
        validation=validation_message(version.validation),
        camera_ids=users.get(str(version.ref), ()),
        comment=version.comment,
    )


def validation_message(validation: Validation) -> models_pb2.ModelValidation:
    """Translate what a deployment measured."""
    return models_pb2.ModelValidation(
        frames_per_s=validation.frames_per_s,
        latency_p50_ms=validation.latency_p50_ms,
        latency_p95_ms=validation.latency_p95_ms,
        golden=None if validation.golden is None else _golden_message(validation.golden),
    )


def validation_of(message: models_pb2.ModelValidation) -> Validation:
    """Read what a deployment measured."""
    return Validation(
        frames_per_s=message.frames_per_s,
        latency_p50_ms=message.latency_p50_ms,
        latency_p95_ms=message.latency_p95_ms,
        golden=_golden_of(message.golden) if message.HasField("golden") else None,
    )


def validation_json(validation: Validation) -> dict[str, Any]:
    """Return a validation as it is stored: protobuf's JSON, with the field names of the contract."""
    return MessageToDict(validation_message(validation), preserving_proto_field_name=True)


def validation_from_json(values: Mapping[str, Any]) -> Validation:
    """Read a stored validation; fields that a newer release wrote are ignored."""
    return validation_of(ParseDict(dict(values), models_pb2.ModelValidation(), ignore_unknown_fields=True))


def tuning_values(message: models_pb2.ModelTuning) -> dict[str, int]:
    """Read the fields of a tuning; `checks.checked_tuning` checks them."""
    return {
        "max_batch_size": message.max_batch_size,
        "max_queue_delay_us": message.max_queue_delay_us,
        "instances": message.instances,
    }


def _golden_message(golden: GoldenResult) -> models_pb2.GoldenResult:
    return models_pb2.GoldenResult(
        state=GOLDEN_STATES[golden.state],
        clip=golden.clip,
        lines=[
            models_pb2.GoldenLine(
                line_id=line.line_id,
                true_in=line.true_in,
                true_out=line.true_out,
                counted_in=line.counted_in,
                counted_out=line.counted_out,
            )
            for line in golden.lines
        ],
        detail=golden.detail,
    )


def _golden_of(message: models_pb2.GoldenResult) -> GoldenResult:
    return GoldenResult(
        state=_GOLDEN_STATE_OF.get(message.state, GoldenState.UNSPECIFIED),
        clip=message.clip,
        lines=tuple(
            CountedLine(line.line_id, line.true_in, line.true_out, line.counted_in, line.counted_out)
            for line in message.lines
        ),
        detail=message.detail,
    )


# Deployments ---------------------------------------------------------------------------------------------------------


def deploy_request_of(message: models_pb2.DeployHeader) -> DeployRequest:
    """Read the header of an upload.

    Raises:
        InvalidInputError: a size is not a positive number, or the golden clip cannot be counted.
    """
    if not message.size_bytes > 0:  # also refuses NaN
        problem = FieldProblem("header.size_bytes", "must be the size of the model file in bytes")
        raise InvalidInputError("the model cannot be received", fields=(problem,))
    golden = message.golden
    if message.HasField("golden"):
        _check_golden(golden)
    if message.max_latency_ms < 0:
        problem = FieldProblem("header.max_latency_ms", "is negative; give a time, or 0 for the server's limit")
        raise InvalidInputError("the model cannot be deployed", fields=(problem,))
    return DeployRequest(
        name=message.name,
        size_bytes=message.size_bytes,
        digest=message.digest,
        labels=tuple(message.labels),
        comment=message.comment,
        promote=message.promote,
        golden=GoldenClip(golden.clip, golden.size_bytes, golden.digest, golden.truth),
        target=message.target,
        max_latency_ms=message.max_latency_ms,
    )


def _check_golden(golden: models_pb2.GoldenClip) -> None:
    """Check a golden clip before its upload: a clip that cannot be counted must not pass for one that was.

    Raises:
        InvalidInputError: the clip is empty, has no digest, or its truth cannot be read.
    """
    problems = []
    if not golden.size_bytes > 0:
        problems.append(FieldProblem("header.golden.size_bytes", "is 0; send the clip, or no golden clip"))
    if not golden.digest:
        problems.append(FieldProblem("header.golden.digest", "is empty; give the SHA-256 of the clip"))
    if problems:
        raise InvalidInputError("the golden clip cannot be counted", fields=tuple(problems))
    parse_truth(golden.truth)


def step_message(report: StepReport) -> models_pb2.DeployModelResponse:
    """Translate the progress of one step."""
    return models_pb2.DeployModelResponse(
        step=report.step, state=STEPS[report.state], detail=report.detail, progress=report.progress
    )


# Trials --------------------------------------------------------------------------------------------------------------


def trial_request_of(message: models_pb2.StartTrialRequest) -> TrialRequest:
    """Read what a caller asks of a new trial; `mode` is None if it is missing or not defined by the contract."""
    return TrialRequest(
        name=message.name,
        challenger=message.challenger,
        mode=_MODE_OF.get(message.mode),
        camera_ids=tuple(dict.fromkeys(message.camera_ids)),
        margin=message.margin,
        promote_if_better=message.promote_if_better,
        time_limit_s=message.time_limit_s,
    )


def trial_message(trial: StoredTrial) -> models_pb2.Trial:
    """Translate a trial, without what its workers reported."""
    return models_pb2.Trial(
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
        ended_at=_timestamp(trial.ended_at),
        created_by=trial.created_by,
        verdict=trial.verdict,
        ends_by=_timestamp(trial.ends_by),
    )


def trial_of(message: models_pb2.Trial) -> StoredTrial:
    """Read a running trial, as far as routing needs it."""
    return StoredTrial(
        trial_id=message.trial_id,
        name=message.name,
        challenger=message.challenger,
        incumbent=message.incumbent,
        mode=_MODE_OF.get(message.mode, TrialMode.SHADOW),
        state=TrialOutcome.RUNNING,
        camera_ids=tuple(message.camera_ids),
        margin=message.margin,
        promote_if_better=message.promote_if_better,
        created_by=message.created_by,
        started_at=0.0,
    )


def summary_message(result: TrialResult) -> models_pb2.Trial:
    """Translate a trial with the sum of what its workers reported."""
    shown = trial_message(result.trial)
    total = sum_of(result.tallies.values())
    shown.total.CopyFrom(_comparison("", "", total, list(result.spans.values())))
    return shown


def result_message(result: TrialResult) -> models_pb2.Trial:
    """Translate a trial with what its workers reported: the sum, by camera and line, and over time."""
    shown = summary_message(result)
    for (camera_id, line_id), tally in result.tallies.items():
        spans = [result.spans[camera_id]] if camera_id in result.spans else []
        shown.lines.append(_comparison(camera_id, line_id, tally, spans))
    shown.buckets.extend(_bucket_message(bucket) for bucket in result.buckets)
    return shown


def _comparison(
    camera_id: str, line_id: str, tally: PairedCounts, spans: Sequence[CameraSpan]
) -> models_pb2.TrialComparison:
    shown = models_pb2.TrialComparison(
        camera_id=camera_id,
        line_id=line_id,
        both=tally.both,
        only_incumbent=tally.only_incumbent,
        only_challenger=tally.only_challenger,
        seconds=sum(span.seconds for span in spans),
        frames_missed=sum(span.frames_missed for span in spans),
    )
    if (ratio := ratio_interval(tally, ERROR)) is not None:
        shown.ratio, shown.ratio_low, shown.ratio_high = ratio.value, ratio.low, ratio.high
    return shown


def _bucket_message(bucket: CrossingBucket) -> models_pb2.TrialBucket:
    return models_pb2.TrialBucket(
        start=to_timestamp(bucket.start), incumbent=bucket.incumbent, challenger=bucket.challenger
    )


def trial_report_of(message: events_pb2.TrialRecord) -> TrialReport:
    """Read a worker's record of a trial."""
    return TrialReport(
        trial_id=message.trial_id,
        camera_id=message.camera_id,
        start=from_timestamp(message.start),
        end=from_timestamp(message.end),
        frames=message.frames,
        frames_missed=message.frames_missed,
        tallies=tuple(
            LineTally(
                each.line_id,
                _DIRECTION_OF.get(each.direction, "in"),
                PairedCounts(each.both, each.only_incumbent, each.only_challenger),
            )
            for each in message.tallies
        ),
    )


def _timestamp(t: float | None) -> Timestamp | None:
    return None if t is None else to_timestamp(t)

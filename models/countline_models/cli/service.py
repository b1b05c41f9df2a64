"""`countline models list | show | promote | rollback | retire | delete | tune`: manages deployed models."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import models_pb2
from countline.v1.models_pb2 import (
    DeleteModelRequest,
    GoldenResult,
    Model,
    ModelState,
    ModelTuning,
    ModelVersion,
    PromoteModelRequest,
    RetireModelRequest,
    RollbackModelRequest,
    TuneModelRequest,
)
from countline_common.cli.terminal import Styled
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    YesOption,
    ask,
    confirm,
    note,
    print_json,
    print_message,
    print_table,
)
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.grpc.client import Client
from countline_common.http.rest_json import enum_word, to_json
from countline_common.times import from_timestamp
from countline_common.triton import ModelRef
from countline_models.cli.references import (
    CandidateArgument,
    NameArgument,
    VersionArgument,
    all_models,
    candidate,
    complete_version,
    exact,
    model_named,
)

CHANGE_TIMEOUT_S: Final = 240.0
"""Triton may have to load a model, and another deployment may be running."""
COLOURS: Final = {
    models_pb2.MODEL_STATE_LIVE: "green",
    models_pb2.MODEL_STATE_CANARY: "yellow",
    models_pb2.MODEL_STATE_SHADOW: "cyan",
    models_pb2.MODEL_STATE_RETIRED: "dim",
}
DeletedArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION]",
        help="The version. Default: the model with all its versions.",
        autocompletion=complete_version,
    ),
]


def list_(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List models and their versions.

    Example: countline models list
    """
    models = ask(server, data, all_models)
    if json:
        print_json({"models": [to_json(model) for model in models]})
        return
    columns = ("NAME", "LIVE", "VERSIONS", "INPUT", "CLASSES", "CAMERAS", "CHANGED")
    print_table(
        columns, [_row(model) for model in models], "No models. To deploy one: countline models deploy FILE --name NAME"
    )


def _row(model: Model) -> tuple[str, ...]:
    cameras = {camera_id for version in model.versions for camera_id in version.camera_ids}
    return (
        model.name,
        f"@{model.live_version}" if model.live_version else "-",
        ", ".join(f"@{version.version} {state_word(version.state)}" for version in model.versions),
        f"{model.width}x{model.height}",
        shortened(model.labels),
        str(len(cameras)),
        local_time(model.updated_at),
    )


def show(name: NameArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """Show a model: its versions, their validation, and the cameras that use them.

    Example: countline models show gates
    """
    model = ask(server, data, lambda client: model_named(client, name))
    if json:
        print_message(model)
        return
    print_table(("MODEL", model.name), _facts(model), "")
    columns = ("VERSION", "STATE", "FRAMES/S", "P50", "P95", "CLIP", "CAMERAS", "DEPLOYED", "BY", "SHA-256", "COMMENT")
    print_table(columns, [_version_row(version) for version in model.versions], "No versions.")


def _facts(model: Model) -> list[tuple[str, str]]:
    return [
        ("live", f"@{model.live_version}" if model.live_version else "none"),
        ("input", f"{model.width}x{model.height}"),
        ("detections", f"at most {model.max_detections} a frame"),
        ("classes", ", ".join(model.labels)),
        ("tuning", _tuning(model.tuning)),
    ]


def _tuning(tuning: ModelTuning) -> str:
    batch, delay = _or_default(tuning.max_batch_size), _or_default(tuning.max_queue_delay_us, " us")
    return f"batch {batch}, delay {delay}, instances {_or_default(tuning.instances)}"


def _or_default(number: int, unit: str = "") -> str:
    return f"{number}{unit}" if number else "default"


def _version_row(version: ModelVersion) -> tuple[str | Styled, ...]:
    found = version.validation
    return (
        f"@{version.version}",
        coloured_state(version.state),
        f"{found.frames_per_s:.1f}" if found.frames_per_s else "-",
        f"{found.latency_p50_ms:.1f} ms" if found.latency_p50_ms else "-",
        f"{found.latency_p95_ms:.1f} ms" if found.latency_p95_ms else "-",
        _golden(found.golden),
        ", ".join(version.camera_ids) or "-",
        local_time(version.created_at),
        version.created_by or "-",
        version.digest[:12],
        version.comment or "-",
    )


def _golden(golden: GoldenResult) -> str:
    if golden.state == models_pb2.GOLDEN_STATE_PASSED:
        counted = sum(line.counted_in + line.counted_out for line in golden.lines)
        true = sum(line.true_in + line.true_out for line in golden.lines)
        return f"{golden.clip or 'clip'}: {counted} of {true}"
    return f"unchecked: {golden.detail}" if golden.detail else "unchecked"


def promote(
    model: CandidateArgument,
    if_better: Annotated[
        bool, typer.Option("--if-better", help="Only if its last finished trial against the live version was accepted.")
    ] = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Make a version live: cameras that name the model without a version change to it and lose no frame.

    Example: countline models promote gates@2
    """

    async def question(client: Client) -> Model:
        ref = await candidate(client, model)
        request = PromoteModelRequest(name=ref.name, version=ref.version, if_better=if_better)
        return (await client.models.PromoteModel(request, timeout=CHANGE_TIMEOUT_S)).model

    _report_live(ask(server, data, question), as_json=json)


def rollback(
    name: NameArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Make the previously live version live again.

    Example: countline models rollback gates
    """

    async def question(client: Client) -> Model:
        return (await client.models.RollbackModel(RollbackModelRequest(name=name), timeout=CHANGE_TIMEOUT_S)).model

    _report_live(ask(server, data, question), as_json=json)


def _report_live(model: Model, *, as_json: bool) -> None:
    if as_json:
        print_message(model)
    note(f"{model.name}@{model.live_version} is live.")


def retire(
    model: VersionArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Unload a version that is not in use; its files stay.

    Example: countline models retire gates@1
    """
    ref = exact(model)

    async def question(client: Client) -> Model:
        return (
            await client.models.RetireModel(
                RetireModelRequest(name=ref.name, version=ref.version), timeout=CHANGE_TIMEOUT_S
            )
        ).model

    retired = ask(server, data, question)
    if json:
        print_message(retired)
    note(f"Retired {ref}.")


def delete(
    model: DeletedArgument,
    yes: YesOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Delete a version that is not in use, or a whole model; its counts stay.

    Example: countline models delete gates@1
    """
    ref = ModelRef.parse(model)
    what = f"the version {ref}" if ref.version else f"the model {ref} with all its versions"

    async def read(client: Client) -> None:
        found = await model_named(client, ref.name)
        if ref.version and ref.version not in {each.version for each in found.versions}:
            raise NotFoundError(
                f"{ref.name} has no version {ref.version}", hint=f"list its versions: countline models show {ref.name}"
            )

    async def question(client: Client) -> None:
        await client.models.DeleteModel(
            DeleteModelRequest(name=ref.name, version=ref.version), timeout=CHANGE_TIMEOUT_S
        )

    confirm(f"Delete {what}? Its counts stay.", yes=yes, check=lambda: ask(server, data, read))
    ask(server, data, question)
    if json:
        print_json({"name": ref.name, "version": ref.version})
    note(f"Deleted {what}.")


def tune(
    name: NameArgument,
    batch: Annotated[int | None, typer.Option(min=0, help="Largest batch, in frames; 0 for the default.")] = None,
    delay_us: Annotated[
        int | None, typer.Option(min=0, help="Queue delay in microseconds, to join requests; 0 for the default.")
    ] = None,
    instances: Annotated[int | None, typer.Option(min=0, help="Number of parallel copies; 0 for the default.")] = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Set how Triton runs a model; options that are not given stay as they are.

    Example: countline models tune gates --batch 4 --instances 2
    """
    if batch is None and delay_us is None and instances is None:
        raise InvalidInputError("nothing to change", hint="give --batch, --delay-us or --instances")

    async def question(client: Client) -> Model:
        now = (await model_named(client, name)).tuning
        tuning = ModelTuning(
            max_batch_size=now.max_batch_size if batch is None else batch,
            max_queue_delay_us=now.max_queue_delay_us if delay_us is None else delay_us,
            instances=now.instances if instances is None else instances,
        )
        return (
            await client.models.TuneModel(TuneModelRequest(name=name, tuning=tuning), timeout=CHANGE_TIMEOUT_S)
        ).model

    tuned = ask(server, data, question)
    if json:
        print_message(tuned)
    note(f"Tuned {name}: {_tuning(tuned.tuning)}.")


def state_word(state: "ModelState.ValueType") -> str:
    """A state as a word, such as `live`."""
    return enum_word(ModelState.DESCRIPTOR, state)


def coloured_state(state: "ModelState.ValueType") -> Styled:
    """A state as a word in its colour."""
    word = state_word(state)
    return Styled(word, style=COLOURS.get(state, ""))


def local_time(timestamp: Timestamp) -> str:
    """A time in the time zone of this machine, with its name; a dash if there is none."""
    seconds = from_timestamp(timestamp)
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M %Z") if seconds else "-"


def shortened(labels: Sequence[str]) -> str:
    """The first names, and their number if there are more."""
    names = ", ".join(labels[:3])
    return f"{names}, … ({len(labels)})" if len(labels) > 3 else names

"""`countline models deploy`: sends a contract model to the model service and shows every step."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from countline.v1 import models_pb2, models_pb2_grpc
from countline.v1.models_pb2 import (
    DeployHeader,
    DeployModelRequest,
    DeployModelResponse,
    GoldenClip,
    ModelVersion,
)
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, note, print_message
from countline_common.errors import InternalError, InvalidInputError, NotFoundError
from countline_common.files.text_files import read_text
from countline_common.grpc.authorization import bearer_metadata
from countline_common.grpc.channels import open_blocking_channel
from countline_common.grpc.client import Client
from countline_common.grpc.errors import translated
from countline_common.tls.files import TlsFiles
from countline_models.cli.references import complete_model
from countline_models.digests import file_digest

if TYPE_CHECKING:
    from countline_models.cli.steps import Steps

CHUNK_BYTES: Final = 1024 * 1024
LIMIT_S: Final = 3600.0
"""Limit for a whole deployment."""
LABELS: Final = {
    "digest": "read the files",
    "receive": "send the files",
    "contract": "check the contract",
    "triton": "verify it in Triton",
    "golden": "count a clip with known crossings",
    "speed": "measure its speed",
    "store": "write the version",
    "load": "load it",
    "warm_up": "warm it up",
    "promote": "make it live",
    "ready": "ready",
}
"""Names of the steps for people. The client reports `digest`, the service all others."""


class TargetOption(StrEnum):
    """The hardware that runs a model."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file to send."""

    path: Path
    size_bytes: int
    digest: str


def deploy(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="Contract model (ONNX).", show_default=False)],
    name: Annotated[str, typer.Option(help="Name of the model for cameras.", autocompletion=complete_model)],
    labels: Annotated[
        Path | None, typer.Option(help="File with class names, one per line. Default: those in the model.")
    ] = None,
    golden: Annotated[Path | None, typer.Option(help="Clip with known crossings; needs --truth.")] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help='JSON file: {"lines": {NAME: {"points": \\[\\[x, y], …], "in": n, "out": n}}, "tolerance": share}.'
        ),
    ] = None,
    comment: Annotated[str, typer.Option(help="Comment on this version.")] = "",
    promote: Annotated[bool, typer.Option("--promote", help="Make it live immediately.")] = False,
    target: Annotated[TargetOption | None, typer.Option(help="Hardware that runs it. Default: that of Triton.")] = None,
    max_latency_ms: Annotated[
        float, typer.Option(help="Refuse it if a frame takes longer; 0: the service's limit.")
    ] = 0.0,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Deploy a contract model as the next version of a model.

    The service checks it, verifies it in Triton, counts a clip with it, measures its speed and loads it.

    Example: countline models deploy gates.onnx --name gates --golden clip.mp4 --truth clip.json
    """
    from countline_models.cli.steps import StepState, shown_steps

    clip_truth = _truth(golden, truth)
    with shown_steps(LABELS) as steps:
        steps.show("digest", StepState.RUNNING)
        files = [artifact(path) for path in (model, golden) if path is not None]
        steps.show("digest", StepState.DONE, f"SHA-256 {files[0].digest[:12]}…, {files[0].size_bytes / 1e6:.1f} MB")
        header = DeployHeader(
            name=name,
            size_bytes=files[0].size_bytes,
            digest=files[0].digest,
            labels=_labels(labels),
            comment=comment,
            promote=promote,
            golden=_golden(files[1], clip_truth) if golden is not None else None,
            target=target.value if target else "",
            max_latency_ms=max_latency_ms,
        )
        version = send(ask(server, data, ModelServiceEndpoint.of), header, files, steps)
    if json:
        print_message(version)
    note(_next_step(version))


@dataclass(frozen=True, slots=True)
class ModelServiceEndpoint:
    """Address of the model service, an access token, and the certificate files; None without TLS."""

    address: str
    access_token: str
    tls: TlsFiles | None = None

    @classmethod
    async def of(cls, client: Client) -> "ModelServiceEndpoint":
        """The endpoint of a client."""
        _ = client.models  # raises if the server has no model service
        return cls(client.endpoints.models, await client.caller.access_token(), client.tls)


def send(service: ModelServiceEndpoint, header: DeployHeader, files: list[Artifact], steps: "Steps") -> ModelVersion:
    """Stream header and files, show the steps that the service reports, and return the new version.

    Uses gRPC's blocking interface. If the service refuses while files are being sent, the asynchronous interface may
    lose the reason and report "Internal error from Core".
    """
    version = None
    metadata = bearer_metadata(service.access_token)
    with (
        translated(service.address),
        open_blocking_channel(service.address, service.tls) as channel,
    ):
        stub = models_pb2_grpc.ModelServiceStub(channel)
        for answer in stub.DeployModel(_requests(header, files, steps), timeout=LIMIT_S, metadata=metadata):
            _show(answer, steps)
            version = answer.version if answer.HasField("version") else version
    if version is None:
        raise InternalError("the service did not report the new version", hint="see countline models list")
    return version


def _requests(header: DeployHeader, files: list[Artifact], steps: "Steps") -> Iterator[DeployModelRequest]:
    from countline_models.cli.steps import StepState

    yield DeployModelRequest(header=header)
    sent, total = 0, sum(file.size_bytes for file in files)
    for file in files:
        for chunk in _chunks(file.path):
            yield DeployModelRequest(chunk=chunk)
            sent += len(chunk)
            steps.show("receive", StepState.RUNNING, progress=sent / total)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _show(answer: DeployModelResponse, steps: "Steps") -> None:
    from countline_models.cli.steps import StepState

    states = {
        models_pb2.STEP_STATE_RUNNING: StepState.RUNNING,
        models_pb2.STEP_STATE_DONE: StepState.DONE,
        models_pb2.STEP_STATE_SKIPPED: StepState.SKIPPED,
    }
    if answer.step and answer.state in states:
        steps.show(answer.step, states[answer.state], answer.detail, answer.progress)


def artifact(path: Path) -> Artifact:
    """A file with its size and SHA-256.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is empty or cannot be read.
    """
    try:
        digest, size_bytes = file_digest(path), path.stat().st_size
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}", hint="correct the path") from error
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read: {error.strerror}", hint="correct the path or its permissions"
        ) from error
    if size_bytes == 0:
        raise InvalidInputError(f"{path} is empty", hint="give another file")
    return Artifact(path, size_bytes, digest)


def _labels(path: Path | None) -> tuple[str, ...]:
    from countline_models.labels import read_labels

    return () if path is None else read_labels(path)


def _golden(clip: Artifact, truth: str) -> GoldenClip:
    return GoldenClip(clip=clip.path.name, size_bytes=clip.size_bytes, digest=clip.digest, truth=truth)


def _truth(golden: Path | None, truth: Path | None) -> str:
    """The text of the truth file; it is parsed here too, so that a mistake is reported before anything is sent."""
    if (golden is None) != (truth is None):
        raise InvalidInputError("--golden and --truth need each other", hint="give both, or neither")
    if truth is None:
        return ""
    from countline_models.deploy import parse_truth

    text = read_text(truth)
    try:
        parse_truth(text)
    except InvalidInputError as error:
        raise InvalidInputError(f"{truth}: {error.message}", hint=error.hint, fields=error.fields) from error
    return text


def _next_step(version: ModelVersion) -> str:
    ref = f"{version.name}@{version.version}"
    if version.state == models_pb2.MODEL_STATE_LIVE:
        return f"{ref} is live. To go back to the previous version: countline models rollback {version.name}"
    return (
        f"{ref} is ready, but no camera uses it yet. Next, one of:\n"
        f"  countline models shadow {ref} --cameras ID      compare it with the live version only\n"
        f"  countline models canary {ref} --cameras ID      let it count on some cameras\n"
        f"  countline models promote {ref}                  make it live\n"
        f"  countline cameras set ID --model {ref}          use it for one camera only"
    )

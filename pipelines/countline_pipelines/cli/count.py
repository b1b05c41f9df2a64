"""`countline count`: count one file or stream, with no services but a Triton, of its own or one that runs already."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, TaskID, TimeElapsedColumn, TimeRemainingColumn

from countline_common import logs
from countline_common.cli.app import report
from countline_common.cli.options import grouped
from countline_common.cli.terminal import Terminal, progress_bar, words
from countline_common.errors import CountlineError
from countline_common.files.output_files import OutputFile, OutputFiles, is_standard_output
from countline_common.files.scratch import scratch_folder
from countline_common.triton.private import find_model, prepare_model, private_triton
from countline_counting.spec import CountingSpec
from countline_pipelines.cli import options
from countline_pipelines.cli.options import SpecOptions
from countline_pipelines.cli.printing import show, show_warning
from countline_pipelines.offline.annotate import check_film
from countline_pipelines.offline.count import (
    CountJob,
    CountOrder,
    CountOutcome,
    InterruptedCountError,
    Progress,
    ServedModel,
)
from countline_pipelines.offline.reports.summary import Summary
from countline_pipelines.offline.trajectory_files import TrajectoryFile
from countline_pipelines.sources import (
    DecodeMode,
    Playback,
    RtspTransport,
    SourceSpec,
    SourceWarning,
    SourceWarnings,
    VideoInfo,
    VideoReader,
    WarningCode,
    decoding_of,
    source_address,
)
from countline_pipelines.sources.content import content_hash, files_of
from countline_pipelines.triton import ModelRef, Transport
from countline_pipelines.triton.client import TritonClient

DEFAULT_MODEL: Final = "demo_detector"
CONNECT_TIMEOUT_S: Final = 10.0
RECONNECT_S: Final = 60.0
PROGRESS_EVERY_S: Final = 1.0
_ANY_SIZE_WH: Final = (1_000_000, 1_000_000)
"""Contains every point in pixels that a user may name."""

_MODEL: Final = "Model"
_SOURCE: Final = "Source"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The model that detects objects, and the Triton that serves it."""

    model: Annotated[
        str, typer.Option(help="Model of the repository, NAME or NAME@VERSION, or ONNX file.", rich_help_panel=_MODEL)
    ] = DEFAULT_MODEL
    triton: Annotated[
        str | None, typer.Option(help="HOST:PORT (gRPC) of a running Triton.", rich_help_panel=_MODEL)
    ] = None
    triton_transport: Annotated[
        Transport, typer.Option(help="How frames reach that Triton.", rich_help_panel=_MODEL)
    ] = Transport.AUTO
    head: Annotated[
        str | None, typer.Option(help="Kind of the output of an ONNX file, e.g. yolox.", rich_help_panel=_MODEL)
    ] = None
    labels: Annotated[
        Path | None, typer.Option(help="File with class names, one per line.", rich_help_panel=_MODEL)
    ] = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the model is made from."""
        model = (Path(self.model),) if _is_file(self.model) else ()
        return (*model, *([self.labels] if self.labels else []))

    def served(self) -> AbstractContextManager[ServedModel]:
        """Return the served model: on a running Triton, or on a private one inside the block."""
        if self.triton is not None:
            return _elsewhere(self.triton, self.triton_transport, self.model)
        return _served(self.model, self.head, self.labels)


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How the video is read."""

    rate: Annotated[
        float, typer.Option(help="Frames per second to process; 0 for all.", min=0, rich_help_panel=_SOURCE)
    ] = 0.0
    transport: Annotated[RtspTransport, typer.Option(help="RTSP transport.", rich_help_panel=_SOURCE)] = (
        RtspTransport.TCP
    )
    decode: Annotated[
        DecodeMode,
        typer.Option(
            envvar="COUNTLINE_DECODE", help="Decoder; auto uses the GPU where possible.", rich_help_panel=_SOURCE
        ),
    ] = DecodeMode.AUTO
    seconds: Annotated[
        float, typer.Option(help="Seconds after which to stop a stream; 0 for never.", min=0, rich_help_panel=_SOURCE)
    ] = 0.0
    reconnect: Annotated[
        float,
        typer.Option(
            help="Seconds for which to try to open a broken stream again; 0 ends the count at once.",
            min=0,
            rich_help_panel=_SOURCE,
        ),
    ] = RECONNECT_S
    partial: Annotated[bool, typer.Option(help="Accept a file that is cut off.", rich_help_panel=_SOURCE)] = False


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What the command writes besides the summary."""

    annotate: Annotated[
        Path | None,
        typer.Option(
            help="File (.mp4, .mov, .mkv) for the video with boxes, ids, lines and totals.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None
    explain: options.ExplainOption = False
    trajectories: options.TrajectoriesOption = None
    json_: options.JsonOption = False
    progress_json: Annotated[
        bool,
        typer.Option(
            "--progress-json",
            help="Write progress as JSON, a line a second on standard error.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False

    @property
    def takes_standard_output(self) -> bool:
        """Whether one of the files is standard output, so that the summary goes to standard error."""
        return any(path is not None and is_standard_output(path) for path in (self.annotate, self.trajectories))

    def opened(self, outputs: OutputFiles) -> tuple[OutputFile | None, OutputFile | None]:
        """Open the files before the first frame: the annotated video and the trajectories.

        Raises:
            CountlineError: a file cannot be written, or is one that the command reads.
        """
        film = outputs.open("--annotate", self.annotate, seeks=True) if self.annotate is not None else None
        if film is not None:
            check_film(film)
        paths = outputs.open("--trajectories", self.trajectories) if self.trajectories is not None else None
        return film, paths


@grouped
def count(
    source: Annotated[str, typer.Argument(help="Video file, or rtsp://, http:// or https:// address.")],
    detector: ModelOptions,
    counted: SpecOptions,
    read: ReadingOptions,
    output: OutputOptions,
    classes: options.ClassesOption = None,
) -> None:
    """Count the objects that cross the lines of a video file or stream.

    A stream that breaks is opened again, as a worker does it. Ctrl-C ends a stream and prints its counts. If a fault
    ends the count, the counts until then are printed with it, and the exit status is not 0. Files are then written only
    for a stream.

    Example: countline count street.mp4 --line gate:0,0.5,1,0.5
    """
    os.environ.setdefault(logs.LEVEL_VARIABLE, "WARNING")
    logs.configure("count")
    warnings = SourceWarnings(_say_wait)
    try:
        outcome = _count(source, detector, counted, read, output, classes, warnings)
    except (CountlineError, KeyboardInterrupt) as error:  # before the first frame
        fault = error if isinstance(error, CountlineError) else InterruptedCountError(0)
        outcome = CountOutcome(_nothing(counted, classes), fault, warnings.all(), keeps_files=False)
    _report(outcome, output)


def _count(
    source: str,
    detector: ModelOptions,
    counted: SpecOptions,
    read: ReadingOptions,
    output: OutputOptions,
    classes: str | None,
    warnings: SourceWarnings,
) -> CountOutcome:
    decoding = decoding_of(read.decode)  # first: a GPU that is asked for and is not there ends the count at once
    with OutputFiles([*files_of(source_address(source)), *detector.files]) as outputs:
        film, paths = output.opened(outputs)
        video, info = _probe(source, read.transport, read.rate, warnings)
        spec = counted.spec((info.width, info.height), classes, may_be_empty=paths is not None)
        order = CountOrder(video, spec, decoding, read.seconds, read.reconnect, read.partial, film, output.explain)
        with detector.served() as served:
            job = CountJob(order, served, TrajectoryFile(paths))
            with _progress_lines() if output.progress_json else _progress(info) as update:
                outcome = job.run(update)
        return _with_files(outcome, outputs)


def _nothing(counted: SpecOptions, classes: str | None) -> dict[str, Any]:
    """The summary of a count that failed before the size of its pictures was known; without lines if they are wrong."""
    spec = CountingSpec()
    with suppress(CountlineError):
        spec = counted.spec(_ANY_SIZE_WH, classes, may_be_empty=True)
    return Summary(spec).as_dict(frames=0, duration_s=0.0)


def _with_files(outcome: CountOutcome, outputs: OutputFiles) -> CountOutcome:
    """Put the files in place if they are complete. A file that cannot be written is a fault, and costs no counts."""
    try:
        if outcome.keeps_files:
            outputs.commit()
    except CountlineError as error:
        outcome = replace(outcome, fault=outcome.fault or error)
    outputs.discard()
    return outcome


def _report(outcome: CountOutcome, output: OutputOptions) -> None:
    """Print what was counted, and then raise the fault that ended the count.

    The JSON is printed in any case; tables are not printed if no frame was counted.

    Raises:
        CountlineError: the count ended early, or a file could not be written.
        KeyboardInterrupt: the user stopped the count of a file.
    """
    summary, fault, err = outcome.summary, outcome.fault, output.takes_standard_output
    for warning in outcome.warnings:
        show_warning(warning.message, warning.hint)
    if output.json_:
        printed = {**summary, "warnings": [asdict(warning) for warning in outcome.warnings]}
        printed |= {} if fault is None else {"fault": _as_json(fault)}
        print(json.dumps(printed), file=sys.stderr if err else sys.stdout)
    elif summary["frames"]:
        show(summary, err=err)
    if isinstance(fault, InterruptedCountError):
        report(fault)
        raise KeyboardInterrupt
    if fault is not None:
        raise fault


def _as_json(fault: CountlineError) -> dict[str, str]:
    return {"code": fault.code, "message": fault.message, "hint": fault.hint}


def _probe(
    source: str, transport: RtspTransport, rate: float, warnings: SourceWarnings
) -> tuple[SourceSpec, VideoInfo]:
    """Open the source once, so that a fault of it is reported at once; a finite source is read as fast as possible.

    The count opens the source again and finds the same warnings, so they are kept for a failure only.
    """
    spec = SourceSpec(source_address(source), Playback.FAST, transport=transport, rate=rate)
    with VideoReader(spec, warnings=warnings) as video:
        info = video.info
        live = spec.is_rtsp or (spec.is_network and not video.is_whole_file)
    if live:
        return replace(spec, playback=Playback.LIVE), info
    return spec, info


def _say_wait(warning: SourceWarning) -> None:
    """Print at once that a stream is waited for. The count prints the other warnings at its end."""
    if warning.code is WarningCode.NO_KEY_FRAME:
        show_warning(warning.message, warning.hint)


def _is_file(model: str) -> bool:
    return model.endswith(".onnx") or "/" in model


@contextmanager
def _served(model: str, head: str | None, labels: Path | None) -> Iterator[ServedModel]:
    """Yield the model on a Triton that is started for this count and stopped at its end."""
    terminal = Terminal(stderr=True)
    with scratch_folder("models") as folder:
        with terminal.status(f"preparing {model}"):
            is_file = _is_file(model)
            version = 0 if is_file else ModelRef.parse(model).version
            prepared = prepare_model(Path(model), head, labels, folder) if is_file else find_model(model)
            prepared.check_files()
        with private_triton(prepared.repository) as server:
            with terminal.status("starting Triton"):
                server.wait_ready()
                named = ModelRef(prepared.name, version)
                ref = asyncio.run(_version_of(named, server.address, Transport.AUTO))
            files = sorted((prepared.repository / ref.name / str(ref.version)).glob("model.*"))
            yield ServedModel(server.address, Transport.AUTO, str(ref), f"file:{content_hash(*files)}", server)


@contextmanager
def _elsewhere(address: str, transport: Transport, model: str) -> Iterator[ServedModel]:
    """Yield the model on a Triton that runs already."""
    with Terminal(stderr=True).status(f"asking Triton at {address} for {model}"):
        ref = asyncio.run(_version_of(ModelRef.parse(model), address, transport))
    # Its repository may lie on another machine, so the version stands for the file: a version never gets another file.
    yield ServedModel(address, transport, str(ref), str(ref))


async def _version_of(model: ModelRef, address: str, transport: Transport) -> ModelRef:
    """Return the version that the name of a model stands for."""
    async with await TritonClient.connect(address, transport, timeout_s=CONNECT_TIMEOUT_S) as client:
        return (await client.load(str(model))).ref


@contextmanager
def _progress(info: VideoInfo) -> Iterator[Progress]:
    """Show a bar on standard error; yield the function that updates it."""
    total = info.frames or None
    columns = (
        words("counting"),
        BarColumn(),
        words("{task.completed:.0f} frames"),
        words("{task.fields[fps]:.0f} fps"),
        TimeElapsedColumn(),
        words("ETA"),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns, stays=True) as bar:
        task: TaskID = bar.add_task("count", total=total, fps=0.0)

        def update(frames: int, share: float, fps: float) -> None:
            known = total or (frames / share if share > 0 else None)
            bar.update(task, completed=frames, total=known, fps=fps)

        yield update


@contextmanager
def _progress_lines() -> Iterator[Progress]:
    """Write progress for a program: one JSON object a second on standard error, among other lines."""
    printed_at = 0.0

    def update(frames: int, share: float, fps: float) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= PROGRESS_EVERY_S:
            printed_at = time.monotonic()
            line = json.dumps({"frames": frames, "share": round(share, 4), "fps": round(fps, 1)})
            print(line, file=sys.stderr, flush=True)

    yield update

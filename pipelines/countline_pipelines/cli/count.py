"""`countline count`: count one file or stream, with no services but a Triton, of its own or one that runs already.

The way of a frame is that of the worker: the same plane, tracker and counter; only the sink differs.
"""

import asyncio
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from countline_common import logs
from countline_common.errors import CountlineError, InvalidInputError, NotFoundError, UnavailableError
from countline_common.scratch import scratch_folder
from countline_common.triton.private import PrivateTriton, find_model, prepare_model, private_triton
from countline_counting import CountingSpec, Event, Identity
from countline_counting.explain.explainer import Journal
from countline_counting.trials import TrialSpan
from countline_pipelines.cli.replay import (
    ExplainOption,
    GroundOption,
    MaskIgnore,
    MaskInclude,
    MinTrackAge,
    MinTrackScore,
    TrajectoriesOption,
    show,
)
from countline_pipelines.cli.spec_args import parse_spec
from countline_pipelines.messages import class_name
from countline_pipelines.offline.annotate import Annotator
from countline_pipelines.offline.reports.explained import explained
from countline_pipelines.offline.reports.summary import Summary
from countline_pipelines.offline.trajectory_files import TrajectoryFile
from countline_pipelines.planes.interface import (
    CameraCondition,
    CameraPlan,
    CountedFrame,
    CountingPlan,
    LinePlan,
    MaskPlan,
    RunStarted,
    ZonePlan,
    counting_spec,
)
from countline_pipelines.planes.software.plane import PlaneOptions, SoftwarePlane
from countline_pipelines.sources import (
    DecodeMode,
    Decoding,
    Playback,
    RtspTransport,
    SourceSpec,
    VideoInfo,
    VideoReader,
    decoding_of,
    source_address,
)
from countline_pipelines.sources.content import content_hash
from countline_pipelines.triton import ModelRef, Transport
from countline_pipelines.triton.client import TritonClient

CAMERA_ID: Final = "count"
DEFAULT_MODEL: Final = "demo_detector"
CLOSE_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.1
CONNECT_TIMEOUT_S: Final = 10.0
PROGRESS_EVERY_S: Final = 1.0
AWAY_S: Final = 60.0
"""How long a Triton may be away in mid-count."""
AWAY_CODES: Final = {"deadline_exceeded", "unavailable"}
"""Of faults that say that it is."""

DecodeOption = Annotated[
    DecodeMode, typer.Option(envvar="COUNTLINE_DECODE", help="What decodes; auto takes the GPU where it can.")
]
ProgressOption = Annotated[
    bool, typer.Option("--progress-json", help="Tell of the progress as JSON, a line a second on standard error.")
]


def count(
    source: Annotated[str, typer.Argument(help="A video file, or an rtsp://, http:// or https:// address.")],
    model: Annotated[str, typer.Option(help="A model in the repository, NAME or NAME@VERSION, or an ONNX file.")] = (
        DEFAULT_MODEL
    ),
    triton: Annotated[str | None, typer.Option(help="host:port (gRPC) of a Triton that runs already.")] = None,
    triton_transport: Annotated[Transport, typer.Option(help="How frames reach that Triton.")] = Transport.AUTO,
    head: Annotated[str | None, typer.Option(help="Kind of an ONNX file's output, e.g. yolox.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Class names of an ONNX file, one a line.")] = None,
    line: Annotated[list[str] | None, typer.Option(help="NAME:x1,y1,x2,y2[,x3,y3...]; may be repeated.")] = None,
    zone: Annotated[list[str] | None, typer.Option(help="NAME:x1,y1,x2,y2,x3,y3[,...]; may be repeated.")] = None,
    classes: Annotated[str | None, typer.Option(help="Names or numbers of the classes that count, by commas.")] = None,
    min_score: Annotated[float, typer.Option(help="Boxes below it are not used.", min=0, max=1)] = 0.0,
    rate: Annotated[float, typer.Option(help="Frames a second that are looked at; 0 for all.", min=0)] = 0.0,
    queue: Annotated[list[str] | None, typer.Option(help="A zone in which objects wait; as --zone.")] = None,
    pixels: Annotated[bool, typer.Option(help="Coordinates are pixels, not 0..1.")] = False,
    anchor: Annotated[str, typer.Option(help="bottom, centre, or two fractions of the box.")] = "bottom",
    transport: Annotated[RtspTransport, typer.Option(help="How RTSP packets travel.")] = RtspTransport.TCP,
    decode: DecodeOption = DecodeMode.AUTO,
    seconds: Annotated[float, typer.Option(help="Stop a stream after so many seconds; 0 goes on.", min=0)] = 0.0,
    partial: Annotated[bool, typer.Option(help="Count what a file holds that was cut off.")] = False,
    annotate: Annotated[Path | None, typer.Option(help="Write the video with boxes, ids, lines and totals.")] = None,
    min_track_age: MinTrackAge = 0.0,
    min_track_score: MinTrackScore = 0.0,
    mask_include: MaskInclude = None,
    mask_ignore: MaskIgnore = None,
    ground: GroundOption = None,
    explain: ExplainOption = False,
    trajectories: TrajectoriesOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    progress_json: ProgressOption = False,
) -> None:
    """Count who crosses the lines of a video file or stream. Ctrl-C ends a stream and prints what was counted."""
    os.environ.setdefault(logs.LEVEL_VARIABLE, "WARNING")
    logs.configure("count")
    decoding = decoding_of(decode)  # first: a GPU that is asked for and is not there ends it at once
    spec, info = _probe(source, transport, rate)
    drawn = parse_spec(
        line or [],
        zone or [],
        queues=queue or [],
        anchor=anchor,
        pixels_of=(info.width, info.height) if pixels else None,
        min_score=min_score,
        min_track_age_s=min_track_age,
        min_track_score=min_track_score,
        include=mask_include or [],
        ignore=mask_ignore or [],
        ground=ground or [],
    )
    plan = _counting_plan(drawn, _names(classes))
    if not plan.lines and not plan.zones and trajectories is None:
        raise InvalidInputError("there is nothing to count", hint="give --line or --zone")
    order = _Order(spec, info, plan, decoding, seconds, partial, annotate, explain, progress_json)
    serving = _elsewhere(triton, triton_transport, model) if triton is not None else _served(model, head, labels)
    with TrajectoryFile(trajectories) as paths, serving as served:
        result = _Job(order, served, paths).run()
    print(json.dumps(result)) if json_ else show(result)


def _names(classes: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (classes or "").split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be done."""

    source: SourceSpec
    info: VideoInfo
    counting: CountingPlan
    decoding: Decoding
    seconds: float
    partial: bool
    annotate: Path | None
    explain: bool
    progress_json: bool


def _probe(source: str, transport: RtspTransport, rate: float) -> tuple[SourceSpec, VideoInfo]:
    """Open the source once, so that what is wrong with it is said at once; a finite one is read as fast as possible."""
    spec = SourceSpec(source_address(source), Playback.FAST, transport=transport, rate=rate)
    with VideoReader(spec) as video:
        info = video.info
    live = spec.is_rtsp or (spec.is_network and info.duration_s is None)
    if live:
        return replace(spec, playback=Playback.LIVE), info
    return spec, info


def _counting_plan(spec: CountingSpec, classes: tuple[str, ...]) -> CountingPlan:
    return CountingPlan(
        lines=tuple(LinePlan(line.id, line.points, line.version, classes) for line in spec.lines),
        zones=tuple(ZonePlan(zone.id, zone.polygon, zone.version, classes, zone.queue) for zone in spec.zones),
        anchor=spec.anchor,
        min_score=spec.min_score,
        min_track_age_s=spec.min_track_age_s,
        min_track_score=spec.min_track_score,
        masks=tuple(MaskPlan(mask.id, mask.polygon, mask.kind) for mask in spec.masks),
        ground=spec.ground.points if spec.ground is not None else (),
    )


@dataclass(frozen=True, slots=True)
class _Served:
    """A Triton that serves the model."""

    address: str
    transport: Transport
    model: str
    """As NAME@VERSION."""
    fingerprint: str
    """Tells this model from others."""
    child: PrivateTriton | None = None
    """Where it was started for this count."""


@contextmanager
def _served(model: str, head: str | None, labels: Path | None) -> Iterator[_Served]:
    """A Triton of our own, as long as the block lasts."""
    console = Console(stderr=True)
    with scratch_folder("models") as folder:
        with console.status(f"preparing {model}"):
            is_file = model.endswith(".onnx") or "/" in model
            version = 0 if is_file else ModelRef.parse(model).version
            prepared = prepare_model(Path(model), head, labels, folder) if is_file else find_model(model)
        with private_triton(prepared.repository) as server:
            with console.status("starting Triton"):
                server.wait_ready()
                named = ModelRef(prepared.name, version)
                ref = asyncio.run(_version_of(named, server.address, Transport.AUTO))
            fingerprint = content_hash(*sorted((prepared.repository / ref.name / str(ref.version)).glob("model.*")))
            yield _Served(server.address, Transport.AUTO, str(ref), fingerprint, server)


@contextmanager
def _elsewhere(address: str, transport: Transport, model: str) -> Iterator[_Served]:
    """A Triton that somebody else has started."""
    with Console(stderr=True).status(f"asking Triton at {address} for {model}"):
        ref = asyncio.run(_version_of(ModelRef.parse(model), address, transport))
    # Its repository may lie on another machine, so the version stands for the file: no two of one name are the same.
    yield _Served(address, transport, str(ref), str(ref))


async def _version_of(model: ModelRef, address: str, transport: Transport) -> ModelRef:
    """The version that a model's name stands for."""
    async with await TritonClient.connect(address, transport, timeout_s=CONNECT_TIMEOUT_S) as client:
        return (await client.load(str(model))).ref


class _Job:
    """One count, from the plane's start to the summary."""

    def __init__(self, order: _Order, served: _Served, paths: TrajectoryFile) -> None:
        self._order = order
        self._served = served
        run = _run_name(order, served.fingerprint)
        self._plan = CameraPlan(CAMERA_ID, order.source, served.model, order.counting, run=run)
        self._journal = Journal() if order.explain else None
        self._sink = _Sink(order, self._journal, paths)
        self._ended = threading.Event()

    def run(self) -> dict[str, Any]:
        """Count; returns the summary.

        Raises:
            CountlineError: what stopped it.
        """
        options = PlaneOptions(
            once=True,
            keep_pictures=self._order.annotate is not None,
            journal=self._journal,
            decoding=self._order.decoding,
        )
        plane = SoftwarePlane(self._connect, self._sink, options, on_end=lambda *_: self._ended.set())
        plane.start()
        try:
            plane.add_camera(self._plan)
            with _progress_lines() if self._order.progress_json else _progress(self._order.info) as update:
                condition = self._wait(plane, update)
        finally:
            plane.close(CLOSE_TIMEOUT_S)
            self._sink.close()
        fault = condition.fault if condition is not None else None
        if fault is not None and not (fault.code == "truncated" and self._order.partial):
            raise CountlineError(fault.message, hint=fault.hint)
        return self._sink.summary()

    async def _connect(self) -> TritonClient:
        return await TritonClient.connect(self._served.address, self._served.transport)

    def _wait(self, plane: SoftwarePlane, update: Callable[[int, float, float], None]) -> CameraCondition | None:
        """Wait for the end, or until it is time to stop; returns the last condition, None where it came to none."""
        began, silence = 0.0, _Silence()
        try:
            while not self._ended.wait(POLL_S):
                began = began or (time.monotonic() if self._sink.frames else 0.0)
                if self._served.child is not None and self._served.child.has_ended:
                    raise self._served.child.failure()
                condition = plane.conditions().get(CAMERA_ID)
                silence.look(self._sink.frames, condition)
                if condition is not None:
                    update(self._sink.frames, condition.progress, condition.processed_fps)
                if began and 0 < self._order.seconds < time.monotonic() - began:
                    break
        except KeyboardInterrupt:
            if self._order.source.playback.is_finite:
                raise
        # A camera that is removed has no condition any more, so this comes first.
        condition = plane.conditions().get(CAMERA_ID)
        if not self._ended.is_set():
            plane.remove_camera(CAMERA_ID)
        return condition


class _Silence:
    """Ends a count for which nobody answers any more: a Triton that runs elsewhere may stay away."""

    def __init__(self) -> None:
        self._frames = 0
        self._since = time.monotonic()

    def look(self, frames: int, condition: CameraCondition | None) -> None:
        """Take note of the frames until now.

        Raises:
            UnavailableError: none came for too long, and Triton is to blame.
        """
        if frames != self._frames:
            self._frames, self._since = frames, time.monotonic()
        fault = condition.fault if condition is not None else None
        if fault is not None and fault.code in AWAY_CODES and time.monotonic() - self._since > AWAY_S:
            raise UnavailableError(fault.message, hint=fault.hint)


def _run_name(order: _Order, model_hash: str) -> str:
    """The same for the same video, model and way of looking at it; empty (a new name) for a stream."""
    if not order.source.playback.is_finite:
        return ""
    content = order.source.url if order.source.is_network else content_hash(Path(order.source.url))
    parts: tuple[str, ...] = (
        content,
        model_hash,
        f"{order.source.rate:g}",
        f"{order.counting.min_score:g}",
        str(order.counting.anchor),
    )
    if order.counting.masks:  # not otherwise: what was counted before there were masks keeps its name
        parts = (*parts, repr(order.counting.masks))
    return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()


class _Sink:
    """Adds up, and draws where that is wanted."""

    def __init__(self, order: _Order, journal: Journal | None, paths: TrajectoryFile) -> None:
        self._order = order
        self._paths = paths
        self._labels: tuple[str, ...] = ()
        self._journal = journal
        self._spec = CountingSpec()
        self._summary: Summary | None = None
        self._annotator: Annotator | None = None
        self.frames = 0
        self._first_t = self._last_t = 0.0
        self._period_s = 0.0

    def run_started(self, run: RunStarted) -> None:
        """Begin with the first run; a later one (another picture size) adds to the same sums."""
        self._period_s = run.period_s
        self._labels = run.labels
        if self._summary is not None:
            return
        self._spec = spec = counting_spec(self._order.counting, run.labels)
        self._summary = Summary(spec, lambda class_id: class_name(run.labels, class_id))
        if self._order.annotate is not None:
            self._annotator = Annotator(self._order.annotate, spec, run.labels, 1.0 / run.period_s)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """Add a frame."""
        tracked, events = counted.result.tracked, counted.result.events
        self._add(events)
        self._paths.write(events, identity, self._labels)
        self._first_t = tracked.t if self.frames == 0 else self._first_t
        self._last_t = tracked.t
        self.frames += 1
        if self._annotator is not None and counted.picture is not None:
            self._annotator.add(counted.picture, tracked, events)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:  # noqa: ARG002
        """Add what was decided late; one model counts here, so nothing ever is."""
        self._add(events)

    def span_compared(self, camera_id: str, span: TrialSpan) -> None:
        """Nothing follows here."""

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """Add what was decided at the end."""
        self._paths.write(events or (), identity, self._labels)
        if self._summary is not None:
            self._summary.end_run(events or (), self._last_t + self._period_s)

    def _add(self, events: Sequence[Event]) -> None:
        if self._summary is not None:
            self._summary.add(events)

    def close(self) -> None:
        """Finish the annotated video."""
        if self._annotator is not None:
            self._annotator.close()

    def summary(self) -> dict[str, Any]:
        """The summary, ready for JSON.

        Raises:
            NotFoundError: there was not one frame.
        """
        if self._summary is None:
            raise NotFoundError("the source gave no frame", hint="see whether another player shows it")
        told = self._summary.as_dict(frames=self.frames, duration_s=self._last_t - self._first_t + self._period_s)
        return told if self._journal is None else {**told, "explain": explained(self._journal, self._spec)}


@contextmanager
def _progress(info: VideoInfo) -> Iterator[Callable[[int, float, float], None]]:
    """A bar on standard error; yields what to call with frames, share done and frames a second."""
    total = info.frames or None
    columns = (
        TextColumn("counting"),
        BarColumn(),
        TextColumn("{task.completed:.0f} frames"),
        TextColumn("{task.fields[fps]:.0f} fps"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task: TaskID = bar.add_task("count", total=total, fps=0.0)

        def update(frames: int, share: float, fps: float) -> None:
            known = total or (frames / share if share > 0 else None)
            bar.update(task, completed=frames, total=known, fps=fps)

        yield update


@contextmanager
def _progress_lines() -> Iterator[Callable[[int, float, float], None]]:
    """The same for a program that has started this one: a JSON object a second, among what else is said there."""
    told_at = 0.0

    def update(frames: int, share: float, fps: float) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= PROGRESS_EVERY_S:
            told_at = time.monotonic()
            line = json.dumps({"frames": frames, "share": round(share, 4), "fps": round(fps, 1)})
            print(line, file=sys.stderr, flush=True)

    yield update

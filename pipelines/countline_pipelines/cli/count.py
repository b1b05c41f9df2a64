"""`countline count`: count one file or stream, with no services but a Triton of its own.

The way of a frame is that of the worker: the same plane, tracker and counter; only the sink differs.
"""

import hashlib
import json
import os
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
from countline_common.errors import CountlineError, InvalidInputError, NotFoundError
from countline_common.private_triton import PrivateTriton, find_model, prepare_model, private_triton
from countline_common.scratch import scratch_folder
from countline_pipelines.annotate import Annotator
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
from countline_pipelines.content import content_hash
from countline_pipelines.counting import CountingSpec, Event, Identity
from countline_pipelines.counting.explain import Journal
from countline_pipelines.explain_report import explained
from countline_pipelines.plane import (
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
from countline_pipelines.publishing.trajectories import class_name
from countline_pipelines.report import Summary
from countline_pipelines.software.plane import PlaneOptions, SoftwarePlane
from countline_pipelines.sources import Playback, RtspTransport, SourceSpec, VideoInfo, VideoReader, source_address
from countline_pipelines.spec_args import parse_spec
from countline_pipelines.trajectory_files import TrajectoryFile
from countline_pipelines.trials import TrialSpan
from countline_pipelines.triton.client import TritonClient

CAMERA_ID: Final = "count"
DEFAULT_MODEL: Final = "demo_detector"
CLOSE_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.1


def count(
    source: Annotated[str, typer.Argument(help="A video file, or an rtsp://, http:// or https:// address.")],
    model: Annotated[str, typer.Option(help="Name of a model in the repository, or an ONNX file.")] = DEFAULT_MODEL,
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
) -> None:
    """Count who crosses the lines of a video file or stream. Ctrl-C ends a stream and prints what was counted."""
    os.environ.setdefault(logs.LEVEL_VARIABLE, "WARNING")
    logs.configure("count")
    spec, info = _probe(source, transport, rate)
    size_wh = (info.width, info.height) if pixels else None
    names = tuple(name.strip() for name in classes.split(",") if name.strip()) if classes else ()
    drawn = parse_spec(
        line or [],
        zone or [],
        queues=queue or [],
        anchor=anchor,
        pixels_of=size_wh,
        min_score=min_score,
        min_track_age_s=min_track_age,
        min_track_score=min_track_score,
        include=mask_include or [],
        ignore=mask_ignore or [],
        ground=ground or [],
    )
    plan = _counting_plan(drawn, names)
    if not plan.lines and not plan.zones and trajectories is None:
        raise InvalidInputError("there is nothing to count", cure="give --line or --zone")
    order = _Order(spec, info, plan, seconds=seconds, partial=partial, annotate=annotate, explain=explain)
    with TrajectoryFile(trajectories) as paths, _served(model, head, labels) as (server, model_name, fingerprint):
        result = _Job(order, server, model_name, fingerprint, paths).run()
    print(json.dumps(result)) if json_ else show(result)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be done."""

    source: SourceSpec
    info: VideoInfo
    counting: CountingPlan
    seconds: float
    partial: bool
    annotate: Path | None
    explain: bool


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


@contextmanager
def _served(model: str, head: str | None, labels: Path | None) -> Iterator[tuple[PrivateTriton, str, str]]:
    """A Triton that serves the model: itself, the model's name, and what tells this model from others."""
    console = Console(stderr=True)
    with scratch_folder("models") as folder:
        with console.status(f"preparing {model}"):
            is_file = model.endswith(".onnx") or "/" in model
            prepared = prepare_model(Path(model), head, labels, folder) if is_file else find_model(model)
        fingerprint = content_hash(*sorted((prepared.repository / prepared.name).glob("*/model.*")))
        with private_triton(prepared.repository) as server:
            with console.status("starting Triton"):
                server.wait_ready()
            yield server, prepared.name, fingerprint


class _Job:
    """One count, from the plane's start to the summary."""

    def __init__(
        self, order: _Order, server: PrivateTriton, model: str, model_hash: str, paths: TrajectoryFile
    ) -> None:
        self._order = order
        self._server = server
        self._plan = CameraPlan(CAMERA_ID, order.source, model, order.counting, run=_run_name(order, model_hash))
        self._journal = Journal() if order.explain else None
        self._sink = _Sink(order, self._journal, paths)
        self._ended = threading.Event()

    def run(self) -> dict[str, Any]:
        """Count; returns the summary.

        Raises:
            CountlineError: what stopped it.
        """
        options = PlaneOptions(once=True, keep_pictures=self._order.annotate is not None, journal=self._journal)
        plane = SoftwarePlane(self._connect, self._sink, options, on_end=lambda _: self._ended.set())
        plane.start()
        try:
            plane.add_camera(self._plan)
            with _progress(self._order.info, enabled=True) as update:
                condition = self._wait(plane, update)
        finally:
            plane.close(CLOSE_TIMEOUT_S)
            self._sink.close()
        fault = condition.fault if condition is not None else None
        if fault is not None and not (fault.code == "truncated" and self._order.partial):
            raise CountlineError(fault.message, cure=fault.cure)
        return self._sink.summary()

    async def _connect(self) -> TritonClient:
        return await TritonClient.connect(self._server.address)

    def _wait(self, plane: SoftwarePlane, update: Callable[[int, float, float], None]) -> CameraCondition | None:
        """Wait for the end, or until it is time to stop; returns the last condition, None where it came to none."""
        began = 0.0
        try:
            while not self._ended.wait(POLL_S):
                began = began or (time.monotonic() if self._sink.frames else 0.0)
                if self._server.has_ended:
                    raise self._server.failure()
                condition = plane.conditions().get(CAMERA_ID)
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
            raise NotFoundError("the source gave no frame", cure="see whether another player shows it")
        told = self._summary.as_dict(frames=self.frames, duration_s=self._last_t - self._first_t + self._period_s)
        return told if self._journal is None else {**told, "explain": explained(self._journal, self._spec)}


@contextmanager
def _progress(info: VideoInfo, *, enabled: bool) -> Iterator[Callable[[int, float, float], None]]:
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
    with Progress(*columns, console=Console(stderr=True), disable=not enabled) as bar:
        task: TaskID = bar.add_task("count", total=total, fps=0.0)

        def update(frames: int, share: float, fps: float) -> None:
            known = total or (frames / share if share > 0 else None)
            bar.update(task, completed=frames, total=known, fps=fps)

        yield update

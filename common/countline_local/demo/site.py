"""The demo site: clips with known true crossings, rendered once, played for ever as live cameras.

Rendering begins with the parts, so that the first clip is there when they are ready; each camera is set up as soon as
its clip is. What was set up is remembered in the data folder: a camera that somebody deleted does not come back.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from countline.v1 import cameras_pb2
from countline_common.cli.child_commands import command_line
from countline_common.errors import (
    AlreadyExistsError,
    CountlineError,
    DeadlineExceededError,
    InternalError,
    NotFoundError,
    UnavailableError,
)
from countline_common.grpc.client import Client, connect
from countline_common.grpc.discovery import discover
from countline_common.grpc.errors import translated
from countline_common.http import rest_client
from countline_common.resilience.retry import retrying
from countline_local.parts.system import System
from countline_local.supervision.guard_client import Launch
from countline_local.supervision.log_files import size_bytes, tail
from countline_local.supervision.part import PartEvent
from countline_local.supervision.supervisor import Supervisor
from countline_local.up.display import Display

SITE: Final = "demo"
SITE_TITLE: Final = "Demo"
MODEL: Final = "demo_detector"
RENDERED: Final = "rendered"
"""The source of the truth sets that are made here."""
SOME_PERIOD_START: Final = "1970-01-01T00:00:00Z"
"""A clip plays in phase with the wall clock: position = Unix time modulo duration."""
POLL_S: Final = 0.2
REGISTER_TIMEOUT_S: Final = 120.0
CALL_TIMEOUT_S: Final = 10.0
TAIL_LINES: Final = 10
NICE: Final = ("nice", "-n", "5")
"""Rendering takes all cores for some seconds; the parts that start meanwhile go first."""


@dataclass(frozen=True, slots=True)
class SiteClip:
    """A rendered clip, parsed from the renderer's line of JSON."""

    name: str
    title: str
    version: int
    path: Path
    duration_s: float
    time_zone: str
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    """Ids with points, normalised."""
    zones: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    truth: tuple[dict[str, Any], ...]
    """`line`, `t` (seconds since the clip's start), `direction`, `class`."""

    @classmethod
    def parse(cls, line: str) -> "SiteClip":
        """Read a line of JSON."""
        found = json.loads(line)
        return cls(
            name=found["name"],
            title=found["title"],
            version=found["version"],
            path=Path(found["path"]),
            duration_s=found["duration_s"],
            time_zone=found["site_time_zone"],
            lines=tuple((item["id"], _points(item["points"])) for item in found["lines"]),
            zones=tuple((item["id"], _points(item["polygon"])) for item in found["zones"]),
            truth=tuple(found["truth"]),
        )

    def camera(self) -> cameras_pb2.Camera:
        """The camera that plays the clip."""
        lines = [cameras_pb2.Line(line_id=name, points=_to_proto(points)) for name, points in self.lines]
        zones = [cameras_pb2.Zone(zone_id=name, polygon=_to_proto(points)) for name, points in self.zones]
        spec = cameras_pb2.CameraSpec(model=MODEL, lines=lines, zones=zones, playback=cameras_pb2.PLAYBACK_LOOP)
        return cameras_pb2.Camera(
            camera_id=self.name, site_id=SITE, name=self.title, stream_url=self.path.as_uri(), spec=spec
        )

    def truth_sets(self) -> list[dict[str, Any]]:
        """One truth set per line in the form of REST, also for lines without crossings."""
        return [
            {
                "camera_id": self.name,
                "line_id": line_id,
                "start": SOME_PERIOD_START,
                "duration_s": self.duration_s,
                "repeats": True,
                "crossings": [_true_crossing(item) for item in self.truth if item["line"] == line_id],
                "source": RENDERED,
            }
            for line_id, _ in self.lines
        ]


def _points(pairs: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in pairs)


def _to_proto(points: tuple[tuple[float, float], ...]) -> list[cameras_pb2.Point]:
    return [cameras_pb2.Point(x=x, y=y) for x, y in points]


def _true_crossing(item: dict[str, Any]) -> dict[str, Any]:
    return {"t": item["t"], "direction": item["direction"], "class_name": item["class"]}


class Remembered:
    """The file of the clips that were set up, with their versions."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, clip: SiteClip) -> bool:
        """Whether this version was set up."""
        return self._load().get(clip.name) == clip.version

    def add(self, clip: SiteClip) -> None:
        """Record that this version is set up."""
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({**self._load(), clip.name: clip.version}) + "\n")
        partial.replace(self._path)

    def _load(self) -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found


async def set_up_demo(system: System, supervisor: Supervisor, display: Display) -> None:
    """Render missing clips and set up new cameras. A camera that cannot be set up is reported and skipped.

    Raises:
        InternalError: the clips cannot be rendered.
    """
    remembered = Remembered(system.data.demo / "set-up.json")
    async with contextlib.aclosing(render(system, supervisor)) as clips:
        async for clip in clips:
            if remembered.has(clip):
                continue
            await supervisor.wait_ready()
            try:
                await _register(system, clip)
            except CountlineError as error:
                display.event(PartEvent("demo", f"camera {clip.name} cannot be set up: {error.message}; {error.hint}"))
            else:
                remembered.add(clip)


async def render(system: System, supervisor: Supervisor) -> AsyncGenerator[SiteClip, None]:
    """Run the renderer and yield each clip when it is ready, those of earlier runs first.

    Raises:
        InternalError: rendering failed; finished clips were yielded before.
    """
    log = system.data.logs / "demo.log"
    position = size_bytes(log)
    argv = (*NICE, *command_line("models", "render-demo", "--out", str(system.data.demo), "--json"))
    launch = Launch("demo", argv, system.environment(), Path("/"), log)
    rendering = asyncio.create_task(supervisor.run_once(launch), name="render-demo")
    try:
        while True:
            finished = rendering.done()
            lines, position = await asyncio.to_thread(_read_lines, log, position)
            for line in lines:
                if line.startswith("{"):
                    yield SiteClip.parse(line)
            if finished:
                break
            await asyncio.sleep(POLL_S)
        if rendering.result() != 0:
            said = " / ".join(tail(log, TAIL_LINES))
            raise InternalError(f"the demo clips cannot be rendered: {said}", hint=f"see {log}")
    finally:
        rendering.cancel()
        await asyncio.gather(rendering, return_exceptions=True)


def _read_lines(path: Path, position: int) -> tuple[list[str], int]:
    """Whole lines from a position on, and the position behind them; bytes."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            whole = file.read().rpartition(b"\n")[0]
    except FileNotFoundError:
        return [], position
    return (whole.decode().splitlines(), position + len(whole) + 1) if whole else ([], position)


async def _register(system: System, clip: SiteClip) -> None:
    """Create missing site, camera and truth; retry each step while a service is away."""
    async with connect(discover(server=None, data=system.data.root)) as client:
        for step in (_create_site, _create_or_update_camera, _replace_truth):
            async for attempt in retrying(_may_pass, timeout_s=REGISTER_TIMEOUT_S, longest_s=3.0):
                with attempt, translated():
                    await step(client, clip)


def _may_pass(error: Exception) -> bool:
    """Whether a retry may succeed; analytics finds a new camera only a moment after its creation."""
    return isinstance(error, UnavailableError | DeadlineExceededError | NotFoundError)


async def _create_site(client: Client, clip: SiteClip) -> None:
    site = cameras_pb2.Site(site_id=SITE, title=SITE_TITLE, time_zone=clip.time_zone)
    with contextlib.suppress(AlreadyExistsError), translated():
        await client.cameras.CreateSite(cameras_pb2.CreateSiteRequest(site=site))


async def _create_or_update_camera(client: Client, clip: SiteClip) -> None:
    camera = clip.camera()
    try:
        with translated():
            await client.cameras.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))
    except AlreadyExistsError:  # of an earlier version, or of a set-up that was cut short
        request = cameras_pb2.UpdateCameraRequest(camera=camera)
        request.update_mask.paths.extend(["title", "spec"])
        await client.cameras.UpdateCamera(request)


async def _replace_truth(client: Client, clip: SiteClip) -> None:
    url = f"{client.rest_base_url}/api/v1/cameras/{clip.name}/truth"
    headers = await client.authorization()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)) as session:
        known = await rest_client.call(session, "GET", url, headers)
        for truth_set in known.get("truth_sets", []):
            if truth_set["source"] == RENDERED:
                await rest_client.call(session, "DELETE", f"{url}/{truth_set['truth_set_id']}", headers)
        for truth_set in clip.truth_sets():
            await rest_client.call(session, "POST", url, headers, body=truth_set)

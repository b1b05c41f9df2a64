"""`countline cameras`: what is watched and counted."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1.cameras_pb2 import (
    Camera,
    CameraSpec,
    CreateCameraRequest,
    DeleteCameraRequest,
    GetCameraRequest,
    ListCamerasRequest,
    Playback,
    RtspTransport,
    UpdateCameraRequest,
)
from countline_common.cli.completion import complete_camera
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    YesOption,
    ask,
    confirm,
    every_page,
    note,
    print_json,
    print_message,
    print_table,
)
from countline_common.errors import InvalidInputError
from countline_common.grpc.client import Client
from countline_common.http.rest_json import to_json
from countline_control.cameras.sources import file_url
from countline_control.cli.camera_view import print_camera, row
from countline_control.cli.changes import Changes, changed_spec
from countline_control.cli.sites import all_sites

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What is watched and counted.")


class PlaybackOption(StrEnum):
    """How a source is played."""

    LIVE = "live"
    REALTIME = "realtime"
    FAST = "fast"
    LOOP = "loop"


class TransportOption(StrEnum):
    """How RTSP travels."""

    TCP = "tcp"
    UDP = "udp"


CameraArgument = Annotated[str, typer.Argument(metavar="ID", help="The camera.", autocompletion=complete_camera)]
LineOption = Annotated[
    list[str] | None,
    typer.Option("--line", help="NAME:x1,y1,x2,y2[,…][:CLASS,…], fractions of the picture; may be repeated."),
]
ZoneOption = Annotated[
    list[str] | None, typer.Option("--zone", help="NAME:x1,y1,x2,y2,x3,y3[,…][:CLASS,…]; may be repeated.")
]
QueueOption = Annotated[list[str] | None, typer.Option("--queue", help="A zone in which objects wait; as --zone.")]
IncludeOption = Annotated[
    list[str] | None,
    typer.Option("--mask-include", help="NAME:x1,y1,x2,y2,x3,y3[,…]; only boxes that stand in one are seen."),
]
IgnoreOption = Annotated[
    list[str] | None, typer.Option("--mask-ignore", help="NAME:x1,y1,x2,y2,x3,y3[,…]; boxes in it are not seen.")
]
GroundOption = Annotated[
    list[str] | None, typer.Option("--ground", help="x,y=X,Y: where a point lies on the ground in metres; four times.")
]
AgeOption = Annotated[
    float | None, typer.Option("--min-track-age", help="Objects seen for fewer seconds cross nothing; at most 2.5.")
]
TrackScoreOption = Annotated[
    float | None, typer.Option("--min-track-score", help="Objects of a lower mean score cross nothing.")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Name in the model repository; else the default.")]
RateOption = Annotated[float | None, typer.Option("--rate", help="Frames a second to look at; 0 for all.")]
ScoreOption = Annotated[float | None, typer.Option("--min-score", help="Else the model's own threshold.")]
AnchorOption = Annotated[
    str | None, typer.Option("--anchor", help="bottom, centre, or X,Y as fractions of the box; default: bottom.")
]
TitleOption = Annotated[str | None, typer.Option("--title", help="For people.")]
PlaybackChoice = Annotated[
    PlaybackOption | None, typer.Option("--playback", help="Else streams are live and files realtime.")
]
TransportChoice = Annotated[TransportOption | None, typer.Option("--transport", help="Of RTSP; else tcp.")]
RecordedOption = Annotated[
    str | None, typer.Option("--recorded-at", help="When a file's first frame was taken, RFC 3339; else now.")
]


@app.command("add")
def add(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")],
    url: Annotated[str, typer.Argument(help="rtsp://, http://, file:// …, or the path of a file.")],
    site: Annotated[str | None, typer.Option(help="Needed where there is more than one.")] = None,
    line: LineOption = None,
    zone: ZoneOption = None,
    queue: QueueOption = None,
    model: ModelOption = None,
    rate: RateOption = None,
    min_score: ScoreOption = None,
    anchor: AnchorOption = None,
    mask_include: IncludeOption = None,
    mask_ignore: IgnoreOption = None,
    min_track_age: AgeOption = None,
    min_track_score: TrackScoreOption = None,
    ground: GroundOption = None,
    title: TitleOption = None,
    playback: PlaybackChoice = None,
    transport: TransportChoice = None,
    recorded_at: RecordedOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create a camera; a worker takes it up within seconds."""
    changes = _changes(
        line, zone, model, rate, min_score, anchor, playback, transport, recorded_at, url=url, queue=queue
    )
    changes = _with_limits(changes, mask_include, mask_ignore, min_track_age, min_track_score)
    spec, _ = changed_spec(CameraSpec(), _with_ground(changes, ground))

    async def question(client: Client) -> Camera:
        site_id = site or await _only_site(client)
        camera = Camera(camera_id=camera_id, site_id=site_id, title=title or "", spec=spec)
        return (await client.cameras.CreateCamera(CreateCameraRequest(camera=camera))).camera

    _tell(ask(server, data, question), "Created", as_json=json)


@app.command("list")
def list_(
    site: Annotated[str, typer.Option(help="Only those of one site.")] = "",
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """List cameras with how they do."""

    async def question(client: Client) -> list[Camera]:
        return await all_cameras(client, site)

    cameras = ask(server, data, question)
    if json:
        print_json({"cameras": [to_json(camera) for camera in cameras]})
        return
    columns = ("CAMERA", "SITE", "STATE", "FPS", "LINES", "SOURCE")
    nothing = "There is no camera yet: countline cameras add ID URL --line NAME:x1,y1,x2,y2"
    print_table(columns, [row(camera) for camera in cameras], nothing)


@app.command("show")
def show(
    camera_id: CameraArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Show a camera with everything that is known of it."""

    async def question(client: Client) -> Camera:
        return (await client.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))).camera

    camera = ask(server, data, question)
    if json:
        print_message(camera)
    else:
        print_camera(camera)


@app.command("set")
def set_(
    camera_id: CameraArgument,
    url: Annotated[str | None, typer.Option(help="A new source; *** keeps the password that is stored.")] = None,
    line: LineOption = None,
    rm_line: Annotated[list[str] | None, typer.Option(help="Name of a line; may be repeated.")] = None,
    zone: ZoneOption = None,
    queue: QueueOption = None,
    rm_zone: Annotated[list[str] | None, typer.Option(help="Name of a zone or queue; may be repeated.")] = None,
    model: ModelOption = None,
    rate: RateOption = None,
    min_score: ScoreOption = None,
    anchor: AnchorOption = None,
    mask_include: IncludeOption = None,
    mask_ignore: IgnoreOption = None,
    min_track_age: AgeOption = None,
    min_track_score: TrackScoreOption = None,
    title: TitleOption = None,
    playback: PlaybackChoice = None,
    transport: TransportChoice = None,
    recorded_at: RecordedOption = None,
    rm_mask: Annotated[list[str] | None, typer.Option(help="Name of a mask; may be repeated.")] = None,
    ground: GroundOption = None,
    rm_ground: Annotated[bool, typer.Option("--rm-ground", help="Tell no speeds any more.")] = False,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Switch it on or off.")] = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Change a camera; lines and zones are added, or replaced by name."""
    changes = _changes(
        line, zone, model, rate, min_score, anchor, playback, transport, recorded_at,
        url=url, queue=queue, rm_line=rm_line, rm_zone=rm_zone, enable=enable,
    )  # fmt: skip
    changes = _with_limits(changes, mask_include, mask_ignore, min_track_age, min_track_score, rm_mask)
    changes = _with_ground(changes, ground, removed=rm_ground)

    async def question(client: Client) -> Camera:
        stored = (await client.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))).camera
        spec, paths = changed_spec(stored.spec, changes)
        if title is not None:
            paths.append("title")
        if not paths:
            raise InvalidInputError("nothing to change was given", hint="see countline cameras set --help")
        # Lines were read, changed and are sent back whole: somebody else's change in between must not be lost.
        camera = Camera(camera_id=camera_id, title=title or "", spec=spec, revision=stored.revision)
        request = UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=paths))
        return (await client.cameras.UpdateCamera(request)).camera

    _tell(ask(server, data, question), "Changed", as_json=json)


@app.command("rm")
def remove(
    camera_id: CameraArgument, yes: YesOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Delete a camera; what it counted stays."""
    confirm(f"Delete the camera {camera_id}? What it counted stays.", yes=yes)

    async def question(client: Client) -> None:
        await client.cameras.DeleteCamera(DeleteCameraRequest(camera_id=camera_id))

    ask(server, data, question)
    note(f"Deleted the camera {camera_id}.")


async def all_cameras(client: Client, site_id: str = "") -> list[Camera]:
    """Every camera, or those of a site."""
    return await every_page(
        lambda token: client.cameras.ListCameras(ListCamerasRequest(page_token=token, site_id=site_id)),
        lambda answer: answer.cameras,
    )


async def _only_site(client: Client) -> str:
    sites = await all_sites(client)
    if len(sites) == 1:
        return sites[0].site_id
    if not sites:
        raise InvalidInputError("there is no site yet", hint="countline sites add ID --time-zone ZONE")
    known = ", ".join(site.site_id for site in sites)
    raise InvalidInputError(f"there are {len(sites)} sites: {known}", hint="say which with --site")


def _changes(
    line: Sequence[str] | None,
    zone: Sequence[str] | None,
    model: str | None,
    rate: float | None,
    min_score: float | None,
    anchor: str | None,
    playback: PlaybackOption | None,
    transport: TransportOption | None,
    recorded_at: str | None,
    *,
    url: str | None,
    queue: Sequence[str] | None = None,
    rm_line: Sequence[str] | None = None,
    rm_zone: Sequence[str] | None = None,
    enable: bool | None = None,
) -> Changes:
    return Changes(
        source_url=_source_url(url) if url is not None else None,
        lines=tuple(line or ()),
        removed_lines=frozenset(rm_line or ()),
        zones=tuple(zone or ()),
        queues=tuple(queue or ()),
        removed_zones=frozenset(rm_zone or ()),
        model=model,
        processing_rate=rate,
        min_score=min_score,
        anchor=anchor,
        playback=Playback.Value(f"PLAYBACK_{playback.name}") if playback else None,
        rtsp_transport=RtspTransport.Value(f"RTSP_TRANSPORT_{transport.name}") if transport else None,
        recorded_at=recorded_at,
        disabled=None if enable is None else not enable,
    )


def _with_ground(changes: Changes, ground: Sequence[str] | None, *, removed: bool = False) -> Changes:
    if removed and ground:
        raise InvalidInputError("--rm-ground and --ground exclude each other", hint="give one of them")
    return replace(changes, ground=tuple(ground or ())) if removed or ground else changes


def _with_limits(
    changes: Changes,
    include: Sequence[str] | None,
    ignore: Sequence[str] | None,
    min_track_age_s: float | None,
    min_track_score: float | None,
    rm_mask: Sequence[str] | None = None,
) -> Changes:
    """Add what keeps boxes and objects from being counted."""
    return replace(
        changes,
        include_masks=tuple(include or ()),
        ignore_masks=tuple(ignore or ()),
        removed_masks=frozenset(rm_mask or ()),
        min_track_age_s=min_track_age_s,
        min_track_score=min_track_score,
    )


def _source_url(text: str) -> str:
    """The address; the path of a file that is there becomes its address."""
    if "://" in text:
        return text
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}", hint="give an address, or the path of a file that is there")
    return file_url(str(path.resolve()))


def _tell(camera: Camera, what: str, *, as_json: bool) -> None:
    if as_json:
        print_message(camera)
    else:
        note(f"{what} the camera {camera.camera_id} (revision {camera.revision}).")

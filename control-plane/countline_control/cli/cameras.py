"""`countline cameras`."""

from collections.abc import Awaitable
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
    ListCamerasResponse,
    UpdateCameraRequest,
)
from countline_common.cli.completion import complete_camera
from countline_common.cli.options import grouped
from countline_common.cli.output import is_wide
from countline_common.cli.terminal import Styled
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    YesOption,
    ask,
    confirm,
    note,
    print_change,
    print_json,
    print_message,
    print_table,
)
from countline_common.cli.watching import WatchOption, watch_table
from countline_common.errors import InvalidInputError
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json
from countline_control.cli.camera_options import (
    CountingOptions,
    GeometryOptions,
    RemovalOptions,
    SourceOptions,
    changes_of,
    source_url,
)
from countline_control.cli.camera_places import FilterOptions, PlaceOptions, filter_of, set_place
from countline_control.cli.camera_view import COLUMNS, MORE_COLUMNS, more_of_row, print_camera, row
from countline_control.cli.changes import changed_spec, parse_time

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Manage cameras.")

CameraArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the camera.", autocompletion=complete_camera)]


@app.command("add")
@grouped
def add(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")],
    url: Annotated[str, typer.Argument(help="Address (rtsp://, http://, file://, …), or path of a file.")],
    site: Annotated[str, typer.Option(help="Site of the camera; needed if there are several.")] = "",
    *,
    place: PlaceOptions,
    geometry: GeometryOptions,
    counting: CountingOptions,
    source: SourceOptions,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create a camera. A worker starts to process it within seconds.

    Example: countline cameras add door rtsp://user:password@10.0.0.7/live --line gate:0.1,0.5,0.9,0.5
    """
    spec, _ = changed_spec(CameraSpec(), changes_of(geometry, counting, source))
    camera = Camera(camera_id=camera_id, site_id=site, name=camera_id, stream_url=source_url(url), spec=spec)
    set_place(camera, place)

    async def question(client: Client) -> Camera:
        return (await client.cameras.CreateCamera(CreateCameraRequest(camera=camera))).camera

    _print_change(ask(server, data, question), "Created", as_json=json)


@app.command("list")
@grouped
def list_(
    *,
    shown: FilterOptions,
    watch: WatchOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """List cameras: what is wanted of them, and what is observed.

    Example: countline cameras list --site lab --observed offline
    """
    request = filter_of(shown)

    async def question(client: Client) -> list[Camera]:
        return await all_cameras(client, request)

    columns = (*COLUMNS, *MORE_COLUMNS) if is_wide() else COLUMNS
    if watch:
        watch_table(columns, lambda: [_cells(each) for each in ask(server, data, question)], as_json=json)
    cameras = ask(server, data, question)
    if json:
        print_json({"cameras": [to_json(camera) for camera in cameras]})
        return
    nothing = "No cameras found. Add one: countline cameras add ID URL --line NAME:x1,y1,x2,y2"
    print_table(columns, [_cells(camera) for camera in cameras], nothing)


def _cells(camera: Camera) -> tuple[str | Styled, ...]:
    return (*row(camera), *more_of_row(camera)) if is_wide() else row(camera)


@app.command("show")
def show(
    camera_id: CameraArgument,
    at: Annotated[str, typer.Option("--at", help="A past time, such as 2026-03-01T12:00:00Z.")] = "",
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show the configuration and the status of a camera, or its configuration at a past time.

    Example: countline cameras show door --at 2026-03-01T12:00:00Z
    """
    request = GetCameraRequest(camera_id=camera_id, at=parse_time(at) if at else None)

    async def question(client: Client) -> Camera:
        return (await client.cameras.GetCamera(request)).camera

    camera = ask(server, data, question)
    if json:
        print_message(camera)
    else:
        print_camera(camera)


@app.command("set")
@grouped
def set_(
    camera_id: CameraArgument,
    url: Annotated[str | None, typer.Option(help="New source; *** keeps the stored password.")] = None,
    *,
    place: PlaceOptions,
    geometry: GeometryOptions,
    counting: CountingOptions,
    source: SourceOptions,
    removal: RemovalOptions,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Change a camera. Lines, zones and masks are added, or replaced by name.

    Example: countline cameras set door --line gate:0.1,0.6,0.9,0.6:person --rate 12
    """
    changes = changes_of(geometry, counting, source, removal)
    camera = Camera(camera_id=camera_id)
    touched = set_place(camera, place)
    if url is not None:
        camera.stream_url = source_url(url)
        touched.append("stream_url")

    async def question(client: Client) -> Camera:
        stored = (await client.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))).camera
        spec, paths = changed_spec(stored.spec, changes)
        if not (paths := [*touched, *paths]):
            raise InvalidInputError("no change was given", hint="see countline cameras set --help")
        # All lines are sent back; the revision prevents that another user's change in between is lost.
        camera.spec.CopyFrom(spec)
        camera.revision = stored.revision
        request = UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=paths))
        return (await client.cameras.UpdateCamera(request)).camera

    _print_change(ask(server, data, question), "Changed", as_json=json)


@app.command("rm")
def remove(
    camera_id: CameraArgument, yes: YesOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Delete a camera. Its counts are kept.

    Example: countline cameras rm door --yes
    """

    async def read(client: Client) -> None:
        await client.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))

    async def question(client: Client) -> None:
        await client.cameras.DeleteCamera(DeleteCameraRequest(camera_id=camera_id))

    confirm(f"Delete camera {camera_id}? Its counts are kept.", yes=yes, check=lambda: ask(server, data, read))
    ask(server, data, question)
    note(f"Deleted camera {camera_id}.")


async def all_cameras(client: Client, request: ListCamerasRequest) -> list[Camera]:
    """Return every camera that passes the request's filter."""

    def ask_page(token: str) -> Awaitable[ListCamerasResponse]:
        request.page_token = token
        return client.cameras.ListCameras(request)

    return await every_page(ask_page, lambda answer: answer.cameras)


def _print_change(camera: Camera, what: str, *, as_json: bool) -> None:
    print_change(camera, f"{what} camera {camera.camera_id} (revision {camera.revision}).", as_json=as_json)

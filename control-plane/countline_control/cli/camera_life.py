"""`countline cameras` pause, resume, deactivate and retire."""

from pathlib import Path

from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraStatus, GetCameraRequest, UpdateCameraRequest
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, YesOption, ask, confirm, print_change
from countline_common.grpc.client import Client
from countline_control.cli.cameras import CameraArgument, app

__all__ = ["app"]


@app.command("pause")
def pause(
    camera_id: CameraArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Stop counting for a while, such as for works in the street.

    Example: countline cameras pause door
    """
    _set_status(camera_id, cameras_pb2.CAMERA_STATUS_PAUSED, "Paused", server, data, as_json=json)


@app.command("resume")
def resume(
    camera_id: CameraArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Count a paused or inactive camera again.

    Example: countline cameras resume door
    """
    _set_status(camera_id, cameras_pb2.CAMERA_STATUS_ACTIVE, "Resumed", server, data, as_json=json)


@app.command("deactivate")
def deactivate(
    camera_id: CameraArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Switch a camera off until further notice.

    Example: countline cameras deactivate door
    """
    _set_status(camera_id, cameras_pb2.CAMERA_STATUS_INACTIVE, "Deactivated", server, data, as_json=json)


@app.command("retire")
def retire(
    camera_id: CameraArgument,
    yes: YesOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """End a camera for ever. Its counts and its history stay.

    Example: countline cameras retire door --yes
    """

    async def read(client: Client) -> None:
        await client.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))

    question = f"Retire camera {camera_id}? It cannot become active again; its counts are kept."
    confirm(question, yes=yes, check=lambda: ask(server, data, read))
    _set_status(camera_id, cameras_pb2.CAMERA_STATUS_RETIRED, "Retired", server, data, as_json=json)


def _set_status(
    camera_id: str, status: CameraStatus.ValueType, what: str, server: str | None, data: Path | None, *, as_json: bool
) -> None:
    async def question(client: Client) -> Camera:
        camera = Camera(camera_id=camera_id, status=status)
        request = UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=["status"]))
        return (await client.cameras.UpdateCamera(request)).camera

    camera = ask(server, data, question)
    print_change(camera, f"{what} camera {camera.camera_id} (revision {camera.revision}).", as_json=as_json)

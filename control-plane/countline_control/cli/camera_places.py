"""What people call cameras, where they hang, and by what `countline cameras list` finds them."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraStatus, GeoPosition, ListCamerasRequest, ObservedState
from countline_common.cli.enum_options import enum_option
from countline_common.errors import InvalidInputError

_PLACE: Final = "Name and place"


@dataclass(frozen=True)
class PlaceOptions:
    """What people call a camera, and where it hangs."""

    name: Annotated[
        str | None, typer.Option("--name", help="What people call it; for new cameras the id.", rich_help_panel=_PLACE)
    ] = None
    location: Annotated[
        str | None, typer.Option("--location", help="Where it hangs, in words.", rich_help_panel=_PLACE)
    ] = None
    position: Annotated[
        str | None,
        typer.Option("--position", help="LATITUDE,LONGITUDE in degrees; empty for none.", rich_help_panel=_PLACE),
    ] = None
    floor: Annotated[str | None, typer.Option("--floor", help="Floor, such as 2.", rich_help_panel=_PLACE)] = None
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Tag; the given ones replace all. An empty one: none.", rich_help_panel=_PLACE),
    ] = None


def set_place(camera: Camera, place: PlaceOptions) -> list[str]:
    """Set the fields of a camera that the options name; return their paths.

    Raises:
        InvalidInputError: the position is no pair of numbers.
    """
    touched = []
    for field in ("name", "location", "floor"):
        if (value := getattr(place, field)) is not None:
            setattr(camera, field, value)
            touched.append(field)
    if place.position is not None:
        camera.ClearField("position")
        if place.position:
            camera.position.CopyFrom(_position(place.position))
        touched.append("position")
    if place.tag is not None:
        camera.tags[:] = [tag for tag in place.tag if tag]
        touched.append("tags")
    return touched


def _position(text: str) -> GeoPosition:
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError as error:
        hint = "write LATITUDE,LONGITUDE in degrees, such as 52.52,13.405"
        raise InvalidInputError(f"{text!r} is not a position", hint=hint) from error
    return GeoPosition(latitude=latitude, longitude=longitude)


@dataclass(frozen=True)
class FilterOptions:
    """Which cameras are listed, and in which order."""

    site: Annotated[str, typer.Option("--site", help="Only cameras of this site.")] = ""
    status: Annotated[
        CameraStatus.ValueType | None, enum_option(CameraStatus, "--status", help="Only cameras with this status.")
    ] = None
    observed: Annotated[
        ObservedState.ValueType | None,
        enum_option(ObservedState, "--observed", help="Only active cameras in this state."),
    ] = None
    location: Annotated[str, typer.Option("--location", help="Only cameras whose location contains this text.")] = ""
    worker: Annotated[str, typer.Option("--worker", help="Only cameras that this worker holds.")] = ""
    model: Annotated[str, typer.Option("--model", help="Only cameras counted with this NAME or NAME@VERSION.")] = ""
    tag: Annotated[str, typer.Option("--tag", help="Only cameras with this tag.")] = ""
    sort: Annotated[
        str, typer.Option("--sort", help="Field to sort by, such as name, or 'created_at desc' for the newest first.")
    ] = ""


def filter_of(shown: FilterOptions) -> ListCamerasRequest:
    """Return the request for these cameras."""
    return ListCamerasRequest(
        site_id=shown.site,
        status=shown.status or cameras_pb2.CAMERA_STATUS_UNSPECIFIED,
        observed=shown.observed or cameras_pb2.OBSERVED_STATE_UNSPECIFIED,
        location=shown.location,
        worker_id=shown.worker,
        model=shown.model,
        tag=shown.tag,
        order_by=shown.sort,
    )

"""The options of `countline cameras add` and `countline cameras set`, in groups that both share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from countline.v1.cameras_pb2 import Playback, RtspTransport
from countline_common.cli.drawings import (
    WHAT_COUNTS,
    GroundOption,
    LineOption,
    MaskIgnoreOption,
    MaskIncludeOption,
    QueueOption,
    ZoneOption,
)
from countline_common.cli.enum_options import enum_option
from countline_common.errors import InvalidInputError
from countline_common.files.text_files import check_file
from countline_control.cameras.sources import file_url
from countline_control.cli.changes import Changes
from countline_counting.limits import MAX_TRACK_AGE_S

_SOURCE: Final = "Source"
_MODEL: Final = "Model"
_REMOVAL: Final = "Removal"


_Texts = list[str] | None


@dataclass(frozen=True)
class GeometryOptions:
    """What is drawn on the picture."""

    line: LineOption = None
    zone: ZoneOption = None
    queue: QueueOption = None
    mask_include: MaskIncludeOption = None
    mask_ignore: MaskIgnoreOption = None
    ground: GroundOption = None


@dataclass(frozen=True)
class CountingOptions:
    """What is counted."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Model NAME or NAME@VERSION; empty for the default model.", rich_help_panel=_MODEL
        ),
    ] = None
    rate: Annotated[
        float | None, typer.Option("--rate", help="Frames per second to process; 0 for all.", rich_help_panel=_SOURCE)
    ] = None
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            help="Lowest score of a detection; 0 for the model's own threshold.",
            rich_help_panel=WHAT_COUNTS,
        ),
    ] = None
    anchor: Annotated[
        str | None,
        typer.Option(
            "--anchor",
            help="Tested point of a box: bottom, centre, or X,Y in fractions; for new cameras bottom.",
            rich_help_panel=WHAT_COUNTS,
        ),
    ] = None
    min_track_age: Annotated[
        float | None,
        typer.Option(
            "--min-track-age",
            help=f"Seconds that an object must be visible to count, at most {MAX_TRACK_AGE_S:g}.",
            rich_help_panel=WHAT_COUNTS,
        ),
    ] = None
    min_track_score: Annotated[
        float | None,
        typer.Option("--min-track-score", help="Lowest mean score of an object to count.", rich_help_panel=WHAT_COUNTS),
    ] = None


@dataclass(frozen=True)
class SourceOptions:
    """How the source is read."""

    playback: Annotated[
        Playback.ValueType | None,
        enum_option(
            Playback,
            "--playback",
            help="Playback mode; for new streams live, for new files realtime.",
            rich_help_panel=_SOURCE,
        ),
    ] = None
    transport: Annotated[
        RtspTransport.ValueType | None,
        enum_option(RtspTransport, "--transport", help="RTSP transport; for new cameras tcp.", rich_help_panel=_SOURCE),
    ] = None
    recorded_at: Annotated[
        str | None,
        typer.Option(
            "--recorded-at",
            help="Capture time of a file's first frame, RFC 3339; for new cameras now.",
            rich_help_panel=_SOURCE,
        ),
    ] = None


@dataclass(frozen=True)
class RemovalOptions:
    """What is removed from a camera."""

    rm_line: Annotated[
        _Texts, typer.Option("--rm-line", help="Name of a line to remove. Repeatable.", rich_help_panel=_REMOVAL)
    ] = None
    rm_zone: Annotated[
        _Texts,
        typer.Option("--rm-zone", help="Name of a zone or queue to remove. Repeatable.", rich_help_panel=_REMOVAL),
    ] = None
    rm_mask: Annotated[
        _Texts, typer.Option("--rm-mask", help="Name of a mask to remove. Repeatable.", rich_help_panel=_REMOVAL)
    ] = None
    rm_ground: Annotated[
        bool, typer.Option("--rm-ground", help="Remove the ground plane and its speeds.", rich_help_panel=_REMOVAL)
    ] = False


def changes_of(
    geometry: GeometryOptions,
    counting: CountingOptions,
    source: SourceOptions,
    removal: RemovalOptions = RemovalOptions(),
) -> Changes:
    """Build the changes that the options ask for.

    Raises:
        InvalidInputError: two options contradict each other.
    """
    if removal.rm_ground and geometry.ground:
        raise InvalidInputError("--ground and --rm-ground cannot be used together", hint="give one of them")
    return Changes(
        lines=tuple(geometry.line or ()),
        removed_lines=frozenset(removal.rm_line or ()),
        zones=tuple(geometry.zone or ()),
        queues=tuple(geometry.queue or ()),
        removed_zones=frozenset(removal.rm_zone or ()),
        include_masks=tuple(geometry.mask_include or ()),
        ignore_masks=tuple(geometry.mask_ignore or ()),
        removed_masks=frozenset(removal.rm_mask or ()),
        model=counting.model,
        processing_rate=counting.rate,
        min_score=counting.min_score,
        min_track_age_s=counting.min_track_age,
        min_track_score=counting.min_track_score,
        anchor=counting.anchor,
        ground=tuple(geometry.ground or ()) if geometry.ground or removal.rm_ground else None,
        playback=source.playback,
        rtsp_transport=source.transport,
        recorded_at=source.recorded_at,
    )


def source_url(text: str) -> str:
    """Return an address as it is; turn the path of an existing file into its address.

    Raises:
        InvalidInputError: the file does not exist.
    """
    if "://" in text:
        return text
    path = Path(text).expanduser().absolute()
    check_file(path, "give an address, or the path of an existing file")
    return file_url(str(path.resolve()))

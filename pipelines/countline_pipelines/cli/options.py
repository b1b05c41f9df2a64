"""Options that the commands which count share: their declarations, and what they say as one value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from countline_common.cli.drawings import (
    WHAT_COUNTS,
    GroundOption,
    LineOption,
    MaskIgnoreOption,
    MaskIncludeOption,
    QueueOption,
    ZoneOption,
)
from countline_common.errors import InvalidInputError
from countline_counting.limits import MAX_TRACK_AGE_S
from countline_counting.spec import CountingSpec
from countline_counting.text import read_names
from countline_pipelines.cli.spec_args import parse_spec

OUTPUT: Final = "Output"

ClassesOption = Annotated[
    str | None,
    typer.Option("--classes", help="Classes that count, separated by commas.", rich_help_panel=WHAT_COUNTS),
]
PixelsOption = Annotated[
    bool,
    typer.Option("--pixels/--no-pixels", help="Coordinates in pixels instead of 0..1.", rich_help_panel=WHAT_COUNTS),
]
AnchorOption = Annotated[
    str,
    typer.Option(
        "--anchor", help="Tested point of a box: bottom, centre, or X,Y in fractions.", rich_help_panel=WHAT_COUNTS
    ),
]
MinScoreOption = Annotated[
    float, typer.Option("--min-score", help="Lowest score of a detection.", min=0, max=1, rich_help_panel=WHAT_COUNTS)
]
MinTrackAgeOption = Annotated[
    float,
    typer.Option(
        "--min-track-age",
        help="Seconds that an object must be visible to count.",
        min=0,
        max=MAX_TRACK_AGE_S,
        rich_help_panel=WHAT_COUNTS,
    ),
]
MinTrackScoreOption = Annotated[
    float,
    typer.Option(
        "--min-track-score",
        help="Lowest mean score of an object to count.",
        min=0,
        max=1,
        rich_help_panel=WHAT_COUNTS,
    ),
]
KeepScoresOption = Annotated[
    bool,
    typer.Option(
        "--keep-scores",
        help="Take scores as they are, such as those of a list that was cut off at a threshold.",
        rich_help_panel=WHAT_COUNTS,
    ),
]
ExplainOption = Annotated[
    bool,
    typer.Option(
        "--explain", help="Report why each crossing counted and each near one did not.", rich_help_panel=OUTPUT
    ),
]
TrajectoriesOption = Annotated[
    Path | None,
    typer.Option("--trajectories", help="File for the paths of objects, for recount --from.", rich_help_panel=OUTPUT),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]


@dataclass(frozen=True, slots=True)
class SpecOptions:
    """What a command counts."""

    line: LineOption = None
    zone: ZoneOption = None
    queue: QueueOption = None
    pixels: PixelsOption = False
    anchor: AnchorOption = "bottom"
    min_score: MinScoreOption = 0.0
    min_track_age: MinTrackAgeOption = 0.0
    min_track_score: MinTrackScoreOption = 0.0
    mask_include: MaskIncludeOption = None
    mask_ignore: MaskIgnoreOption = None
    ground: GroundOption = None

    def spec(self, size_wh: tuple[int, int], classes: str | None = None, *, may_be_empty: bool = False) -> CountingSpec:
        """Return the spec for a picture of a size in pixels.

        Args:
            size_wh: of the picture.
            classes: value of `--classes`: classes that count on lines and zones without classes of their own.
            may_be_empty: whether there is something to do without lines and zones.

        Raises:
            InvalidInputError: an option cannot be read or counted with, or there is nothing to count.
        """
        spec = parse_spec(
            self.line or (),
            self.zone or (),
            queues=self.queue or (),
            anchor=self.anchor,
            pixels_of=size_wh if self.pixels else None,
            classes=read_names(classes),
            min_score=self.min_score,
            min_track_age_s=self.min_track_age,
            min_track_score=self.min_track_score,
            include=self.mask_include or (),
            ignore=self.mask_ignore or (),
            ground=self.ground or (),
        )
        if not spec.lines and not spec.zones and not may_be_empty:
            raise InvalidInputError("there is nothing to count", hint="give --line or --zone")
        return spec

"""Options for what is drawn on a picture, declared once for the commands of all rooms.

`countline_counting.text` reads their text.
"""

from typing import Annotated, Final

import typer

WHAT_COUNTS: Final = "What counts"
"""Title of their panel in the help."""

LineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--line",
        metavar="NAME:POINTS",
        help="Count line NAME:x1,y1,x2,y2[,…][:CLASS,…], coordinates 0..1. Repeatable.",
        rich_help_panel=WHAT_COUNTS,
    ),
]
ZoneOption = Annotated[
    list[str] | None,
    typer.Option(
        "--zone",
        metavar="NAME:POINTS",
        help="Zone NAME:x1,y1,x2,y2,x3,y3[,…][:CLASS,…]. Repeatable.",
        rich_help_panel=WHAT_COUNTS,
    ),
]
QueueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--queue",
        metavar="NAME:POINTS",
        help="Zone in which objects wait, as --zone. Repeatable.",
        rich_help_panel=WHAT_COUNTS,
    ),
]
MaskIncludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mask-include",
        metavar="NAME:POINTS",
        help="Area outside of which detections are ignored, as --zone. Repeatable.",
        rich_help_panel=WHAT_COUNTS,
    ),
]
MaskIgnoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mask-ignore",
        metavar="NAME:POINTS",
        help="Area in which detections are ignored, as --zone. Repeatable.",
        rich_help_panel=WHAT_COUNTS,
    ),
]
GroundOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ground",
        metavar="x,y=X,Y",
        help="Point of the picture and its place in metres. Give four.",
        rich_help_panel=WHAT_COUNTS,
    ),
]

"""Our lines as nvdsanalytics takes them, to compare its numbers with ours; pure.

It counts otherwise: each track crosses each label once in its life, the box must have moved by some pixels, and the
bottom centre is the point whatever our anchor is. So its numbers are no counts of ours; see `counting` for those.

A label has one direction, so each line becomes two, `NAME-In` and `NAME-Out`; a line of several pieces becomes as many,
`NAME.1-In` and so on. *In* is to the right of who stands at A and looks to B. Its totals outlive everything but a
reload of the file: they belong to a pad index, which is why this plane never uses one twice.
"""

import math
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from io import StringIO
from itertools import pairwise
from typing import Final

from countline_common.errors import InvalidInputError
from countline_counting import Line

DIRECTION_SHARE: Final = 0.1
"""Length of the arrow that says which way is in, as a share of the picture's smaller side."""
WINDOW_FRAMES: Final = 25
"""Named `obj-cnt-win-in-ms`, and used as a number of frames."""
Point = tuple[float, float]


def analytics_config(lines: Mapping[int, Sequence[Line]], size_wh: tuple[int, int]) -> str:
    """The text of the configuration.

    Args:
        lines: of each camera, by the index of its pad.
        size_wh: the space of the coordinates; the plugin scales from it to its frames.

    Raises:
        InvalidInputError: a line's id cannot be part of a key.
    """
    groups = ["[property]", "enable=1", f"config-width={size_wh[0]}", f"config-height={size_wh[1]}"]
    groups += ["osd-mode=0", f"obj-cnt-win-in-ms={WINDOW_FRAMES}", "display-obj-cnt=0", ""]
    for index, of_camera in sorted(lines.items()):
        if of_camera:
            groups += [f"[line-crossing-stream-{index}]", "enable=1", f"class-id={_classes(of_camera)}"]
            groups += ["extended=0", "mode=loose"]
            groups += [row for line in of_camera for row in _rows(line, size_wh)]
            groups.append("")
    return "\n".join(groups)


def _classes(lines: Sequence[Line]) -> str:
    """One list for all lines of a camera: all classes where one of the lines takes all."""
    wanted: set[str] = set()
    for line in lines:
        if not line.classes or not all(name.isdigit() for name in line.classes):
            return "-1"
        wanted |= line.classes
    return ";".join(sorted(wanted, key=int))


def _rows(line: Line, size_wh: tuple[int, int]) -> list[str]:
    if not line.id or any(sign in line.id for sign in "=;[]\n"):
        raise InvalidInputError(f"nvdsanalytics cannot name a line {line.id!r}", hint="name it without = ; [ ]")
    pieces = list(pairwise(line.points))
    rows = []
    for number, (a, b) in enumerate(pieces, 1):
        name = f"{line.id}.{number}" if len(pieces) > 1 else line.id
        ends = _pixels((*a, *b), size_wh)
        into = _arrow(a, b, size_wh)
        rows.append(f"line-crossing-{name}-In={_joined((*into, *ends))}")
        rows.append(f"line-crossing-{name}-Out={_joined((*into[2:], *into[:2], *ends))}")
    return rows


def _arrow(a: Point, b: Point, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """From the left of the line to its right, across its middle, inside the picture; pixels."""
    width, height = size_wh
    along = ((b[0] - a[0]) * width, (b[1] - a[1]) * height)
    length = math.hypot(*along) or 1.0
    reach = DIRECTION_SHARE * min(width, height) / 2
    right = (-along[1] / length * reach, along[0] / length * reach)
    middle = ((a[0] + b[0]) / 2 * width, (a[1] + b[1]) / 2 * height)
    # Only the direction counts, so an arrow that would leave the picture is pushed in as a whole.
    x = min(max(middle[0], abs(right[0])), width - abs(right[0]))
    y = min(max(middle[1], abs(right[1])), height - abs(right[1]))
    return (round(x - right[0]), round(y - right[1]), round(x + right[0]), round(y + right[1]))


def _pixels(points: Sequence[float], size_wh: tuple[int, int]) -> tuple[int, ...]:
    return tuple(round(value * size_wh[axis % 2]) for axis, value in enumerate(points))


def _joined(values: Sequence[int]) -> str:
    return ";".join(map(str, values))


def read(text: str) -> dict[str, dict[str, str]]:
    """The groups of a configuration, with their keys as they are spelled."""
    parser = ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys hold labels, whose case matters
    parser.read_file(StringIO(text))
    return {name: dict(parser[name]) for name in parser.sections()}

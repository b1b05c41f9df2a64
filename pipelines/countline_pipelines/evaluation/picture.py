"""A picture of a run compared with the truth: a timeline of the objects, and maps of the worst cases.

At the top, one row for each true object: a bar in the colour of its track, so that a change of colour is a change of
identity; the bar is hollow where no track is on the object. Below, tracks that were on no object. At the bottom, the
worst cases as the camera sees them.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile
from countline_pipelines.evaluation.maps import FAINT, INK, PAPER, RULE, TRACKS, WRONG, Evaluated, colour_of, draw_map
from countline_pipelines.evaluation.worst import Kind, in_turn

WIDTH: Final = 1600
MARGIN: Final = 32
LABEL_WIDTH: Final = 96
ROW: Final = 22
MOST_ROWS: Final = 60
"""Number of objects drawn, those with most errors first; and half as many false tracks."""
MAPS: Final = 8
MAPS_A_ROW: Final = 4

_MISSED_FILL = "#fbe9ea"
_SIGNS: Final = {
    Kind.MISCOUNT: "miscounted",
    Kind.SWITCH: "identity changed",
    Kind.FALSE_TRACK: "false track",
    Kind.MISSED: "missed",
}

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Bools = NDArray[np.bool_]


def picture_format(path: Path) -> str:
    """Return the format that the ending of a file names, as Pillow calls it; PNG for a path without an ending.

    Raises:
        InvalidInputError: Pillow cannot write such a picture.
    """
    if not path.suffix:
        return "PNG"
    name = Image.registered_extensions().get(path.suffix.lower(), "")
    if name not in Image.SAVE:
        raise InvalidInputError(f"cannot write {path}: unknown kind of picture", hint="use a .png file")
    return name


def save_picture(output: OutputFile, shown: Evaluated) -> None:
    """Draw and write the picture.

    Raises:
        CountlineError: the file cannot be written, or its name has no known picture format.
    """
    with output.errors():
        draw_picture(shown).save(output.file, picture_format(output.named))


def draw_picture(shown: Evaluated) -> Image.Image:
    """Draw the picture."""
    objects, strays = _chosen_rows(shown)
    maps = in_turn(shown.cases, MAPS)
    cell = (WIDTH - 2 * MARGIN - (MAPS_A_ROW - 1) * 16) // MAPS_A_ROW
    map_height = round(cell * shown.sequence.size_wh[1] / shown.sequence.size_wh[0])
    rows_end = 132 + (len(objects) + len(strays)) * ROW + (56 if strays else 12)
    map_rows = -(-len(maps) // MAPS_A_ROW)
    image = Image.new("RGB", (WIDTH, rows_end + 40 + map_rows * (map_height + 64) + MARGIN), PAPER)
    painter = _Painter(image, shown)
    painter.head()
    y = painter.timeline(objects, 132)
    painter.strays(strays, y + 44)
    if maps:
        painter.text((MARGIN, rows_end + 4), "The worst cases", 17)
    for i, case in enumerate(maps):
        left = MARGIN + (i % MAPS_A_ROW) * (cell + 16)
        top = rows_end + 40 + (i // MAPS_A_ROW) * (map_height + 64)
        image.paste(draw_map(shown, case, (cell, map_height)), (left, top))
        painter.text((left, top + map_height + 6), _SIGNS[case.kind], 14, WRONG)
        painter.text((left, top + map_height + 25), case.words, 12)
    return image


def _chosen_rows(shown: Evaluated) -> tuple[list[int], list[int]]:
    """Return the objects and the false tracks to draw, in order of appearance."""
    book = shown.book
    wrong = (book.there & (book.on_object < 0)).sum(axis=1) + [
        100 * sum(case.truth_id == number for case in shown.cases) for number in shown.comparison.truth_ids.tolist()
    ]
    objects = np.argsort(-wrong, kind="stable")[:MOST_ROWS].tolist()
    stray_frames = book.stray.sum(axis=1)
    of_nothing = np.nonzero(2 * stray_frames > book.tracked.sum(axis=1))[0]
    strays = of_nothing[np.argsort(-stray_frames[of_nothing], kind="stable")][: MOST_ROWS // 2].tolist()
    return (
        sorted(objects, key=lambda row: int(book.there[row].argmax())),
        sorted(strays, key=lambda row: int(book.tracked[row].argmax())),
    )


class _Painter:
    """Draws the parts of the picture."""

    def __init__(self, image: Image.Image, shown: Evaluated) -> None:
        self._draw = ImageDraw.Draw(image)
        self._shown = shown
        self._frames = max(1, len(shown.comparison.frames))
        self._fonts: dict[int, Font] = {}

    def text(self, at: tuple[float, float], words: str, size: int = 13, colour: str = INK, anchor: str = "la") -> None:
        """Write a line."""
        if size not in self._fonts:
            self._fonts[size] = ImageFont.load_default(size)
        self._draw.text(at, words, fill=colour, font=self._fonts[size], anchor=anchor)

    def head(self) -> None:
        """Draw title and legend."""
        self.text((MARGIN, 22), "Truth against run", 26)
        self.text((MARGIN, 58), self._shown.title, 15, FAINT)
        y, x = 88.0, float(MARGIN)
        for colour, words in (
            (TRACKS[0], "tracked; a new colour is a new identity"),
            (WRONG, "no track on the object"),
        ):
            hollow = colour == WRONG
            self._draw.rectangle((x, y + 3, x + 26, y + 14), _MISSED_FILL if hollow else colour, colour)
            self.text((x + 34, y), words)
            x += 60 + 7 * len(words)
        self._cross(x, y + 9)
        self.text((x + 14, y), "identity changed")
        self._crossing(x + 160, y + 8, right=True)
        self.text((x + 172, y), "crossing counted")
        self._crossing(x + 310, y + 8, right=False)
        self.text((x + 322, y), "crossing not counted")

    def timeline(self, objects: list[int], top: int) -> int:
        """Draw a row for each object; return the lower end of the rows."""
        shown = self._shown
        bottom = top + len(objects) * ROW
        for t in _ticks(self._frames / shown.sequence.fps):
            x = self._x(t * shown.sequence.fps)
            self._draw.line((x, top - 4, x, bottom), RULE)
            self.text((x, top - 18), f"{t:g} s", 11, FAINT, "ma")
        for i, row in enumerate(objects):
            y = top + i * ROW
            self.text((MARGIN, y + 3), f"object {shown.comparison.truth_ids[row]}")
            self._object(row, y + 3, y + ROW - 5)
        return bottom

    def strays(self, tracks: list[int], top: int) -> None:
        """Draw a row for each track that was on no object."""
        if not tracks:
            return
        self.text((MARGIN, top - 28), "False tracks", 15)
        for i, row in enumerate(tracks):
            y = top + i * ROW
            self.text((MARGIN, y + 3), f"track {self._shown.comparison.tracked_ids[row]}")
            for first, last in _runs(self._shown.book.tracked[row]):
                self._draw.rectangle((self._x(first), y + 5, self._x(last + 1), y + ROW - 7), WRONG)

    def _object(self, row: int, top: float, bottom: float) -> None:
        book = self._shown.book
        for first, last in _runs(book.there[row]):
            self._draw.rectangle((self._x(first), top + 2, self._x(last + 1), bottom - 2), _MISSED_FILL, WRONG)
        for first, last in _runs(book.on_object[row] >= 0):
            for begin, end, track in _same(book.on_object[row], first, last):
                self._draw.rectangle((self._x(begin), top, self._x(end + 1), bottom), colour_of(track))
        on = np.nonzero(book.on_object[row] >= 0)[0].tolist()
        for before, after in pairwise(on):
            if book.on_object[row, before] != book.on_object[row, after]:
                self._cross(self._x(after), (top + bottom) / 2)
        number = int(self._shown.comparison.truth_ids[row])
        wrong = {(case.truth_id, case.first) for case in self._shown.cases if case.kind is Kind.MISCOUNT}
        for crossing in self._shown.true_crossings.get(number, ()):
            frame = round(crossing.t * self._shown.sequence.fps) + 1
            self._crossing(self._x(frame - 1), (top + bottom) / 2, right=(number, frame) not in wrong)

    def _cross(self, x: float, y: float) -> None:
        for width, colour in ((5, PAPER), (2, WRONG)):
            self._draw.line((x - 5, y - 7, x + 5, y + 7), colour, width)
            self._draw.line((x - 5, y + 7, x + 5, y - 7), colour, width)

    def _crossing(self, x: float, y: float, *, right: bool) -> None:
        colour = "#12813f" if right else WRONG
        self._draw.polygon([(x, y - 8), (x + 7, y), (x, y + 8), (x - 7, y)], PAPER if right else WRONG, colour, 2)

    def _x(self, frames: float) -> float:
        """Return the position on the time axis of a number of frames."""
        left = MARGIN + LABEL_WIDTH
        return left + (WIDTH - MARGIN - left) * frames / self._frames


def _runs(marked: Bools) -> Iterator[tuple[int, int]]:
    """Return the first and the last of each run of marked frames."""
    edges = np.diff(np.concatenate([[0], marked.astype(np.int8), [0]]))
    yield from zip(np.nonzero(edges > 0)[0].tolist(), (np.nonzero(edges < 0)[0] - 1).tolist(), strict=True)


def _same(tracks: NDArray[np.int64], first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Split a run of frames where the track changes; return first, last and track of each part."""
    begin = first
    for frame in range(first, last + 1):
        if frame == last or tracks[frame + 1] != tracks[frame]:
            yield begin, frame, int(tracks[frame])
            begin = frame + 1


def _ticks(duration_s: float) -> list[float]:
    """Return times to label, at most twelve of them."""
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if duration_s / s <= 12), 3600.0)
    return [i * step for i in range(int(duration_s / step) + 1)]

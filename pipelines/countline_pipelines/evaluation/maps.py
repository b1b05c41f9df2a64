"""A map of one case: the paths around it, enlarged, as the camera sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from countline_counting.events import Crossing
from countline_counting.spec import Line
from countline_pipelines.evaluation.comparison import Comparison
from countline_pipelines.evaluation.mot import Boxes, Floats, MotTruth
from countline_pipelines.evaluation.run import SequenceInfo
from countline_pipelines.evaluation.worst import Ledger, WorstCase

BEFORE_AND_AFTER_S: Final = 2.0
"""Length of the paths drawn before and after a case."""
LEAST_SHARE: Final = 0.3
"""A map shows at least this share of the picture's width."""
SMOOTH: Final = 2
"""Maps are drawn enlarged by this factor and then reduced, because Pillow draws lines without anti-aliasing."""

PAPER, INK, FAINT, RULE, WRONG = "#ffffff", "#1b1f24", "#6b7280", "#e3e6ea", "#d1242f"
TRACKS = ("#2f6fde", "#e08a00", "#1a9c6b", "#8d4bd0", "#0ba5c4", "#b5651d", "#d64f9e", "#6a8f00", "#4b5c9e", "#00796b")
_GROUND, _TRUTH, _LINE = "#f7f8fa", "#b6bcc6", "#111827"

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The results that a picture of a run shows."""

    title: str
    sequence: SequenceInfo
    truth: MotTruth
    comparison: Comparison
    book: Ledger
    lines: tuple[Line, ...]
    true_crossings: dict[int, tuple[Crossing, ...]]
    """By object."""
    cases: Sequence[WorstCase]
    """The worst first."""


def colour_of(track: int) -> str:
    """Return the colour of the track with this number."""
    return TRACKS[track % len(TRACKS)]


def draw_map(shown: Evaluated, case: WorstCase, size_wh: tuple[int, int]) -> Image.Image:
    """Draw one case: the true path wide and grey, the tracks narrow and coloured, a ring around the place."""
    around = round(BEFORE_AND_AFTER_S * shown.sequence.fps)
    window = (case.first - around, case.last + around)
    truth, tracks = _true_path(shown, case, window), _track_paths(shown, case, window)
    large = (size_wh[0] * SMOOTH, size_wh[1] * SMOOTH)
    sheet = _Sheet(large, _view(truth, list(tracks.values()), shown.sequence.size_wh))
    for line in shown.lines:
        sheet.line(np.array(line.points, dtype=np.float64) * shown.sequence.size_wh, line.id)
    sheet.path(truth.xyxy, _TRUTH, 9)
    for track, boxes in tracks.items():
        sheet.path(boxes.xyxy, WRONG if case.truth_id is None else colour_of(track), 3)
    sheet.ring(_place(truth if case.truth_id is not None else next(iter(tracks.values()), truth), case))
    image = sheet.image.resize(size_wh, Image.Resampling.LANCZOS)
    ImageDraw.Draw(image).rectangle((0, 0, size_wh[0] - 1, size_wh[1] - 1), outline=RULE)
    return image


def _true_path(shown: Evaluated, case: WorstCase, window: tuple[int, int]) -> Boxes:
    objects = shown.truth.objects
    chosen = objects.ids == case.truth_id if case.truth_id is not None else np.zeros(len(objects), dtype=np.bool_)
    return _within(objects.where(chosen), window)


def _track_paths(shown: Evaluated, case: WorstCase, window: tuple[int, int]) -> dict[int, Boxes]:
    """Return the tracks on the case's object, or the case's own track, by number."""
    comparison, tracked = shown.comparison, shown.comparison.tracked
    if case.truth_id is None:
        numbers = np.nonzero(comparison.tracked_ids == case.track_id)[0].tolist()
    else:
        row = int(np.searchsorted(comparison.truth_ids, case.truth_id))
        span = shown.book.on_object[row, max(0, window[0] - 1) : max(0, window[1])]
        numbers = np.unique(span[span >= 0]).tolist()
    return {number: _within(tracked.where(tracked.ids == comparison.tracked_ids[number]), window) for number in numbers}


def _within(boxes: Boxes, window: tuple[int, int]) -> Boxes:
    return boxes.where((boxes.frame >= window[0]) & (boxes.frame <= window[1]))


def _feet(xyxy: Floats) -> Floats:
    return np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1)


def _place(boxes: Boxes, case: WorstCase) -> Place | None:
    """Return the place of the case in pixels of the picture: the path at the middle of its time."""
    if not len(boxes):
        return None
    nearest = int(np.abs(boxes.frame - (case.first + case.last) / 2).argmin())
    x, y = _feet(boxes.xyxy)[nearest].tolist()
    return x, y


def _view(truth: Boxes, tracks: list[Boxes], picture_wh: tuple[int, int]) -> tuple[float, float, float]:
    """Return the part of the picture to show: left, top and width in pixels, with the picture's aspect ratio."""
    points = np.concatenate([_feet(boxes.xyxy) for boxes in (truth, *tracks)])
    width, height = picture_wh
    if not len(points):
        return 0.0, 0.0, float(width)
    low, high = points.min(axis=0), points.max(axis=0)
    shape = width / height
    shown = max(1.3 * (high[0] - low[0]), 1.3 * (high[1] - low[1]) * shape, LEAST_SHARE * width)
    middle = (low + high) / 2
    return float(middle[0] - shown / 2), float(middle[1] - shown / shape / 2), float(shown)


class _Sheet:
    """A part of the picture to draw on, in pixels of the picture."""

    def __init__(self, size_wh: tuple[int, int], view: tuple[float, float, float]) -> None:
        self.image = Image.new("RGB", size_wh, _GROUND)
        self._draw = ImageDraw.Draw(self.image)
        self._corner = np.array(view[:2])
        self._scale = size_wh[0] / view[2]

    def line(self, points: Floats, name: str) -> None:
        """Draw a counting line, with its name at the first visible place."""
        placed = self._placed(points)
        self._draw.line(placed, _LINE, 2 * SMOOTH)
        (x1, y1), (x2, y2) = placed[:2]
        along = [(x1 + share * (x2 - x1), y1 + share * (y2 - y1)) for share in np.linspace(0.02, 1, 50).tolist()]
        in_view = next((place for place in along if self._has_room(place)), None)
        if in_view is not None:
            font = ImageFont.load_default(11 * SMOOTH)
            self._draw.text((in_view[0] + 4 * SMOOTH, in_view[1] - 15 * SMOOTH), name, fill=FAINT, font=font)

    def path(self, xyxy: Floats, colour: str, width: int) -> None:
        """Draw the path of the feet, with a dot at its end."""
        placed = self._placed(_feet(xyxy))
        if len(placed) > 1:
            self._draw.line(placed, colour, width * SMOOTH, joint="curve")
        radius = (width + 1) * SMOOTH
        for x, y in placed[-1:]:
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def ring(self, place: Place | None) -> None:
        """Draw a ring around a place."""
        if place is not None:
            (x, y), radius = self._placed(np.array([place]))[0], 12 * SMOOTH
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=WRONG, width=3 * SMOOTH)

    def _has_room(self, place: Place) -> bool:
        """Whether a name beside this place would be within the sheet."""
        width, height = self.image.size
        return 0 <= place[0] < 0.85 * width and 16 * SMOOTH <= place[1] < height

    def _placed(self, points: Floats) -> list[Place]:
        return [(x, y) for x, y in ((points - self._corner) * self._scale).tolist()]

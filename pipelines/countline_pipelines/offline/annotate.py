"""Draws counts onto pictures and writes a video: boxes with ids, lines with their sides, zones, running totals.

A thread encodes behind a bounded queue. `add` waits while the queue is full, because no frame of the video may be
missing.
"""

import queue
import threading
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Final

import av
import av.error
from PIL import Image, ImageDraw, ImageFont

from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile
from countline_counting.events import Crossing, Direction, Event
from countline_counting.frames import TrackedFrame
from countline_counting.spec import CountingSpec

_FORMATS: Final = {"": "mp4", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's names of formats, by the ending of the file's name. A device has none."""
_QUEUE: Final = 16
_TIME_BASE: Final = Fraction(1, 90000)
_COLOURS: Final = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c")
_LINE_COLOUR: Final = "#00e5ff"
_FLASH_COLOUR: Final = "#ff1744"
_FLASH_S: Final = 0.6

Drawn = tuple[Any, TrackedFrame, Sequence[Event]]


def check_film(output: OutputFile) -> None:
    """Check that a video can be written under the name of a file.

    Raises:
        InvalidInputError: the ending names a format that cannot be written.
    """
    if output.named.suffix.lower() not in _FORMATS:
        raise InvalidInputError(
            f"{output.option} {output.named}: this format of video cannot be written",
            hint="name the file .mp4, .mov or .mkv",
        )


class Annotator:
    """Writes an annotated video.

    Args:
        output: the open file; its owner puts it in place.
        spec: what is counted.
        labels: class names by index.
        fps: of the source, for the container's header.
        totals: whether to write the running totals.

    An error of writing is kept for the owner of the file: the count goes on.
    """

    def __init__(
        self, output: OutputFile, spec: CountingSpec, labels: Sequence[str], fps: float, *, totals: bool = True
    ) -> None:
        self._output = output
        self._painter = _Painter(spec, labels, totals=totals)
        self._rate = Fraction(fps).limit_denominator(1000)
        self._queue: queue.Queue[Drawn | None] = queue.Queue(_QUEUE)
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._first_t = 0.0
        self._thread = threading.Thread(target=self._run, name="annotate", daemon=True)
        self._thread.start()

    def add(self, picture: Any, tracked: TrackedFrame, events: Sequence[Event]) -> None:
        """Add a frame; wait while the encoder is behind."""
        if self._output.fault is None:
            self._queue.put((picture, tracked, events))

    def close(self) -> None:
        """Finish the file."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._container = av.open(str(self._output.path), "w", format=_FORMATS[self._output.named.suffix.lower()])
            while (item := self._queue.get()) is not None:
                self._write(*item)
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            words = getattr(error, "strerror", None)  # without the name of the temporary file
            self._output.fail(OSError(getattr(error, "errno", None), words) if words else OSError(str(error)))
            while self._queue.get() is not None:  # release waiting callers of `add`
                pass

    def _write(self, picture: Any, tracked: TrackedFrame, events: Sequence[Event]) -> None:
        # In the displayed proportion, in which the boxes are.
        image = picture.to_image(width=tracked.size_wh[0], height=tracked.size_wh[1])
        self._painter.paint(image, tracked, events)
        if self._stream is None:
            width, height = (size // 2 * 2 for size in image.size)  # H.264 4:2:0 wants even sizes
            self._stream = self._begin(width, height)
            self._size, self._first_t = image.size, tracked.t
        if image.size != self._size:  # the source changed its size; a video cannot
            image = image.resize(self._size)
        frame: Any = _frame_of(image.crop((0, 0, self._stream.width, self._stream.height)))
        frame.pts = round((tracked.t - self._first_t) / _TIME_BASE)
        frame.time_base = _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def _begin(self, width: int, height: int) -> Any:
        stream: Any = self._container.add_stream(
            "libx264", rate=self._rate, options={"preset": "veryfast", "crf": "23"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = _TIME_BASE
        return stream


def _frame_of(image: Image.Image) -> Any:
    make: Any = av.VideoFrame.from_image  # PyAV leaves this one without types
    return make(image)


class _Painter:
    def __init__(self, spec: CountingSpec, labels: Sequence[str], *, totals: bool) -> None:
        self._spec = spec
        self._shows_totals = totals
        self._labels = labels
        self._font = ImageFont.load_default(size=14)
        self._totals = {line.id: dict.fromkeys(Direction, 0) for line in spec.lines}
        self._crossed_at: dict[str, float] = {}

    def paint(self, image: Image.Image, tracked: TrackedFrame, events: Iterable[Event]) -> None:
        """Draw one frame's state onto its picture."""
        for event in events:
            if isinstance(event, Crossing):
                self._totals[event.line_id][event.direction] += 1
                self._crossed_at[event.line_id] = tracked.t
        draw = ImageDraw.Draw(image)
        self._paint_zones(draw, image.size)
        self._paint_lines(draw, image.size, tracked.t)
        self._paint_objects(draw, tracked)
        if self._shows_totals:
            self._paint_totals(draw)

    def _paint_zones(self, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
        for zone in self._spec.zones:
            corners = [(x * size[0], y * size[1]) for x, y in zone.polygon]
            draw.line([*corners, corners[0]], fill="#ffd600", width=2)
            self._text(draw, corners[0], zone.id, "#ffd600")

    def _paint_lines(self, draw: ImageDraw.ImageDraw, size: tuple[int, int], t: float) -> None:
        for line in self._spec.lines:
            points = [(x * size[0], y * size[1]) for x, y in line.points]
            crossed_at = self._crossed_at.get(line.id)
            flash = crossed_at is not None and t - crossed_at < _FLASH_S
            draw.line(points, fill=_FLASH_COLOUR if flash else _LINE_COLOUR, width=3)
            (ax, ay), (bx, by) = points[0], points[1]
            length = max(1.0, ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5)
            middle = ((ax + bx) / 2, (ay + by) / 2)
            # The right-hand side of A to B, y pointing down, is at (-(by - ay), bx - ax).
            tip = (middle[0] - (by - ay) / length * 24, middle[1] + (bx - ax) / length * 24)
            draw.line([middle, tip], fill=_LINE_COLOUR, width=2)
            self._text(draw, tip, "in", _LINE_COLOUR)
            draw.ellipse([ax - 4, ay - 4, ax + 4, ay + 4], fill=_LINE_COLOUR)

    def _paint_objects(self, draw: ImageDraw.ImageDraw, tracked: TrackedFrame) -> None:
        ax, ay = self._spec.anchor
        rows = zip(tracked.ids, tracked.xyxy_px, tracked.classes, strict=True)
        for track, (x1, y1, x2, y2), class_id in rows:
            colour = _COLOURS[int(track) % len(_COLOURS)]
            draw.rectangle([x1, y1, x2, y2], outline=colour, width=2)
            x, y = x1 + (x2 - x1) * ax, y1 + (y2 - y1) * ay
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
            name = self._labels[class_id] if 0 <= class_id < len(self._labels) else str(class_id)
            self._text(draw, (x1, max(0.0, y1 - 17)), f"{track} {name}", colour)

    def _paint_totals(self, draw: ImageDraw.ImageDraw) -> None:
        for row, (name, total) in enumerate(self._totals.items()):
            words = f"{name}  in {total[Direction.IN]}  out {total[Direction.OUT]}"
            self._text(draw, (6, 6 + 20 * row), words, "white")

    def _text(self, draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: str) -> None:
        box = draw.textbbox(at, text, font=self._font)
        draw.rectangle([box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2], fill="#000000")
        draw.text(at, text, fill=colour, font=self._font)

"""How a decoded picture is displayed: which way up, and in which proportion.

A camera or phone may write its pictures turned, mirrored or squeezed, and write beside them how a player displays them:
a display matrix, and the aspect ratio of a sample (SAR: the width of a pixel divided by its height). Players apply
both, so a person draws lines on the displayed picture.

A matrix comes from the container, which holds for all pictures, or from the codec, as H.264 and H.265 write it at key
frames and a JPEG writes it in its EXIF data.
"""

import struct
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, Final

SQUARE: Final = Fraction(1)
MOST_EXTREME_SAR: Final = 16
"""A SAR beyond this, or below its inverse, is an error of the encoder and is ignored."""
SAME_PROPORTION: Final = 0.02
"""Sizes whose proportions differ by less differ by rounding: encoders want multiples of 8 or 16."""
_MATRIX: Final = struct.Struct("=9i")


class Orientation(Enum):
    """What a player does to a picture. The values are chains of FFmpeg's filters: `NAME=ARGUMENT,NAME`."""

    UPRIGHT = ""
    MIRRORED = "hflip"
    UPSIDE_DOWN = "vflip,copy"  # vflip alone gives rows in memory from bottom to top
    HALF_TURN = "vflip,hflip"
    CLOCKWISE = "transpose=clock"
    COUNTERCLOCKWISE = "transpose=cclock"
    TRANSPOSED = "transpose=cclock_flip"
    ANTITRANSPOSED = "transpose=clock_flip"

    @property
    def is_sideways(self) -> bool:
        """Whether width and height change places."""
        return self.value.startswith("transpose")

    @property
    def words(self) -> str:
        """What was done to the decoded picture."""
        return _WORDS[self]

    @property
    def code(self) -> str:
        """The stable word of the contract, such as `clockwise`; empty for `UPRIGHT`."""
        return "" if self is Orientation.UPRIGHT else self.name.lower()

    @classmethod
    def of_code(cls, code: str) -> "Orientation":
        """Return the orientation of a word of the contract; `UPRIGHT` for an unknown word."""
        return cls.__members__.get(code.upper(), cls.UPRIGHT)


_WORDS: Final = {
    Orientation.UPRIGHT: "not turned",
    Orientation.MIRRORED: "mirrored left to right",
    Orientation.UPSIDE_DOWN: "mirrored top to bottom",
    Orientation.HALF_TURN: "turned by 180 degrees",
    Orientation.CLOCKWISE: "turned clockwise",
    Orientation.COUNTERCLOCKWISE: "turned counterclockwise",
    Orientation.TRANSPOSED: "turned clockwise and mirrored left to right",
    Orientation.ANTITRANSPOSED: "turned counterclockwise and mirrored left to right",
}


def orientation_of(matrix: bytes) -> Orientation:
    """Return the orientation nearest to a display matrix.

    Args:
        matrix: nine int32 in native byte order, as FFmpeg's `AV_FRAME_DATA_DISPLAYMATRIX`. A point (x, y), y pointing
            down, is displayed at (a x + c y, b x + d y); a, b, c, d are the elements 0, 1, 3, 4.
    """
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix[: _MATRIX.size])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        straight = {(False, False): Orientation.UPRIGHT, (True, False): Orientation.MIRRORED,
                    (False, True): Orientation.UPSIDE_DOWN, (True, True): Orientation.HALF_TURN}  # fmt: skip
        return straight[a < 0, d < 0]
    sideways = {(False, False): Orientation.TRANSPOSED, (True, False): Orientation.COUNTERCLOCKWISE,
                (False, True): Orientation.CLOCKWISE, (True, True): Orientation.ANTITRANSPOSED}  # fmt: skip
    return sideways[b < 0, c < 0]


def displayed_wh(decoded_wh: tuple[int, int], sar: Fraction, orientation: Orientation) -> tuple[int, int]:
    """Return the displayed size of a picture in square pixels: the width is scaled by SAR, then the picture turned."""
    width, height = max(1, round(decoded_wh[0] * sar)), decoded_wh[1]
    return (height, width) if orientation.is_sideways else (width, height)


@dataclass(frozen=True, slots=True)
class PictureShape:
    """What lines and zones were drawn on: the displayed size and the way a picture was turned for it."""

    size_wh: tuple[int, int]
    """In square pixels."""
    orientation: Orientation = Orientation.UPRIGHT

    def matches(self, other: "PictureShape") -> bool:
        """Whether normalised coordinates mean the same in both: equal orientation and proportion, not size."""
        (width, height), (other_width, other_height) = self.size_wh, other.size_wh
        stretch = (width * other_height) / (height * other_width)
        return self.orientation is other.orientation and abs(stretch - 1) <= SAME_PROPORTION

    def __str__(self) -> str:
        """Size and orientation in words: `640x360, turned clockwise`."""
        turned = "" if self.orientation is Orientation.UPRIGHT else f", {self.orientation.words}"
        return f"{self.size_wh[0]}x{self.size_wh[1]}{turned}"


def plausible_sar(sar: Fraction | None) -> Fraction:
    """Return a stated SAR, or 1 if none is stated or it cannot be true."""
    return sar if sar and Fraction(1, MOST_EXTREME_SAR) <= sar <= MOST_EXTREME_SAR else SQUARE


class Displayer:
    """Shows the pictures of one stream as they are displayed; pictures come in the order of the decoder.

    Args:
        stated_sar: of the container, or else of the codec's header. It holds until the codec's SAR changes.
    """

    def __init__(self, stated_sar: Fraction | None) -> None:
        self._stated_sar = stated_sar
        self._first_sar: list[Fraction | None] = []
        self._orientation = Orientation.UPRIGHT
        self._turner = _Turner()

    def show(self, frame: Any, codec_sar: Fraction | None) -> tuple[Any, PictureShape]:
        """Return a picture upright, and its displayed shape.

        Args:
            frame: av.VideoFrame.
            codec_sar: the decoder's SAR after this picture.

        Returns:
            The picture with the pixels that it has, which need not be square. An upright picture is returned itself.
        """
        # The codec writes a matrix at a key frame. It holds until another key frame comes without one.
        stated = _stated_orientation(frame)
        if stated is not None:
            self._orientation = stated
        elif frame.key_frame:
            self._orientation = Orientation.UPRIGHT
        shape = PictureShape(self._size_wh(frame, codec_sar), self._orientation)
        return self._turner.turn(frame, self._orientation), shape

    def _size_wh(self, frame: Any, codec_sar: Fraction | None) -> tuple[int, int]:
        self._first_sar = self._first_sar or [codec_sar]
        is_new = codec_sar and codec_sar != self._first_sar[0]
        sar = plausible_sar(codec_sar if is_new else self._stated_sar or codec_sar)
        return displayed_wh((frame.width, frame.height), sar, self._orientation)


_TURNS: Final = {90: Orientation.COUNTERCLOCKWISE, 180: Orientation.HALF_TURN, 270: Orientation.CLOCKWISE}


def _stated_orientation(frame: Any) -> Orientation | None:
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know the kind of some other side data of this picture, such as EXIF
        return _TURNS.get(frame.rotation % 360)
    return None if matrix is None else orientation_of(bytes(matrix))


class _Turner:
    """Turns pictures; keeps FFmpeg's filters for pictures of one kind."""

    def __init__(self) -> None:
        self._kind: tuple[Any, ...] = ()
        self._graph: Any = None

    def turn(self, frame: Any, orientation: Orientation) -> Any:
        if orientation is Orientation.UPRIGHT:
            return frame
        kind = (orientation, frame.width, frame.height, frame.format.name, frame.time_base)
        if kind != self._kind:
            self._graph, self._kind = _graph(frame, orientation), kind
        self._graph.push(frame)
        return self._graph.pull()


def _graph(frame: Any, orientation: Orientation) -> Any:
    import av.filter  # here: the control-plane compares shapes and decodes nothing

    graph: Any = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    chain = [step.partition("=") for step in orientation.value.split(",")]
    filters = [graph.add(name, argument) for name, _, argument in chain]
    graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
    return graph

"""One open video: FFmpeg through PyAV, with a deadline on every call and every error in our own words.

Assumes to be used from one thread. FFmpeg works without the interpreter's lock, so a thread per camera is cheap. The
deadlines are FFmpeg's interrupt callback (PyAV's `timeout`), which it asks while it waits for a network.
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Self

import av
import av.error

from countline_pipelines.sources.errors import SourceError, SourceFailure, refused
from countline_pipelines.sources.spec import SourceSpec

_NOT_VIDEO_FORMATS: Final = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""Demuxers that turn any text into pictures of letters."""
_PRODUCER_REFERENCE_TIME: Final = "prft"
_REORDERING_US: Final = 300_000
_UDP_BUFFER_BYTES: Final = 4 * 1024 * 1024
_DEFAULT_FPS: Final = Fraction(25)
_FASTEST_FPS: Final = 1000
_MOST_BROKEN_PACKETS: Final = 300
"""So many packets in a row without a picture mean that none will come."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a container says of its video before the first frame."""

    width: int
    height: int
    fps: float
    """As stated; 25 where nothing is."""
    duration_s: Fraction | None
    """Of the video as stated by the container's header; None for streams."""
    frames: int
    """As stated; 0 where nothing is."""
    codec: str


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One picture as FFmpeg decoded it."""

    picture: Any
    """av.VideoFrame; belongs to nobody else."""
    pts_s: float | None
    ntp_s: float | None
    """Unix time that the camera's RTCP report gives to this frame."""
    arrived_at: float
    """Unix time at which its packet was read."""


class VideoReader:
    """An open source and its first video stream.

    Args:
        spec: what to open.

    Raises:
        SourceError: it cannot be opened, or holds no video.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._container = self._open()
        try:
            self._stream = self._pick()
            self.info = self._describe()
        except BaseException:
            self._container.close()
            raise
        self.broken_packets = 0
        self._ntp_s: float | None = None

    def _open(self) -> Any:
        began = time.monotonic()
        try:
            limits = (self._spec.open_timeout_s, self._spec.read_timeout_s)
            return av.open(self._spec.url, options=_options(self._spec), timeout=limits)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._refused(error, began, self._spec.open_timeout_s) from None

    def _refused(self, error: Exception, began: float, limit_s: float) -> SourceError:
        # `from None` where this is raised: FFmpeg's own text holds the address with its password.
        if isinstance(error, av.error.InvalidDataError) and _lacks_index(self._spec):
            detail = "the recording was cut off before its index was written"
            return SourceError(SourceFailure.TRUNCATED, self._spec.label, detail)
        waited_s = time.monotonic() - began
        return refused(self._spec.label, error, waited_s=waited_s, limit_s=limit_s)

    def _pick(self) -> Any:
        streams = self._container.streams.video
        if not streams or self._container.format.name in _NOT_VIDEO_FORMATS:
            raise SourceError(SourceFailure.NOT_VIDEO, self._spec.label, "holds no video")
        stream = streams[0]
        if stream.codec_context is None:
            raise SourceError(SourceFailure.CODEC_MISSING, self._spec.label, "there is no decoder for its video here")
        if stream.codec_context.width < 1 or stream.codec_context.height < 1:
            raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "its pictures have no size")
        stream.thread_type = "AUTO" if self._spec.decode_threads > 1 else "SLICE"
        stream.codec_context.thread_count = self._spec.decode_threads
        return stream

    def _describe(self) -> VideoInfo:
        stream, context = self._stream, self._stream.codec_context
        rate = stream.average_rate or stream.guessed_rate or _DEFAULT_FPS
        fps = float(rate) if 0 < rate <= _FASTEST_FPS else float(_DEFAULT_FPS)
        return VideoInfo(context.width, context.height, fps, self._duration_s(), stream.frames or 0, context.name)

    def _duration_s(self) -> Fraction | None:
        if self._stream.duration and self._stream.time_base:
            return Fraction(self._stream.duration) * Fraction(self._stream.time_base)
        if (
            self._container.duration and len(self._container.streams) == 1
        ):  # else it may be that of a longer sound track
            return Fraction(self._container.duration, av.time_base)
        return None

    @property
    def start_s(self) -> float:
        """Presentation time of the first frame, as the header states it."""
        return float((self._stream.start_time or 0) * self._stream.time_base)

    def frames(self) -> Iterator[DecodedFrame]:
        """Every frame from here to the end, in order of presentation.

        Raises:
            SourceError: the source broke, was silent for too long, or sends what cannot be decoded.
        """
        packets = self._container.demux(self._stream)
        since_picture = 0
        while (packet := self._next(packets)) is not None:
            arrived_at = time.time()
            self._note_ntp(packet)
            pictures = self._decode(packet)
            since_picture = 0 if pictures else since_picture + 1
            if since_picture > _MOST_BROKEN_PACKETS:
                raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "sends nothing that can be decoded")
            for picture in pictures:
                yield self._decoded(picture, arrived_at)

    def _next(self, packets: Iterator[Any]) -> Any:
        began = time.monotonic()
        try:
            return next(packets, None)
        except av.error.EOFError:
            return None
        except (av.error.FFmpegError, OSError) as error:
            raise self._refused(error, began, self._spec.read_timeout_s) from None

    def _decode(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except av.error.FFmpegError:  # one broken packet among good ones; what follows may be well
            self.broken_packets += 1
            return []

    def _note_ntp(self, packet: Any) -> None:
        if not self._spec.is_rtsp or packet.pts is None or not packet.has_sidedata(_PRODUCER_REFERENCE_TIME):
            return
        wall_us, _ = struct.unpack_from("<qi", bytes(packet.get_sidedata(_PRODUCER_REFERENCE_TIME)))
        self._ntp_s = wall_us / 1e6 - float(packet.pts * packet.time_base)

    def _decoded(self, picture: Any, arrived_at: float) -> DecodedFrame:
        if picture.width < 1 or picture.height < 1:
            raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "sends pictures without a size")
        pts_s = None if picture.pts is None else float(picture.pts * picture.time_base)
        ntp_s = None if pts_s is None or self._ntp_s is None else pts_s + self._ntp_s
        return DecodedFrame(picture, pts_s, ntp_s, arrived_at)

    def seek(self, position_s: float) -> None:
        """Go to the last key frame at or before a position, seconds from the first frame."""
        start = self._stream.start_time or 0
        target = start + int(position_s / self._stream.time_base)
        try:
            self._container.seek(target, stream=self._stream, backward=True)
        except (av.error.FFmpegError, OSError) as error:
            raise refused(self._spec.label, error, waited_s=0.0, limit_s=self._spec.read_timeout_s) from None

    def close(self) -> None:
        """Close the source; safe to call twice."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _options(spec: SourceSpec) -> dict[str, str]:
    if not spec.is_rtsp:
        return {}
    options = {"rtsp_transport": spec.transport.value, "max_delay": str(_REORDERING_US), "fpsprobesize": "0"}
    if spec.transport == "udp":
        options["buffer_size"] = str(_UDP_BUFFER_BYTES)
    return options


def _lacks_index(spec: SourceSpec) -> bool:
    """Whether this is an MP4 or MOV file without its `moov` box: what a recorder leaves that lost power."""
    if spec.is_network:
        return False
    try:
        with open(spec.url, "rb") as file:  # noqa: PTH123  (paths stay text here: they are FFmpeg's)
            return _walk_boxes(file)
    except OSError:
        return False


def _walk_boxes(file: Any) -> bool:
    seen_ftyp = False
    while len(header := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", header)
        if kind == b"moov":
            return False
        seen_ftyp = seen_ftyp or kind == b"ftyp"
        if not seen_ftyp or size == 0:
            break
        body = 8
        if size == 1:
            size, body = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0], 16
        if size < body:
            break
        file.seek(size - body, 1)
    return seen_ftyp

"""One open video: FFmpeg through PyAV, with a deadline for every call, and `SourceError` for every error.

Use a reader from one thread. FFmpeg releases the interpreter's lock, so a thread for each camera is cheap. FFmpeg asks
its interrupt callback (PyAV's `timeout`) while it waits for a network; that enforces the deadlines.

Frames, times and their order are the same on GPU and CPU (decoding.py). A GPU that fails in the middle of a file costs
no frame: the file is opened again for the CPU, which goes on after the last yielded frame. A live stream cannot be read
twice, so it breaks and is opened again, as after any break.
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, Final, Self

import av
import av.error

from countline_common.hosts import host_of, is_this_machine
from countline_pipelines.sources.decoding import DecodeMode, Decoder, DecoderChoice, Decoding, is_on_gpu
from countline_pipelines.sources.errors import SourceError, SourceFailure, refused
from countline_pipelines.sources.spec import Playback, SourceSpec

_NOT_VIDEO_FORMATS: Final = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""Demuxers that turn any text into pictures of letters."""
_SEGMENTED_FORMATS: Final = frozenset({"hls", "hls,applehttp", "dash"})
_NO_TIMESTAMPS: Final = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS, such as of the demuxer of multipart JPEG."""
_PRODUCER_REFERENCE_TIME: Final = "prft"
_REORDERING_US: Final = 300_000
_UDP_BUFFER_BYTES: Final = 4 * 1024 * 1024
_DEFAULT_FPS: Final = Fraction(25)
_FASTEST_FPS: Final = 1000
_MOST_BROKEN_PACKETS: Final = 300
"""After this many packets in a row without a picture, none is expected."""
_REFUSED: Final = "the GPU does not take this kind of picture, or no decoder of it is free"
_ONLY_GPU_HINT: Final = "use --decode auto, so that the CPU decodes what the GPU refuses"


class _GpuFailedError(Exception):
    """The GPU stopped decoding in the middle of a stream."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a container states about its video."""

    width: int
    height: int
    fps: float
    """25 if the container states nothing."""
    duration_s: Fraction | None
    """Of the video; None for streams."""
    frames: int
    """Number of frames; 0 if the container states nothing."""
    codec: str


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One picture as FFmpeg decoded it."""

    picture: Any
    """av.VideoFrame; the receiver owns it."""
    pts_s: float | None
    """Presentation time, seconds; None if the frame has none."""
    ntp_s: float | None
    """Unix time of this frame by the camera's RTCP report; None without one."""
    arrived_at: float
    """Unix time at which its packet was read."""


class VideoReader:
    """An open source and its first video stream.

    Args:
        spec: what to open.
        decoding: what may decode; by default the CPU alone.

    Raises:
        SourceError: the source cannot be opened, has no video, or only the GPU may decode it and refuses.
    """

    def __init__(self, spec: SourceSpec, decoding: Decoding | None = None) -> None:
        self._spec = spec
        self._decoding = decoding or Decoding()
        self.broken_packets = 0
        self.decoder: Decoder | None = None
        """What decodes; None until the first picture shows it."""
        self.refusal = ""
        """Why the CPU decodes though there is a GPU; empty otherwise."""
        self._ntp_s: float | None = None
        self._sought_s: float | None = None
        self._begin()

    def _begin(self) -> None:
        choice = self._decoding.choose(self._spec.url)
        self._hopes_for_gpu = choice.accel is not None
        if choice.refusal:
            self._do_without_gpu(choice.refusal, SourceFailure.DECODER_LOST)
        self._container = self._open(choice)
        try:
            self._stream = self._pick()
            self.info = self._describe()
            if self._hopes_for_gpu and not self._stream.codec_context.is_hwaccel:
                self._hopes_for_gpu = False
                self._do_without_gpu(f"FFmpeg decodes {self.info.codec} on the CPU only")
        except BaseException:
            self._container.close()
            raise
        if not self._hopes_for_gpu:
            self.decoder = Decoder.CPU

    def _do_without_gpu(self, refusal: str, failure: SourceFailure = SourceFailure.CODEC_MISSING) -> None:
        if self._decoding.mode is DecodeMode.NVDEC:
            raise SourceError(failure, self._spec.label, refusal, hint=_ONLY_GPU_HINT)
        self.decoder, self.refusal = Decoder.CPU, refusal

    def _open(self, choice: DecoderChoice) -> Any:
        began = time.monotonic()
        try:
            limits = (self._spec.open_timeout_s, self._spec.read_timeout_s)
            return av.open(self._spec.url, options=_options(self._spec), timeout=limits, hwaccel=choice.accel)
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
            raise SourceError(SourceFailure.NOT_VIDEO, self._spec.label, "no readable video stream")
        stream = streams[0]
        if stream.codec_context is None:
            raise SourceError(SourceFailure.CODEC_MISSING, self._spec.label, "no decoder for this video here")
        if stream.codec_context.width < 1 or stream.codec_context.height < 1:
            raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "pictures have no size")
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
        # With several streams, the container's duration may be that of a longer sound track.
        if self._container.duration and len(self._container.streams) == 1:
            return Fraction(self._container.duration, av.time_base)
        return None

    @property
    def has_own_stamps(self) -> bool:
        """Whether the source has presentation times; if not, FFmpeg counts frames at a rate that it assumes."""
        return not self._container.format.flags & _NO_TIMESTAMPS

    @property
    def comes_in_bursts(self) -> bool:
        """Whether a network source comes faster than it was recorded: in segments, or as a file."""
        return self._spec.is_network and (
            self._container.format.name in _SEGMENTED_FORMATS or self.info.duration_s is not None
        )

    @property
    def start_s(self) -> float:
        """Presentation time of the first frame, as the header states it, in seconds."""
        return float((self._stream.start_time or 0) * self._stream.time_base)

    def frames(self) -> Iterator[DecodedFrame]:
        """Every frame from here to the end, in order of presentation.

        Raises:
            SourceError: the source broke, was silent for too long, or sends no decodable pictures.
        """
        given = 0
        while True:
            try:
                for decoded in islice(self._frames(), given, None):
                    given += 1
                    yield decoded
            except _GpuFailedError as error:
                detail = str(error)
            else:
                return
            self._go_on_without_gpu(detail)  # outside `except`, where no traceback holds the decoder that failed

    def _go_on_without_gpu(self, detail: str) -> None:
        """Go back to where `frames` began, with the CPU."""
        if self._decoding.mode is not DecodeMode.NVDEC:
            self._decoding.rest(self._spec.url, detail)
        if self._spec.playback is Playback.LIVE or self._decoding.mode is DecodeMode.NVDEC:
            raise SourceError(SourceFailure.DECODER_LOST, self._spec.label, detail)
        self.close()
        self._begin()
        if self._sought_s is not None:
            self.seek(self._sought_s)

    def _frames(self) -> Iterator[DecodedFrame]:
        packets = self._container.demux(self._stream)
        since_picture = 0
        while (packet := self._next(packets)) is not None:
            arrived_at = time.time()
            self._record_ntp(packet)
            pictures = self._decode(packet)
            since_picture = 0 if pictures else since_picture + 1
            if since_picture > _MOST_BROKEN_PACKETS:
                self._blame_gpu("gives no pictures")
                raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "no packet can be decoded")
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
            pictures = list(packet.decode())
        except av.error.FFmpegError as error:
            if not isinstance(error, av.error.InvalidDataError):
                self._blame_gpu(f"stopped decoding: {error.strerror}")
            self.broken_packets += 1  # one broken packet among good ones; the next may be intact
            return []
        if pictures and self._hopes_for_gpu:
            self._record_decoder()
        return pictures

    def _blame_gpu(self, what: str) -> None:
        if self._hopes_for_gpu and is_on_gpu(self._stream.codec_context):
            raise _GpuFailedError(f"the GPU {what}")

    def _record_decoder(self) -> None:
        """Record what FFmpeg decodes with; it decides again each time the stream's headers change."""
        if is_on_gpu(self._stream.codec_context):
            self.decoder, self.refusal = Decoder.NVDEC, ""
        elif not self.refusal:
            self._do_without_gpu(_REFUSED)

    def _record_ntp(self, packet: Any) -> None:
        if not self._spec.is_rtsp or packet.pts is None or not packet.has_sidedata(_PRODUCER_REFERENCE_TIME):
            return
        wall_us, _ = struct.unpack_from("<qi", bytes(packet.get_sidedata(_PRODUCER_REFERENCE_TIME)))
        self._ntp_s = wall_us / 1e6 - float(packet.pts * packet.time_base)

    def _decoded(self, picture: Any, arrived_at: float) -> DecodedFrame:
        if picture.width < 1 or picture.height < 1:
            raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "pictures have no size")
        pts_s = None if picture.pts is None else float(picture.pts * picture.time_base)
        ntp_s = None if pts_s is None or self._ntp_s is None else pts_s + self._ntp_s
        return DecodedFrame(picture, pts_s, ntp_s, arrived_at)

    def seek(self, position_s: float) -> None:
        """Go to the last key frame at or before a position, seconds from the first frame."""
        self._sought_s = position_s
        start = self._stream.start_time or 0
        target = start + int(position_s / self._stream.time_base)
        try:
            self._container.seek(target, stream=self._stream, backward=True)
        except (av.error.FFmpegError, OSError) as error:
            raise refused(self._spec.label, error, waited_s=0.0, limit_s=self._spec.read_timeout_s) from None

    def close(self) -> None:
        """Close the source; safe to call twice."""
        self._container.close()
        self._stream = None  # it holds the decoder, and a GPU has only a few decoders

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _options(spec: SourceSpec) -> dict[str, str]:
    if not spec.is_rtsp:
        return _http_options(spec)
    options = {"rtsp_transport": spec.transport.value, "max_delay": str(_REORDERING_US), "fpsprobesize": "0"}
    if spec.transport == "udp":
        options["buffer_size"] = str(_UDP_BUFFER_BYTES)
    return options


def _http_options(spec: SourceSpec) -> dict[str, str]:
    options = {}
    if is_this_machine(host_of(spec.url)):
        # FFmpeg asks the proxy of the environment for every HTTP address, also one of this machine.
        options["http_proxy"] = ""
    if spec.is_network and spec.playback is Playback.LIVE:
        # To measure the frame rate of a camera, FFmpeg would keep back two seconds of pictures, then give them at once.
        options["fpsprobesize"] = "0"
    return options


def _lacks_index(spec: SourceSpec) -> bool:
    """Whether this is an MP4 or MOV file without its `moov` box, as a recorder leaves it that lost power."""
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

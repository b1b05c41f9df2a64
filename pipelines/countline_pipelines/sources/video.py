"""One open video: FFmpeg through PyAV, with a deadline for every call, and `SourceError` for every error.

Use a reader from one thread. FFmpeg releases the interpreter's lock, so a thread for each camera is cheap. FFmpeg asks
its interrupt callback (PyAV's `timeout`) while it waits for a network; that enforces the deadlines.

Frames, times and their order are the same on GPU and CPU (decoding.py). A GPU that fails in the middle of a file costs
no frame: the file is opened again for the CPU, which goes on after the last yielded frame. A live stream cannot be read
twice, so it breaks and is opened again, as after any break.
"""

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import av
import av.error

from countline_common.display import Displayer, PictureShape
from countline_common.files.text_files import LFS_HINT
from countline_common.hosts import host_of, is_this_machine
from countline_pipelines.sources.content import is_pointer
from countline_pipelines.sources.decoding import DecodeMode, Decoder, Decoding, is_on_gpu
from countline_pipelines.sources.errors import SourceError, SourceFailure, refused
from countline_pipelines.sources.holes import HoleFinder
from countline_pipelines.sources.mp4 import Mp4Part, mp4_parts
from countline_pipelines.sources.spec import Playback, SourceSpec
from countline_pipelines.sources.tracks import pick_track
from countline_pipelines.sources.wall_clock import WALL
from countline_pipelines.sources.warnings import SourceWarnings, WarningCode

_SEGMENTED_FORMATS: Final = frozenset({"hls", "hls,applehttp", "dash"})
_PRODUCER_REFERENCE_TIME: Final = "prft"
_REORDERING_US: Final = 300_000
_UDP_BUFFER_BYTES: Final = 4 * 1024 * 1024
_DEFAULT_FPS: Final = Fraction(25)
_FASTEST_FPS: Final = 1000
_MOST_BROKEN_PACKETS: Final = 300
"""After this many packets of a stream in a row without a picture, none is expected."""
KEY_FRAME_WITHIN_S: Final = 30.0
"""How long a stream may send no key frame after it was opened. Decoding starts at a key frame; cameras that save
bandwidth send one every 10 to 20 seconds."""
_SAY_AFTER_S: Final = 2.0
"""A wait for the first key frame that takes longer is reported."""
_NO_TIMESTAMPS: Final = 0x0080
"""FFmpeg's flag of a container format without times (AVFMT_NOTIMESTAMPS)."""
_MOST_BYTES_AFTER: Final = 0.2
"""Share of a file that may follow its last packet: an index, attachments."""
_MOST_RESUMED: Final = 10_000
KEY_FRAME_HINT: Final = "set the encoder to send a key frame every few seconds"
_OTHER_TRACK_HINT: Final = "to count another track, extract it: ffmpeg -i IN -map 0:v:NUMBER -c copy OUT.mkv"
_RESUMABLE: Final = (av.error.BlockingIOError, av.error.InvalidDataError)
"""Errors of a demuxer that stands in damaged bytes; it finds the next packet if it is asked again."""
_REFUSED: Final = "the GPU does not take this kind of picture, or no decoder of it is free"
_ONLY_GPU_HINT: Final = "use --decode auto, so that the CPU decodes what the GPU refuses"


class _GpuFailedError(Exception):
    """The GPU stopped decoding in the middle of a stream."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source states about its video, and what its first picture shows."""

    width: int
    height: int
    """As displayed, in square pixels."""
    fps: float
    """25 if the container states nothing."""
    duration_s: Fraction | None
    """Of the video; None for streams."""
    frames: int
    """Number of frames; 0 if the container states nothing."""
    codec: str


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One picture, turned upright."""

    picture: Any
    """av.VideoFrame; the receiver owns it. Its pixels need not be square: see `shape`."""
    pts_s: float | None
    """Presentation time, seconds; None if the frame has none."""
    ntp_s: float | None
    """Unix time of this frame by the camera's RTCP report; None without one."""
    arrived_at: float
    """Unix time at which its packet was read."""
    duration_s: float
    """How long the picture is shown; 0 if the container does not state it."""
    shape: PictureShape
    """As displayed."""
    is_after_hole: bool = False
    """Whether pictures of a file before it are missing, for as long as the PTS say."""


class VideoReader:
    """An open source and the first of its video tracks that moves.

    Args:
        spec: what to open.
        decoding: what may decode; by default the CPU alone.
        warnings: gets what a person should know about the source.
        stop: ends a wait for the first picture.

    Raises:
        SourceError: the source cannot be opened, has no video, sends no key frame in time, or only the GPU may decode
            it and refuses.
    """

    def __init__(
        self,
        spec: SourceSpec,
        decoding: Decoding | None = None,
        *,
        warnings: SourceWarnings | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        began = time.monotonic()
        self._spec = spec
        self._decoding = decoding or Decoding()
        self.warnings = warnings if warnings is not None else SourceWarnings()
        self._stop = stop or threading.Event()
        self.broken_packets = 0
        self.decoder: Decoder | None = None
        """What decodes; None until the first picture shows it."""
        self.refusal = ""
        """Why the CPU decodes though there is a GPU; empty otherwise."""
        self._ntp_s: float | None = None
        self._sought_s: float | None = None
        self._parts = self._find_parts()
        self._without_picture = 0
        self._waited_s = 0.0
        """How long the reader waited for packets since the last picture; first, since it was opened."""
        self._has_picture = False
        self._read_to = 0
        """One past the last byte of the last packet, in the file."""
        self._begin()
        self._waited_s = time.monotonic() - began
        try:
            self.info = self._describe()
            self._holes = HoleFinder(
                self.warnings, self._spec.label, 1.0 / self.info.fps, is_alone=len(self._container.streams) == 1
            )
            self._ahead: Iterator[DecodedFrame] | None = self._all()
            self._first = next(self._ahead, None)
            self.info = self._displayed(self._first)
        except BaseException:
            self.close()
            raise

    def _find_parts(self) -> tuple[Mp4Part, ...]:
        """Return the recordings of which a file was joined; empty unless it is an MP4."""
        parts = () if self._spec.is_network else mp4_parts(self._spec.url)
        if len(parts) > 1 and not self._spec.playback.is_finite:
            unread = parts[-1].end - parts[1].start
            message = f"{self._spec.label}: another recording is appended; its {unread} bytes are not played in a loop"
            self.warnings.put(WarningCode.UNREAD, message, "join the recordings with `ffmpeg -f concat`")
            return parts[:1]
        return parts

    def _begin(self) -> None:
        choice = self._decoding.choose(self._spec.url)
        self._hopes_for_gpu = choice.accel is not None
        if choice.refusal:
            self._do_without_gpu(choice.refusal, SourceFailure.DECODER_LOST)
        self._choice = choice
        self._container = self._open(self._url_of(0))
        try:
            self._stream = self._pick()
            if self._hopes_for_gpu and not self._stream.codec_context.is_hwaccel:
                self._hopes_for_gpu = False
                codec = self._stream.codec_context.name
                self._do_without_gpu(f"FFmpeg decodes {codec} on the CPU only")
        except BaseException:
            self._container.close()
            raise
        if not self._hopes_for_gpu:
            self.decoder = Decoder.CPU

    def _do_without_gpu(self, refusal: str, failure: SourceFailure = SourceFailure.CODEC_MISSING) -> None:
        if self._decoding.mode is DecodeMode.NVDEC:
            raise SourceError(failure, self._spec.label, refusal, hint=_ONLY_GPU_HINT)
        self.decoder, self.refusal = Decoder.CPU, refusal

    def _url_of(self, part: int) -> str:
        """FFmpeg's address of one of several recordings in a file."""
        if len(self._parts) < 2:
            return self._spec.url
        return f"subfile,,start,{self._parts[part].start},end,{self._parts[part].end},,:{self._spec.url}"

    def _open(self, url: str) -> Any:
        began = time.monotonic()
        if is_pointer(self._spec):
            detail = "is a Git LFS pointer, not the video itself"
            raise SourceError(SourceFailure.NOT_VIDEO, self._spec.label, detail, hint=LFS_HINT)
        try:
            limits = (self._spec.open_timeout_s, self._spec.read_timeout_s)
            return av.open(url, options=_options(self._spec), timeout=limits, hwaccel=self._choice.accel)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._refused(error, began, self._spec.open_timeout_s) from None

    def _refused(self, error: Exception, began: float, limit_s: float) -> SourceError:
        # `from None` where this is raised: FFmpeg's own text holds the address with its password.
        if isinstance(error, av.error.InvalidDataError) and self._parts and not self._parts[0].has_index:
            detail = "the recording was cut off before its index was written"
            return SourceError(SourceFailure.TRUNCATED, self._spec.label, detail)
        waited_s = time.monotonic() - began
        return refused(self._spec.label, error, waited_s=waited_s, limit_s=limit_s)

    def _pick(self, part: int = 0) -> Any:
        label, videos = self._spec.label, self._container.streams.video
        reopen = None if self._spec.is_network else lambda: self._open(self._url_of(part))
        stream = pick_track(self._container, label, reopen)
        if stream.codec_context is None:
            raise SourceError(SourceFailure.CODEC_MISSING, label, "no decoder for this video here")
        if stream is not videos[0]:
            number = videos.index(stream)
            message = f"{label}: video track {number} is read, because the tracks before it are still pictures"
            self.warnings.put(WarningCode.OTHER_TRACK, message, _OTHER_TRACK_HINT)
        stream.thread_type = "AUTO" if self._spec.decode_threads > 1 else "SLICE"
        stream.codec_context.thread_count = self._spec.decode_threads
        self._displayer = Displayer(stream.sample_aspect_ratio)
        return stream

    def _describe(self) -> VideoInfo:
        stream, context = self._stream, self._stream.codec_context
        rate = stream.average_rate or stream.guessed_rate or _DEFAULT_FPS
        if self._container.format.flags & _NO_TIMESTAMPS and not self._spec.is_network:
            rate = self._assumed_rate(rate)
        fps = float(rate) if 0 < rate <= _FASTEST_FPS else float(_DEFAULT_FPS)
        durations = [_duration_s(self._container, stream)]
        frames = stream.frames or 0
        for part in range(1, len(self._parts)):
            with suppress(SourceError), self._open(self._url_of(part)) as container:
                more = pick_track(container, self._spec.label, None)
                durations.append(_duration_s(container, more))
                frames += more.frames or 0
        self._part_durations_s = tuple(durations)
        known = [duration for duration in durations if duration is not None]
        return VideoInfo(0, 0, fps, sum(known, Fraction(0)) if known else None, frames, context.name)

    def _assumed_rate(self, rate: Fraction) -> Fraction:
        """Return the frame rate of a stream without a container, whose pictures have no times."""
        stated = self._stream.codec_context.framerate
        is_stated = bool(stated and 0 < stated <= _FASTEST_FPS)
        used = stated if is_stated else rate
        source = "as its header states" if is_stated else "because its header states none"
        message = (
            f"{self._spec.label}: its pictures have no times; {float(used):g} frames per second are assumed, {source}"
        )
        hint = "if the rate is wrong, write it into a file with times: ffmpeg -framerate FPS -i IN -c copy OUT.mp4"
        self.warnings.put(WarningCode.ASSUMED_RATE, message, hint)
        return Fraction(used)

    def _displayed(self, first: DecodedFrame | None) -> VideoInfo:
        """Return the description with the size of the first picture, or of the header if there is no picture."""
        context, fps = self._stream.codec_context, self.info.fps
        if first is not None:
            width, height = first.shape.size_wh
            if not self._stream.average_rate and first.duration_s >= 1.0 / _FASTEST_FPS:
                fps = 1.0 / first.duration_s
        elif context.width < 1 or context.height < 1:
            raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "no picture can be decoded")
        else:
            width, height = context.width, context.height
        return replace(self.info, width=width, height=height, fps=fps)

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
        first, self._first = self._first, None
        ahead, self._ahead = self._ahead or self._all(), None
        if first is not None:
            yield first
        yield from ahead

    def _all(self) -> Iterator[DecodedFrame]:
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
            self._seek(self._sought_s)

    def _frames(self) -> Iterator[DecodedFrame]:
        yield from self._frames_of_part(0)
        for part in range(1, len(self._parts)):
            self._go_on_with(part)
            yield from self._frames_of_part(part)
        if self._spec.playback.is_finite and not self._spec.is_network and not self._parts:
            self._check_all_read()

    def _go_on_with(self, part: int) -> None:
        """Open a recording that was appended to the file."""
        self._container.close()
        try:
            self._container = self._open(self._url_of(part))
            self._stream = self._pick(part)
        except SourceError as error:
            raise self._unread(self._parts[part].start, self._parts[-1].end, error.message) from None

    def _check_all_read(self) -> None:
        """Raise an error if the demuxer stopped long before the end of the file, as at an appended recording."""
        try:
            size = Path(self._spec.url).stat().st_size
        except OSError:
            return
        if self._read_to and size - self._read_to > _MOST_BYTES_AFTER * size:
            raise self._unread(self._read_to, size, "it was joined from several, or damaged")

    def _unread(self, start: int, end: int, why: str) -> SourceError:
        until = f" after {self._holes.read_until_s:.1f} s" if self._holes.read_until_s else ""
        detail = f"{end - start} of its {end} bytes, from byte {start} on, were not read{until}: {why}"
        hint = "join recordings with `ffmpeg -f concat`, or give each by itself; --partial counts what was read"
        return SourceError(SourceFailure.TRUNCATED, self._spec.label, detail, hint=hint, after_pictures=True)

    def _frames_of_part(self, part: int) -> Iterator[DecodedFrame]:
        stated_s = self._part_durations_s[part] if part < len(self._part_durations_s) else None
        if self._sought_s is None:
            base_s = float(sum((each or 0 for each in self._part_durations_s[:part]), Fraction(0)))
            self._holes.begin(base_s, None if self._stream.start_time is None else self.start_s)
        for packet in self._packets():
            arrived_at = WALL.now()
            self._record_ntp(packet)
            pictures = self._decode(packet)
            self._judge(pictures)
            for picture in pictures:
                yield self._decoded(picture, arrived_at)
        self._holes.end(None if stated_s is None else float(stated_s))

    def _packets(self) -> Iterator[Any]:
        """The packets of the video; a demuxer that met damaged bytes in a file is asked again."""
        # Of a stream, packets of other tracks are read too: else a sound without pictures would block for ever.
        tracks = self._container.streams if self._spec.is_network else (self._stream,)
        resumed = 0
        packets = self._container.demux(*tracks)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                packet = next(packets, None)
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError) as error:
                resumed += 1
                if self._spec.is_network or not isinstance(error, _RESUMABLE) or resumed > _MOST_RESUMED:
                    raise self._refused(error, began, self._spec.read_timeout_s) from None
                self._holes.broken()
                packets = self._container.demux(*tracks)
                continue
            if packet is None:
                return
            self._waited_s += time.monotonic() - began
            if packet.stream_index == self._stream.index:
                resumed = 0
                self._read_to = max(self._read_to, (packet.pos or 0) + packet.size)
                yield packet
            else:
                self._judge_wait()

    def _judge(self, pictures: list[Any]) -> None:
        """Raise an error if packets come and give no pictures."""
        if pictures:
            self._without_picture, self._waited_s = 0, 0.0
            self.warnings.clear(WarningCode.NO_KEY_FRAME)
            self._has_picture = True
            return
        self._without_picture += 1
        if self._without_picture > _MOST_BROKEN_PACKETS:
            self._blame_gpu("gives no pictures")
            if self._has_picture and self._spec.is_network:
                raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "no packet can be decoded")
        self._judge_wait()

    def _judge_wait(self) -> None:
        """Raise an error if a stream sent no picture for too long; say so before."""
        label, limit_s = self._spec.label, KEY_FRAME_WITHIN_S
        if not self._spec.is_network or self._waited_s < _SAY_AFTER_S:
            return
        if self._waited_s < limit_s:
            if not self._has_picture:
                message = f"{label}: waits for the first key frame, for at most {limit_s:g} s"
                self.warnings.put(WarningCode.NO_KEY_FRAME, message, KEY_FRAME_HINT)
        elif self._has_picture:
            raise SourceError(SourceFailure.TIMED_OUT, label, f"no picture for {limit_s:g} s, though data arrives")
        else:
            raise SourceError(SourceFailure.NO_KEY_FRAME, label, f"no key frame within {limit_s:g} s")

    def _decode(self, packet: Any) -> list[Any]:
        try:
            pictures = list(packet.decode())
        except av.error.FFmpegError as error:
            if not isinstance(error, av.error.InvalidDataError):
                self._blame_gpu(f"stopped decoding: {error.strerror}")
            self.broken_packets += 1  # one broken packet among good ones; the next may be intact
            self._holes.broken()
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
        duration_s = float(picture.duration * picture.time_base) if picture.duration else 0.0
        is_after_hole = not self._spec.is_network and self._holes.picture(pts_s, duration_s, self._read_to)
        upright, shape = self._displayer.show(picture, self._stream.codec_context.sample_aspect_ratio)
        return DecodedFrame(upright, pts_s, ntp_s, arrived_at, duration_s, shape, is_after_hole)

    def seek(self, position_s: float) -> None:
        """Go to the last key frame at or before a position, seconds from the first frame."""
        self._first = self._ahead = None
        self._sought_s = position_s
        self._seek(position_s)

    def _seek(self, position_s: float) -> None:
        self._holes.begin(0.0, None)
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


def _duration_s(container: Any, stream: Any) -> Fraction | None:
    if stream.duration and stream.time_base:
        return Fraction(stream.duration) * Fraction(stream.time_base)
    # With several streams, the container's duration may be that of a longer sound track.
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None


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

"""One open recording: FFmpeg's container, and the first of its video tracks that moves."""

import math
import struct
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import av.error
from av.codec.hwaccel import HWAccel

from countline_common.display import Displayer, PictureShape
from countline_pipelines.sources.errors import SourceError, SourceFailure, refused
from countline_pipelines.sources.reading.recordings import SEGMENTED_FORMATS, Recordings, holds_next_part
from countline_pipelines.sources.reading.watch import PictureWatch
from countline_pipelines.sources.tracks import pick_track
from countline_pipelines.sources.warnings import SourceWarnings, WarningCode

_PRODUCER_REFERENCE_TIME: Final = "prft"
_WITHOUT_ORDER: Final = "avi"
"""A format that numbers pictures in the order of decoding. FFmpeg's presentation times of its B-frames are wrong."""
_AVI_CHUNK_HEADER_BYTES: Final = 8
_NO_TIMESTAMPS: Final = 0x0080
"""FFmpeg's flag of a container format without times (AVFMT_NOTIMESTAMPS)."""
_MPEG_HZ: Final = 90_000
_COUNTS_33_BITS: Final = frozenset({"mpegts", "mpeg", "hls", "hls,applehttp", "rtsp", "sdp"})
_COUNTS_32_BITS: Final = frozenset({"flv", "live_flv", "asf"})
"""Formats by the length of their counter of time, as FFmpeg's demuxers declare it (`pts_wrap_bits`)."""
_ENDLESS_FORMATS: Final = SEGMENTED_FORMATS | {"mpjpeg", "mjpeg"}
_MOST_RESUMED: Final = 10_000
_OTHER_TRACK_HINT: Final = "to count another track, extract it: ffmpeg -i IN -map 0:v:NUMBER -c copy OUT.mkv"
_RESUMABLE: Final = (av.error.BlockingIOError, av.error.InvalidDataError)
"""Errors of a demuxer that stands in damaged bytes; it finds the next packet if it is asked again."""


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


class OpenRecording:
    """An open recording of a source.

    Args:
        recordings: of the source.
        number: of the recording.
        accel: the GPU that decodes; None for the CPU.
        warnings: gets a warning if it is not the first track that moves.

    Raises:
        SourceError: the recording cannot be opened, or has no video.
    """

    def __init__(self, recordings: Recordings, number: int, accel: HWAccel | None, warnings: SourceWarnings) -> None:
        self._recordings = recordings
        self._accel = accel
        self._warnings = warnings
        self._spec = recordings.spec
        self._ntp_s: float | None = None
        self.read_to = 0
        """One past the last byte of the last packet, in this recording."""
        self._numbered = 0
        self.container = recordings.open(number, accel)
        try:
            reopen = None if self._spec.is_network else lambda: recordings.open(number, accel)
            self.stream = pick_track(self.container, self._spec.label, reopen)
            self._prepare()
        except BaseException:
            self.container.close()
            raise

    def _prepare(self) -> None:
        label, stream, videos = self._spec.label, self.stream, self.container.streams.video
        if stream.codec_context is None:
            raise SourceError(SourceFailure.CODEC_MISSING, label, "no decoder for this video here")
        if stream is not videos[0]:
            number = videos.index(stream)
            message = f"{label}: video track {number} is read, because the tracks before it are still pictures"
            self._warnings.put(WarningCode.OTHER_TRACK, message, _OTHER_TRACK_HINT)
        stream.thread_type = "AUTO" if self._spec.decode_threads > 1 else "SLICE"
        stream.codec_context.thread_count = self._spec.decode_threads
        self._displayer = Displayer(stream.sample_aspect_ratio)

    @property
    def has_own_stamps(self) -> bool:
        """Whether the container has presentation times; if not, FFmpeg counts frames at a rate that it assumes."""
        return not self.container.format.flags & _NO_TIMESTAMPS

    @property
    def is_segmented(self) -> bool:
        """Whether the format is a list of segments."""
        return self.container.format.name in SEGMENTED_FORMATS

    @property
    def has_length(self) -> bool:
        """Whether the server of a file states its length in bytes."""
        return self.container.format.name not in _ENDLESS_FORMATS and self.container.size > 0

    @property
    def unread(self) -> int:
        """Pictures of an AVI that its header states beyond the last one that was read; 0 for other formats."""
        return max(0, self.stream.frames - self._numbered) if self._numbered else 0

    @property
    def turn_s(self) -> float:
        """After which time the counter of the presentation times starts again; infinite if it never does."""
        name, ticks_per_s = self.container.format.name, 1 / self.stream.time_base
        if name in _COUNTS_33_BITS and ticks_per_s == _MPEG_HZ:
            return float(2**33 / ticks_per_s)
        return float(2**32 / ticks_per_s) if name in _COUNTS_32_BITS else math.inf

    @property
    def start_s(self) -> float:
        """Presentation time of the first frame, as the header states it, in seconds."""
        return float((self.stream.start_time or 0) * self.stream.time_base)

    def packets(self, stop: threading.Event, watch: PictureWatch, on_damage: Callable[[], None]) -> Iterator[Any]:
        """The packets of the video; a demuxer that met damaged bytes in a file is asked again.

        Raises:
            SourceError: the source broke, was silent for too long, or sends no picture.
        """
        # Of a stream, packets of other tracks are read too: else a sound without pictures would block for ever.
        # Of a file, they show how far it was read.
        resumed = 0
        packets = self.container.demux(*self.container.streams)
        while not stop.is_set():
            began = time.monotonic()
            try:
                packet = next(packets, None)
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError) as error:
                if self._opens_misread():
                    packets = self.container.demux(self.stream)
                    continue
                resumed += 1
                if self._spec.is_network or not isinstance(error, _RESUMABLE) or resumed > _MOST_RESUMED:
                    raise self._recordings.refused(error, began, self._spec.read_timeout_s) from None
                on_damage()
                packets = self.container.demux(*self.container.streams)
                continue
            if packet is None:
                return
            watch.waited_s += time.monotonic() - began
            if packet.size and packet.pos is not None:
                self.read_to = max(self.read_to, packet.pos + packet.size)
            if packet.stream.index == self.stream.index:  # the last, empty packet has no index of its own
                resumed = 0
                self._record_ntp(packet)
                self._number(packet)
                yield packet
                if holds_next_part(self.container, packet) and self._opens_misread():
                    packets = self.container.demux(self.stream)
            else:
                watch.check()

    def _opens_misread(self) -> bool:
        """Go on with a stream of pictures whose parts FFmpeg misreads; return False if that is not the fault."""
        container = self._recordings.open_misread(self.container, self._accel)
        if container is None:
            return False
        self.container, self.stream = container, container.streams.video[0]
        self._prepare()
        return True

    def _record_ntp(self, packet: Any) -> None:
        if not self._spec.is_rtsp or packet.pts is None or not packet.has_sidedata(_PRODUCER_REFERENCE_TIME):
            return
        wall_us, _ = struct.unpack_from("<qi", bytes(packet.get_sidedata(_PRODUCER_REFERENCE_TIME)))
        self._ntp_s = wall_us / 1e6 - float(packet.pts * packet.time_base)

    def _number(self, packet: Any) -> None:
        """Give a packet of an AVI the number that its index states: FFmpeg counts only the packets that it reads."""
        if self.container.format.name != _WITHOUT_ORDER or packet.dts is None or packet.pos is None:
            return
        entries, place = self.stream.index_entries, packet.pos - _AVI_CHUNK_HEADER_BYTES
        if packet.dts >= len(entries) or entries[packet.dts].pos != place:
            found = bisect_left(entries, place, key=lambda entry: entry.pos)
            if found < len(entries) and entries[found].pos == place:
                packet.dts = entries[found].timestamp
        self._numbered = max(self._numbered, packet.dts + 1)

    def show(self, picture: Any, arrived_at: float) -> DecodedFrame:
        """Turn a decoded picture upright, and give it its times.

        Raises:
            SourceError: the picture has no size.
        """
        if picture.width < 1 or picture.height < 1:
            raise SourceError(SourceFailure.BAD_PICTURE, self._spec.label, "pictures have no size")
        stamp = picture.dts if self.container.format.name == _WITHOUT_ORDER else picture.pts
        pts_s = None if stamp is None else float(stamp * picture.time_base)
        ntp_s = None if pts_s is None or self._ntp_s is None else pts_s + self._ntp_s
        duration_s = float(picture.duration * picture.time_base) if picture.duration else 0.0
        upright, shape = self._displayer.show(picture, self.stream.codec_context.sample_aspect_ratio)
        return DecodedFrame(upright, pts_s, ntp_s, arrived_at, duration_s, shape)

    def seek(self, position_s: float) -> None:
        """Go to the last key frame at or before a position, seconds from the first frame.

        Raises:
            SourceError: the source cannot be read there.
        """
        target = (self.stream.start_time or 0) + int(position_s / self.stream.time_base)
        try:
            self.container.seek(target, stream=self.stream, backward=True)
        except (av.error.FFmpegError, OSError) as error:
            raise refused(self._spec.label, error, waited_s=0.0, limit_s=self._spec.read_timeout_s) from None

    def close(self) -> None:
        """Close the recording; safe to call twice."""
        self.container.close()
        self.stream = None  # it holds the decoder, and a GPU has only a few decoders

"""The recordings of which a source consists, and how FFmpeg opens them.

A source is one recording, unless a tool without knowledge of MP4 joined several to one file.
"""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import av
import av.error
from av.codec.hwaccel import HWAccel

from countline_common.hosts import host_of, is_this_machine, proxy_remark
from countline_pipelines.sources.content import unread_end
from countline_pipelines.sources.errors import SourceError, SourceFailure, refused
from countline_pipelines.sources.mp4 import Mp4Part, mp4_parts
from countline_pipelines.sources.reading.foreign import foreign_file
from countline_pipelines.sources.spec import Playback, SourceSpec
from countline_pipelines.sources.warnings import SourceWarnings, WarningCode

_PROXY_VARIABLES: Final = ("http_proxy",)
"""What FFmpeg reads, for https:// too."""
SEGMENTED_FORMATS: Final = frozenset({"hls", "hls,applehttp", "dash"})
SEGMENT_WITHIN_S: Final = 30.0
"""How long FFmpeg may wait for the next segment."""
JPEGS_WITHIN_S: Final = 3.0
"""How long FFmpeg may look for a picture in an HTTP stream of JPEG pictures whose parts it cannot read."""
_PARTS: Final = "mpjpeg"
_JPEGS: Final = "mjpeg"
_BARE_JPEGS: Final = frozenset({_JPEGS, "jpeg_pipe"})
_JPEGS_OPTIONS: Final = {"fpsprobesize": "0", "probesize": "4096", "analyzeduration": "1"}
"""Else FFmpeg would keep back seconds of pictures, then give them at once. It has dated none of them."""
_NO_PARTS: Final = (av.error.InvalidDataError, av.error.OSError, av.error.TimeoutError, av.error.ExitError)
"""What FFmpeg raises for parts that it cannot read, or whose end it does not find."""
_PART_IN_PICTURE: Final = re.compile(rb"\xff\xd9\s{0,4}--\S")
"""The end of a JPEG picture with a boundary behind it. No picture contains that, unless it holds the next one too."""
_REORDERING_US: Final = 300_000
_UDP_BUFFER_BYTES: Final = 4 * 1024 * 1024


def is_live_in_segments(container: Any) -> bool:
    """Whether a container is a stream in segments that has no end."""
    return container.format.name in SEGMENTED_FORMATS and container.duration is None


def _is_misread(container: Any) -> bool:
    """Whether FFmpeg found no picture in parts, or keeps back pictures that come without parts."""
    name = container.format.name
    is_empty = name == _PARTS and not container.streams.video[0].codec_context.width
    return is_empty or (name in _BARE_JPEGS and container.size <= 0)


def holds_next_part(container: Any, packet: Any) -> bool:
    """Whether a packet of multipart JPEG holds more than its picture, because its stated length is too large."""
    return container.format.name == _PARTS and _PART_IN_PICTURE.search(memoryview(packet)) is not None


class Recordings:
    """Opens the recordings of a source, numbered from 0.

    Args:
        spec: the source.
        warnings: gets a warning if a loop leaves out the recordings after the first.
    """

    def __init__(self, spec: SourceSpec, warnings: SourceWarnings) -> None:
        self.spec = spec
        self._parts = _find_parts(spec, warnings)

    def __len__(self) -> int:
        return max(1, len(self._parts))

    def open(self, number: int, accel: HWAccel | None) -> Any:
        """Return PyAV's container of a recording, with deadlines for every call.

        Raises:
            SourceError: the recording cannot be opened.
        """
        spec, began = self.spec, time.monotonic()
        foreign = None if spec.is_network else foreign_file(Path(spec.url))
        if foreign is not None:
            raise SourceError(SourceFailure.NOT_VIDEO, spec.label, foreign.detail, hint=foreign.hint)
        try:
            container = self._open(number, accel, spec.read_timeout_s)
            if spec.playback is Playback.LIVE and is_live_in_segments(container):
                # A segment may take longer to come than a stream may be silent, and the limit cannot be changed.
                container.close()
                container = self._open(number, accel, max(spec.read_timeout_s, SEGMENT_WITHIN_S))
            elif self._may_be_jpegs and _is_misread(container):
                container.close()
                container = self._open_jpegs(accel)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            refusal = self.refused(error, began, spec.open_timeout_s)
            container = self._open_jpegs(accel) if self._may_be_jpegs and isinstance(error, _NO_PARTS) else None
            if container is None:
                raise refusal from None
        if container is None:
            raise SourceError(SourceFailure.NOT_VIDEO, spec.label, "no readable video stream")
        return container

    @property
    def _may_be_jpegs(self) -> bool:
        return self.spec.is_http and self.spec.playback is Playback.LIVE

    def open_misread(self, container: Any, accel: HWAccel | None) -> Any | None:
        """Close a stream whose parts FFmpeg misreads, and open it by its JPEG pictures alone; None if that fails.

        A part whose stated length is wrong takes the next pictures with it, or FFmpeg waits for bytes that do not come.
        """
        if not self._may_be_jpegs or container.format.name != _PARTS:
            return None
        container.close()  # first: some cameras serve one client
        return self._open_jpegs(accel)

    def _open_jpegs(self, accel: HWAccel | None) -> Any | None:
        """Open an HTTP stream by its JPEG pictures alone, whatever lies between them; None if there are none.

        Many cameras and scripts send multipart JPEG as no standard has it: lines that end with a bare LF, a preamble,
        boundaries without dashes, `image/jpg`. FFmpeg's demuxer refuses these, or waits for ever for the end of a part.
        Here a picture arrives with the start of the next one, so this is the second choice.
        """
        limits = (min(JPEGS_WITHIN_S, self.spec.open_timeout_s), self.spec.read_timeout_s)
        options = _options(self.spec) | _JPEGS_OPTIONS
        with suppress(av.error.FFmpegError, OSError, ValueError):
            container = av.open(self.spec.url, format=_JPEGS, options=options, timeout=limits, hwaccel=accel)
            if container.streams.video[0].codec_context.width:
                return container
            container.close()
        return None

    def _open(self, number: int, accel: HWAccel | None, read_timeout_s: float) -> Any:
        limits = (self.spec.open_timeout_s, read_timeout_s)
        return av.open(self._url_of(number), options=_options(self.spec), timeout=limits, hwaccel=accel)

    def _url_of(self, number: int) -> str:
        """FFmpeg's address of one of several recordings in a file."""
        if len(self) == 1:
            return self.spec.url
        return f"subfile,,start,{self._parts[number].start},end,{self._parts[number].end},,:{self.spec.url}"

    def refused(self, error: Exception, began: float, limit_s: float) -> SourceError:
        """Return what an error of FFmpeg means, in a call that began at a monotonic time and had a deadline."""
        # `from None` where this is raised: FFmpeg's own text holds the address with its password.
        if isinstance(error, av.error.InvalidDataError) and self._parts and not self._parts[0].has_index:
            detail = "the recording was cut off before its index was written"
            return SourceError(SourceFailure.TRUNCATED, self.spec.label, detail)
        failure = refused(self.spec.label, error, waited_s=time.monotonic() - began, limit_s=limit_s)
        if self.spec.is_http and (remark := proxy_remark(self.spec.url, _PROXY_VARIABLES, "the video")):
            failure.hint = f"{remark}; {failure.hint}"
        return failure

    def unread_from(self, number: int, read_until_s: float, why: str) -> SourceError:
        """Return the error that the recordings from a number on were not read."""
        return self._unread(self._parts[number].start, self._parts[-1].end, read_until_s, why)

    def check_all_read(self, read_to: int, format_name: str, read_until_s: float) -> None:
        """Check that the demuxer did not stop long before the end of a file, as at an appended recording.

        Args:
            read_to: one past the last byte of the last packet.
            format_name: FFmpeg's name of the format.
            read_until_s: where the last picture ends, seconds; 0 if unknown.

        Raises:
            SourceError: a large part of the file was not read.
        """
        if self.spec.is_network or not self.spec.playback.is_finite:
            return
        read_to = max(read_to, self._parts[-1].end if self._parts else 0)
        with suppress(OSError, ValueError):
            if end := unread_end(Path(self.spec.url), read_to, format_name):
                raise self._unread(read_to, end, read_until_s, "it was joined from several, or damaged")

    def _unread(self, start: int, end: int, read_until_s: float, why: str) -> SourceError:
        until = f" after {read_until_s:.1f} s" if read_until_s else ""
        detail = f"{end - start} of its {end} bytes, from byte {start} on, were not read{until}: {why}"
        hint = "join recordings with `ffmpeg -f concat`, or give each by itself; --partial counts what was read"
        return SourceError(SourceFailure.TRUNCATED, self.spec.label, detail, hint=hint, after_pictures=True)


def _find_parts(spec: SourceSpec, warnings: SourceWarnings) -> tuple[Mp4Part, ...]:
    """Return the recordings of which a file was joined; empty unless it is an MP4."""
    parts = () if spec.is_network else mp4_parts(spec.url)
    if len(parts) > 1 and not spec.playback.is_finite:
        unread = parts[-1].end - parts[1].start
        message = f"{spec.label}: another recording is appended; its {unread} bytes are not played in a loop"
        warnings.put(WarningCode.UNREAD, message, "join the recordings with `ffmpeg -f concat`")
        return parts[:1]
    return parts


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

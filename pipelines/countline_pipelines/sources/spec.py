"""One video source and how it is played."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

from countline_common.errors import InvalidInputError
from countline_common.redaction import redact_address
from countline_common.stream_addresses import split_address, stream_problem, text_problem


class Playback(StrEnum):
    """How time passes in a source."""

    LIVE = "live"
    """A stream without an end: a slow consumer drops frames, a broken connection is opened again."""
    REALTIME = "realtime"
    """A file, once, at the speed it was recorded."""
    FAST = "fast"
    """A file, once, as fast as this machine can."""
    LOOP = "loop"
    """A file again and again, in phase with the wall clock: position = Unix time modulo duration."""

    @property
    def is_finite(self) -> bool:
        """Whether the source ends, all its frames are counted, and counting it again gives the same ids."""
        return self in {Playback.REALTIME, Playback.FAST}


class RtspTransport(StrEnum):
    """How RTP packets travel."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One video source."""

    url: str
    """rtsp(s)://, http(s):// or a path; may contain a password, see `label`."""
    playback: Playback
    transport: RtspTransport = RtspTransport.TCP
    recorded_at: float = 0.0
    """Capture time of a finite file's first frame, seconds."""
    rate: float = 0.0
    """Frames a second that are looked at; 0 for all."""
    open_timeout_s: float = 8.0
    read_timeout_s: float = 5.0
    decode_threads: int = 1
    """Threads of the decoder; each beyond the first delays a live picture by a frame."""

    @property
    def label(self) -> str:
        """The source without its password, for logs and errors."""
        return redact_address(self.url)

    @property
    def is_network(self) -> bool:
        """Whether the source comes over a network."""
        return "://" in self.url

    def period_s(self, stated_fps: float) -> float:
        """Expected seconds between two frames that are looked at, if the source states this frame rate."""
        return 1.0 / (min(self.rate, stated_fps) if self.rate > 0 else stated_fps)

    @property
    def is_http(self) -> bool:
        """Whether the source comes over HTTP: a file, multipart JPEG or HLS."""
        return self.url.startswith(("http://", "https://"))

    @property
    def is_rtsp(self) -> bool:
        """Whether the source is an RTSP stream."""
        return self.url.startswith(("rtsp://", "rtsps://"))


NETWORK_SCHEMES = frozenset({"rtsp", "rtsps", "http", "https"})
_MISTYPED = re.compile(r"(?:rtsps?|https?)(?::(?!//)|//)", re.IGNORECASE)
"""Such as `rtsp:/host`, `rtsp:host`, `rtsp//host`."""


def source_address(text: str) -> str:
    """A source that a person named: a stream's address with its scheme in lower case, a file as an absolute path.

    Raises:
        InvalidInputError: the scheme of the address is unknown or mistyped.
    """
    if _MISTYPED.match(text):
        raise InvalidInputError(
            "the address has no :// behind its scheme",
            hint="write rtsp://USER:PASSWORD@HOST/PATH, or ./PATH for a file",
        )
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in NETWORK_SCHEMES:
        if problem := text_problem(text) or stream_problem(text):
            what, _, cure = problem.partition("; ")
            raise InvalidInputError(f"the {scheme}:// address {what}", hint=cure)
        return f"{scheme}{text[len(scheme) :]}"
    if scheme == "file":
        parts = split_address(text)
        if parts is None:
            raise InvalidInputError("the file:// address is invalid", hint="write file:///PATH")
        return str(Path(unquote(parts.path)))
    if scheme:
        raise InvalidInputError(
            f"unknown scheme {scheme[:20]}://",
            hint="use rtsp://, rtsps://, http://, https://, file:// or a path",
        )
    return str(Path(text).expanduser().absolute())


def default_playback(address: str) -> Playback:
    """LIVE for a stream, REALTIME for a file."""
    return Playback.LIVE if "://" in address else Playback.REALTIME

"""What is watched and how it is played; says nothing about counting."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from countline_common.errors import InvalidInputError
from countline_common.logs import redact


class Playback(StrEnum):
    """How time passes in a source."""

    LIVE = "live"
    """A stream that never ends: behind means dropping, broken means connecting again."""
    REALTIME = "realtime"
    """A file, once, at the speed it was recorded."""
    FAST = "fast"
    """A file, once, as fast as this machine can."""
    LOOP = "loop"
    """A file for ever, in phase with the wall clock: position = Unix time modulo duration."""

    @property
    def is_finite(self) -> bool:
        """Whether it ends, every frame of it counts, and counting it again gives the same ids."""
        return self in {Playback.REALTIME, Playback.FAST}


class RtspTransport(StrEnum):
    """How RTP packets travel."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One video source."""

    url: str
    """rtsp(s)://, http(s):// or a path; may hold a password, see `label`."""
    playback: Playback
    transport: RtspTransport = RtspTransport.TCP
    recorded_at: float = 0.0
    """Capture time of a finite file's first frame, seconds."""
    rate: float = 0.0
    """Frames a second that are looked at; 0 for every one."""
    open_timeout_s: float = 8.0
    read_timeout_s: float = 5.0
    decode_threads: int = 1
    """Threads of the decoder; more than one delays a live picture by as many frames."""

    @property
    def label(self) -> str:
        """The source without its password, for logs and errors."""
        return redact(self.url)

    @property
    def is_network(self) -> bool:
        """Whether it comes over a network."""
        return "://" in self.url

    def period_s(self, stated_fps: float) -> float:
        """Expected seconds between two frames that are looked at, of a source that states this frame rate."""
        return 1.0 / (min(self.rate, stated_fps) if self.rate > 0 else stated_fps)

    @property
    def is_rtsp(self) -> bool:
        """Whether it is an RTSP stream."""
        return self.url.startswith(("rtsp://", "rtsps://"))


NETWORK_SCHEMES = frozenset({"rtsp", "rtsps", "http", "https"})


def source_address(text: str) -> str:
    """A source as given by a person: a stream's address as it is, a file as an absolute path.

    Raises:
        InvalidInputError: the kind of address is not known.
    """
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in NETWORK_SCHEMES:
        return text
    if scheme == "file":
        return str(Path(unquote(urlsplit(text).path)))
    if scheme:
        raise InvalidInputError(
            f"{redact(text)}: sources of the kind {scheme}:// are not known",
            hint="give an rtsp://, rtsps://, http://, https:// or file:// address, or a path",
        )
    return str(Path(text).expanduser().absolute())


def default_playback(address: str) -> Playback:
    """Streams are LIVE, files are REALTIME."""
    return Playback.LIVE if "://" in address else Playback.REALTIME

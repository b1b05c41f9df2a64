"""Which video track of a container is read: the first one that moves.

A film may begin with a cover picture, and MKV files of some tools keep it in an ordinary track. Only its packets show
that it is a still: one in the whole file.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from av.stream import Disposition

from countline_pipelines.sources.errors import SourceError, SourceFailure

_NOT_VIDEO_FORMATS: Final = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""Demuxers that turn any text into pictures of letters."""
_STILL: Final = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_LOOKED_AT: Final = 200
"""Packets by which tracks are compared."""
_SLOWEST_SHARE: Final = 0.25
"""A track with fewer packets than this share of the busiest track's does not move."""


def pick_track(container: Any, label: str, reopen: Callable[[], Any] | None) -> Any:
    """Return the first video stream that moves.

    Args:
        container: PyAV's open input container; no packet of it is read.
        label: the source without its credentials.
        reopen: opens the same source once more, to look at its packets; None for a source that cannot be opened twice.

    Raises:
        SourceError: no stream is a video, or none of them moves.
    """
    streams = container.streams.video
    if not streams or container.format.name in _NOT_VIDEO_FORMATS:
        raise SourceError(SourceFailure.NOT_VIDEO, label, "no readable video stream")
    moving = [stream for stream in streams if not stream.disposition & _STILL]
    if not moving:
        detail = "holds still pictures and no video"
        raise SourceError(SourceFailure.NOT_VIDEO, label, detail)
    if len(moving) == 1 or reopen is None:
        return moving[0]
    packets = _packets_of(reopen(), [stream.index for stream in moving])
    busiest = max(packets.values(), default=0)
    return next(stream for stream in moving if packets[stream.index] >= _SLOWEST_SHARE * busiest)


def _packets_of(container: Any, indices: list[int]) -> Counter[int]:
    found: Counter[int] = Counter()
    with container:
        for packet in container.demux([container.streams[index] for index in indices]):
            if packet.size:
                found[packet.stream_index] += 1
            if found.total() >= _LOOKED_AT:
                break
    return found

"""Reads the packets of a stream ahead, so that each gets the time at which it arrived.

The frames of HLS are held back to an even pace. If a packet were read only when its frame is due, its arrival would
show nothing, and a segment could leave the playlist before it is read.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from countline_pipelines.sources.errors import SourceError, SourceFailure
from countline_pipelines.sources.pacing import BurstMeter
from countline_pipelines.sources.reading.description import stated_fps
from countline_pipelines.sources.reading.opened import OpenRecording
from countline_pipelines.sources.reading.recordings import is_live_in_segments
from countline_pipelines.sources.spec import Playback, SourceSpec
from countline_pipelines.sources.wall_clock import WALL
from countline_pipelines.sources.warnings import SourceWarnings

MOST_BYTES: Final = 64 * 1024 * 1024
"""Packets that are read ahead; beyond it, the reader waits, as if it did not read ahead."""
SILENT_INTERVALS: Final = 3.0
"""A stream in segments may be silent for so many of its usual intervals."""
_CLOSE_S: Final = 1.0
"""How long `close` waits for the thread. FFmpeg may wait longer for a network; the thread then closes the source
itself."""


class ReadAhead:
    """Iterates over packets and their arrivals, Unix time, while a thread of its own reads.

    Args:
        spec: the source.
        packets: of its video; only the thread uses it.
        meter: gets the stamps and arrivals, in the thread.
        close_source: called in the thread when it reads no more.
    """

    def __init__(
        self, spec: SourceSpec, packets: Iterator[Any], meter: BurstMeter, close_source: Callable[[], None]
    ) -> None:
        self._spec, self._packets, self._close_source = spec, packets, close_source
        self.meter = meter
        self._held: deque[tuple[Any, float]] = deque()
        self._bytes = 0
        self._is_closed = self._has_ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        """Yield each packet and its arrival.

        Raises:
            SourceError: the source broke, or was silent for too long.
        """
        while True:
            with self._changed:
                limit_s = max(self._spec.read_timeout_s, SILENT_INTERVALS * self.meter.interval_s)
                if not self._changed.wait_for(lambda: bool(self._held) or self._has_ended, limit_s):
                    raise SourceError(SourceFailure.TIMED_OUT, self._spec.label, f"no data for {limit_s:g} s")
                if not self._held:
                    break
                packet, arrived_at = self._held.popleft()
                self._bytes -= packet.size
                self._changed.notify_all()
            yield packet, arrived_at
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        try:
            for packet in self._packets:
                arrived_at = WALL.now()
                if packet.dts is not None:
                    self.meter.observe(float(packet.dts * packet.time_base), arrived_at)
                if not self._put(packet, arrived_at):
                    return
        except Exception as error:  # noqa: BLE001 - the iteration raises it
            self._error = error
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._is_closed)
            self._close_source()

    def _put(self, packet: Any, arrived_at: float) -> bool:
        """Hold a packet; return False if this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < MOST_BYTES or self._is_closed)
            self._held.append((packet, arrived_at))
            self._bytes += packet.size
            self._changed.notify_all()
            return not self._is_closed

    def close(self) -> None:
        """End the thread, which closes the source; safe to call twice."""
        with self._changed:
            self._is_closed = True
            self._held.clear()
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)


def read_ahead(
    spec: SourceSpec, opened: OpenRecording, packets: Iterator[Any], warnings: SourceWarnings
) -> ReadAhead | None:
    """Begin to read a live stream in segments ahead; return None for any other source."""
    if spec.playback is not Playback.LIVE or not is_live_in_segments(opened.container):
        return None
    meter = BurstMeter(1.0 / stated_fps(spec, opened, warnings), opened.turn_s)
    return ReadAhead(spec, packets, meter, opened.close)


def with_arrivals(packets: Iterator[Any]) -> Iterator[tuple[Any, float]]:
    """Yield each packet and the Unix time at which it was read."""
    for packet in packets:
        yield packet, WALL.now()

"""The inputs of the muxer, and which of their frames form the next batch."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gi.repository import Gst
from tests.doubles.deepstream.batches import Picture

_NTP_TO_UNIX_NS = 2_208_988_800 * 10**9
"""NTP counts from 1900."""
_SHORTEST_QUEUE = 4


@dataclass
class Frame:
    picture: Picture
    pts: int
    arrived_at: float
    camera_ns: int
    """The camera's own clock, Unix time in nanoseconds; 0 before its first report, or if reports are off."""


@dataclass
class Input:
    """One request pad."""

    index: int
    pad: Any
    frames: deque[Frame] = field(default_factory=deque)
    width: int = 0
    height: int = 0
    info: Any = None
    frame_num: int = 0
    announced: bool = False
    """Whether PAD_ADDED was sent."""
    ended: bool = False
    flushing: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the input ended, and all its frames left."""
        return self.ended and not self.frames

    def begin(self) -> None:
        """The muxer starts."""
        self.flushing, self.ended, self.announced, self.frame_num = False, False, False, 0

    def flush(self, *, flushing: bool) -> None:
        """Drop the frames; take no more while `flushing`."""
        self.frames.clear()
        self.flushing = flushing


Chosen = list[tuple[Input, Frame]]
"""The frames of a batch."""


@dataclass(frozen=True)
class BatchRules:
    """How batches are formed."""

    config: dict[str, str]
    """The group [property] of the key file."""
    batch_size: int
    """The element's property; 0 if it is not set."""
    push_timeout_s: float | None
    """The element's property; None for a release without it."""

    def choose(self, inputs: Iterable[Input], now: float) -> Chosen:
        """The frames of the next batch, from each source in turn; empty while the muxer waits."""
        inputs = list(inputs)
        waiting = [each for each in inputs if each.frames]
        unfinished = [each for each in inputs if not each.is_over]
        if not waiting or not (self._is_full(waiting, unfinished) or self._is_late(waiting, now)):
            return []
        chosen: Chosen = []
        for _ in range(self.quota):
            for each in waiting:
                if each.frames and len(chosen) < self._target(len(waiting)):
                    chosen.append((each, each.frames.popleft()))
        return chosen

    def _is_full(self, waiting: list[Input], unfinished: list[Input]) -> bool:
        target = self._target(len(unfinished))
        if len(waiting) < min(target, len(unfinished)):
            return False
        offered = sum(min(len(each.frames), self.quota) for each in waiting)
        return offered >= target or all(each.ended for each in waiting)

    def _is_late(self, waiting: list[Input], now: float) -> bool:
        return now - _oldest(waiting) >= self._timeout_s

    def patience_s(self, inputs: Iterable[Input]) -> float | None:
        """How long the task may sleep; None for until something changes."""
        waiting = [each for each in inputs if each.frames]
        return max(0.0, _oldest(waiting) + self._timeout_s - time.monotonic()) if waiting else None

    @property
    def _timeout_s(self) -> float:
        """How long the first frame of a batch waits: the period of the slowest rate, or less by the property."""
        rate = int(self.config.get("overall-min-fps-n", "5")) / int(self.config.get("overall-min-fps-d", "1"))
        return 1 / rate if self.push_timeout_s is None else min(1 / rate, self.push_timeout_s)

    def _target(self, sources: int) -> int:
        """Frames of a full batch."""
        size = self.batch_size or int(self.config.get("batch-size", "1"))
        return min(size, sources) if self.config.get("adaptive-batching", "1") == "1" else size

    @property
    def quota(self) -> int:
        """Frames that one source may have in a batch."""
        return int(self.config.get("max-same-source-frames", "1"))

    @property
    def longest_queue(self) -> int:
        """Frames of one input that wait at most."""
        return max(_SHORTEST_QUEUE, self.quota)


def _oldest(waiting: list[Input]) -> float:
    return min(each.frames[0].arrived_at for each in waiting)


def camera_ns(buffer: Any) -> int:
    """Time of a frame by the camera's reports, Unix time in nanoseconds; 0 without a report."""
    meta = buffer.get_reference_timestamp_meta(Gst.Caps.from_string("timestamp/x-ntp"))
    return 0 if meta is None else max(0, meta.timestamp - _NTP_TO_UNIX_NS)

"""The wall clock by which live pictures are dated: this machine's, or that of NATS if this machine's is wrong.

A machine without a battery clock starts in 1970, and an administrator can set a clock back while cameras run. Counts
would then get wrong times, and the hand-over of a camera would fence the counts of other workers. So the worker
compares its clock with the clock of NATS. Between two comparisons it relies on a clock that cannot be set.
"""

import time
from collections.abc import Callable
from typing import Final

OFF_S: Final = 2.0
"""A clock that differs from NATS by more than this is not used."""
RIGHT_AGAIN_S: Final = 1.0
"""It is used again once the difference is less than this, so that it is not left and taken in turns."""


def steady_s() -> float:
    """Seconds of a clock that cannot be set and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class WallClock:
    """Unix time. Any thread may read it.

    Args:
        local: returns Unix seconds by this machine's clock.
        steady: returns seconds of a clock that cannot be set.
    """

    def __init__(self, local: Callable[[], float] = time.time, steady: Callable[[], float] = steady_s) -> None:
        self._local = local
        self._steady = steady
        self._server_minus_steady: float | None = None
        self.is_off = False
        """Whether this machine's clock is wrong, so that `now` is the time of NATS."""

    def observe(self, server_t: float, at_steady: float) -> None:
        """Take the clock of NATS.

        Args:
            server_t: Unix seconds by that clock.
            at_steady: the moment, by the clock that cannot be set.
        """
        self._server_minus_steady = server_t - at_steady
        self.now()

    @property
    def offset_s(self) -> float:
        """Seconds by which this machine's clock is ahead of NATS; 0 while that is not known."""
        if self._server_minus_steady is None:
            return 0.0
        return self._local() - (self._server_minus_steady + self._steady())

    def now(self) -> float:
        """Return Unix seconds."""
        if self._server_minus_steady is None:
            return self._local()
        offset_s = self.offset_s
        self.is_off = abs(offset_s) > (RIGHT_AGAIN_S if self.is_off else OFF_S)
        return self._local() - offset_s if self.is_off else self._local()


WALL: Final = WallClock()
"""The wall clock of this process."""

"""How long a process may take for its start: a share of the processor shows that it still makes progress.

On an overloaded machine a start takes many times its usual time. A process that waits in vain uses almost no processor
time, and it is given up after the usual time.
"""

import time
from collections.abc import Callable
from typing import Final

import psutil

MOST_PATIENCE: Final = 8
"""A start may take at most so many times its usual time."""
LEAST_SHARE: Final = 0.02
"""A process that used less of a processor makes no progress: an idle event loop uses some thousandths."""
LEAST_WORK_S: Final = 0.05
"""The kernel counts processor time in steps of 0.01 s."""
FURTHER: Final = 0.25
"""Share of the usual time that progress adds, again and again."""


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process, its children included; 0 if it has ended."""
    try:
        process = psutil.Process(pid)
        return sum(sum(each.cpu_times()[:4]) for each in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0.0


class StartPatience:
    """The time that one start of a process has.

    Args:
        pid: of the process.
        usual_s: what the start may take if the process makes no progress; above 0.
        most_s: what it may take at most.
        used: returns the processor time of a process, seconds.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        pid: int,
        usual_s: float,
        most_s: float,
        used: Callable[[int], float] = processor_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pid = pid
        self._used = used
        self._clock = clock
        self._more_s = FURTHER * usual_s
        self._started_at = self._looked_at = clock()
        self._ends_at, self._last_at = self._started_at + usual_s, self._started_at + most_s
        self._worked_s = 0.0

    @property
    def waited_s(self) -> float:
        """Time since the start, seconds."""
        return self._clock() - self._started_at

    def is_over(self) -> bool:
        """Whether the start has taken too long."""
        now = self._clock()
        if now < self._ends_at:
            return False
        worked_s, since_s = self._used(self._pid), now - self._looked_at
        makes_progress = worked_s - self._worked_s >= max(LEAST_WORK_S, LEAST_SHARE * since_s)
        self._looked_at, self._worked_s, self._ends_at = now, worked_s, now + self._more_s
        return not makes_progress or now >= self._last_at

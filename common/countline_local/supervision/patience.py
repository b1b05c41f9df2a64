"""How long a process may take for its start: as long as it is busy, it still makes progress.

On an overloaded machine a start takes many times its usual time. The process then always has work, and waits for a
processor most of the time. A process that waits for something else, and looks again and again whether it is there, has
work for a small share of the time. It is given up after the usual time.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

MOST_PATIENCE: Final = 8
"""A start may take at most so many times its usual time."""
LEAST_SHARE: Final = 0.25
"""A process that was busy for less of the time makes no progress. One that tries again and again to reach another part
is busy for 0.02 to 0.05 of it."""
FURTHER: Final = 0.25
"""Share of the usual time that progress adds, again and again."""
PROC: Final = Path("/proc")


def busy_seconds(pid: int) -> float:
    """Return how long a process and its children have run or waited for a processor; 0 if it has ended.

    Threads count each. Where the kernel does not report how long threads waited (`/proc/PID/task/TID/schedstat`), this
    is 0, and a start has its usual time.
    """
    try:
        process = psutil.Process(pid)
        return sum(sum(_busy(each.pid)) for each in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0.0


def _busy(pid: int) -> Iterator[float]:
    """Yield seconds of each thread of a process."""
    for path in (PROC / str(pid) / "task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            running_ns, waiting_ns, _ = path.read_bytes().split()
            yield (int(running_ns) + int(waiting_ns)) / 1e9


class StartPatience:
    """The time that one start of a process has.

    Args:
        pid: of the process.
        usual_s: what the start may take if the process makes no progress; above 0.
        most_s: what it may take at most.
        busy: returns how long a process has been busy, seconds.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        pid: int,
        usual_s: float,
        most_s: float,
        busy: Callable[[int], float] = busy_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pid = pid
        self._busy = busy
        self._clock = clock
        self._more_s = FURTHER * usual_s
        self._started_at = self._looked_at = clock()
        self._ends_at, self._last_at = self._started_at + usual_s, self._started_at + most_s
        self._busy_s = 0.0

    @property
    def waited_s(self) -> float:
        """Time since the start, seconds."""
        return self._clock() - self._started_at

    def is_over(self) -> bool:
        """Whether the start has taken too long."""
        now = self._clock()
        if now < self._ends_at:
            return False
        busy_s, since_s = self._busy(self._pid), now - self._looked_at
        makes_progress = busy_s - self._busy_s >= LEAST_SHARE * since_s
        self._looked_at, self._busy_s, self._ends_at = now, busy_s, now + self._more_s
        return not makes_progress or now >= self._last_at

"""The thread between counting and the disk: commits records in groups, with one fsync for each group.

Policy when the spool is full or its disk fails: no record is dropped. Records wait in memory and the thread retries.
`on_pressure(error)` has the worker pause its cameras, so that no new records come; `on_pressure(None)` reports that
there is room again. So at most the events of frames in flight wait in memory.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.resilience.retry import Backoff
from countline_pipelines import metrics
from countline_pipelines.publishing.spool import Spool, SpoolBrokenError, SpoolFullError

SOFT_LIMIT: Final = 0.9
"""Share of the spool's bound at which cameras are paused; the rest is for the events of frames in flight."""
RESUME_LIMIT: Final = 0.8
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
LOOK_EVERY_S: Final = 0.5
"""How often the thread looks whether the spool has room again."""
MOST_QUEUED: Final = 2000
"""More records than these waiting for the disk are pressure too: the disk is too slow."""
MOST_AT_ONCE: Final = 500
_log = get_logger(__name__)


class SpoolWriter:
    """Owns the writing thread, from `start` to `close`. Records submitted before `start` wait.

    Args:
        spool: takes the records.
        on_committed: called from the thread after each commit.
        on_pressure: called from the thread, with the reason when cameras must pause, and with None when they may go on.
    """

    def __init__(
        self, spool: Spool, on_committed: Callable[[], None], on_pressure: Callable[[CountlineError | None], None]
    ) -> None:
        self._spool = spool
        self._on_committed = on_committed
        self._on_pressure = on_pressure
        self._queue: deque[tuple[str, bytes]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._pressed = False
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    def start(self) -> None:
        """Start the thread. It may call `on_pressure` at once."""
        self._thread.start()

    @property
    def under_pressure(self) -> bool:
        """Whether cameras must pause."""
        return self._pressed

    def submit(self, subject: str, payload: bytes) -> None:
        """Queue a record; never blocks."""
        with self._changed:
            self._queue.append((subject, payload))
            self._changed.notify()

    def flushed(self, timeout_s: float = 10.0) -> bool:
        """Wait until all submitted records are on disk; return False if `timeout_s` passes first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout_s)

    def close(self, timeout_s: float) -> int:
        """Commit the queued records and end the thread; return how many could not be committed in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._queue:
            _log.error("spool.records_lost", records=len(self._queue))
        return len(self._queue)

    def _run(self) -> None:
        while not self._is_done():
            try:
                if batch := self._next_batch():
                    self._commit(batch)
            except Exception:  # noqa: BLE001  (without the thread, every later record would be lost)
                _log.exception("spool.writer_failed")
                self._pause()

    def _is_done(self) -> bool:
        with self._changed:
            return self._stopping and not self._queue

    def _next_batch(self) -> list[tuple[str, bytes]]:
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait(LOOK_EVERY_S)
                if not self._queue:
                    self._check_pressure()
            return [self._queue[index] for index in range(min(len(self._queue), MOST_AT_ONCE))]

    def _commit(self, batch: list[tuple[str, bytes]]) -> None:
        try:
            with metrics.FSYNC_SECONDS.time():
                self._spool.append(batch)
        except (SpoolFullError, SpoolBrokenError) as error:
            self._press(error)
            self._pause()
            return
        self._backoff.reset()
        with self._changed:
            for _ in batch:
                self._queue.popleft()
            self._changed.notify_all()
        self._check_pressure()
        self._on_committed()

    def _pause(self) -> None:
        """Wait before the next attempt. `close` ends the wait, so that one attempt follows at once."""
        with self._changed:
            was_stopping = self._stopping
            self._changed.wait_for(lambda: self._stopping != was_stopping, self._backoff.next_s())

    def _check_pressure(self) -> None:
        share = self._spool.used_bytes / self._spool.max_bytes
        if share >= SOFT_LIMIT or len(self._queue) > MOST_QUEUED:
            self._press(
                SpoolFullError(
                    f"the spool is {share:.0%} full and {len(self._queue)} records wait for the disk",
                    hint="check that NATS is reachable and that ingest runs, so that the spool empties",
                )
            )
        elif self._pressed and share < RESUME_LIMIT:
            self._report(None)

    def _press(self, error: CountlineError) -> None:
        if not self._pressed:
            _log.error("spool.full", error=error.message, hint=error.hint)
            self._report(error)

    def _report(self, error: CountlineError | None) -> None:
        before, self._pressed = self._pressed, error is not None
        try:
            self._on_pressure(error)
        except Exception:
            self._pressed = before  # so that it is reported again
            raise

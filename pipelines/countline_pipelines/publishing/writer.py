"""The thread between counting and the disk: commits records in groups, one fsync for all that came meanwhile.

Policy when the spool is full or its disk fails: nothing is dropped. Records wait in memory and are tried again, and
`on_pressure(error)` tells the worker to pause its cameras, so that no more come; `on_pressure(None)` when there is room
again. The bound of what can wait is thus what the frames in flight may still decide.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_pipelines import metrics
from countline_pipelines.publishing.spool import Spool, SpoolBrokenError, SpoolFullError

SOFT_LIMIT: Final = 0.9
"""Share of the spool's bound at which cameras are paused; the rest is for what is still on its way."""
RESUME_LIMIT: Final = 0.8
RETRY_S: Final = 0.5
MOST_QUEUED: Final = 2000
"""Records waiting for the disk that count as pressure too: a disk that is too slow."""
MOST_AT_ONCE: Final = 500
_log = get_logger(__name__)


class SpoolWriter:
    """Owns the writing thread, from `start` to `close`; what is handed over before waits.

    Args:
        spool: where to.
        on_committed: called from the thread after each commit.
        on_pressure: called from the thread when cameras must pause, with the reason, and with None when they may go on.
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
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    def start(self) -> None:
        """Begin to write; whoever is told of pressure has to be there by now."""
        self._thread.start()

    @property
    def queued(self) -> int:
        """Records that are not on disk yet."""
        return len(self._queue)

    @property
    def under_pressure(self) -> bool:
        """Whether cameras must pause."""
        return self._pressed

    def submit(self, subject: str, payload: bytes) -> None:
        """Hand over a record; never blocks."""
        with self._changed:
            self._queue.append((subject, payload))
            self._changed.notify()

    def flushed(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was handed over is on disk; false when it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout_s)

    def close(self, timeout_s: float) -> int:
        """Commit what is queued and end the thread; returns how many records could not be committed in time."""
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
            except Exception:  # noqa: BLE001  (the thread's last resort: without it every record that comes is lost)
                _log.exception("spool.writer_failed")
                time.sleep(RETRY_S)

    def _is_done(self) -> bool:
        with self._changed:
            return self._stopping and not self._queue

    def _next_batch(self) -> list[tuple[str, bytes]]:
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait(RETRY_S)
                if not self._queue:
                    self._judge()
            return [self._queue[index] for index in range(min(len(self._queue), MOST_AT_ONCE))]

    def _commit(self, batch: list[tuple[str, bytes]]) -> None:
        try:
            with metrics.FSYNC_SECONDS.time():
                self._spool.append(batch)
        except (SpoolFullError, SpoolBrokenError) as error:
            self._press(error)
            with self._changed:
                self._changed.wait(RETRY_S)
            return
        with self._changed:
            for _ in batch:
                self._queue.popleft()
            self._changed.notify_all()
        self._judge()
        self._on_committed()

    def _judge(self) -> None:
        share = self._spool.used_bytes / self._spool.max_bytes
        if share >= SOFT_LIMIT or len(self._queue) > MOST_QUEUED:
            self._press(
                SpoolFullError(
                    f"the spool is {share:.0%} full and {len(self._queue)} records wait for its disk",
                    hint="see that NATS is reachable and ingest runs, so that it empties",
                )
            )
        elif self._pressed and share < RESUME_LIMIT:
            self._tell(None)

    def _press(self, error: CountlineError) -> None:
        if not self._pressed:
            _log.error("spool.full", error=error.message, hint=error.hint)
            self._tell(error)

    def _tell(self, error: CountlineError | None) -> None:
        before, self._pressed = self._pressed, error is not None
        try:
            self._on_pressure(error)
        except Exception:
            self._pressed = before  # so it is told again
            raise

"""The open streams of workers, and the directions that wait to be sent on them."""

import asyncio
from collections.abc import Callable

from countline_common.errors import CountlineError
from countline_control.workers.domain import Assignment

Assignments = tuple[Assignment, ...]


class WorkerStream:
    """One worker's open stream. Holds the newest assignments until they are sent."""

    def __init__(self, worker_id: str, instance: str) -> None:
        self.worker_id = worker_id
        self.instance = instance
        self._pending: Assignments | None = None
        self._sent: Assignments | None = None
        self._error: CountlineError | None = None
        self._is_over = False
        self._changed = asyncio.Event()

    def direct(self, assignments: Assignments) -> None:
        """Set what to send next; assignments that equal the last ones are not sent again."""
        if assignments != self._sent:
            self._sent = self._pending = assignments
            self._changed.set()

    def end(self, error: CountlineError | None = None) -> None:
        """End the stream, with an error or because the worker closed its side."""
        self._is_over, self._error = True, error
        self._changed.set()

    async def next(self) -> Assignments | None:
        """Wait for the next assignments; None once the worker has closed its side.

        Raises:
            CountlineError: the stream was ended with this error.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self._is_over:
                return None
            if self._pending is not None:
                assignments, self._pending = self._pending, None
                return assignments
            self._changed.clear()
            await self._changed.wait()


class WorkerStreams:
    """The open streams, one for each worker."""

    def __init__(self) -> None:
        self._streams: dict[str, WorkerStream] = {}

    def open(self, stream: WorkerStream) -> None:
        """Add a stream; it replaces the worker's former one."""
        self._streams[stream.worker_id] = stream

    def close(self, stream: WorkerStream) -> None:
        """Remove a stream, unless a newer one has replaced it."""
        if self._streams.get(stream.worker_id) is stream:
            del self._streams[stream.worker_id]

    def of(self, worker_id: str) -> WorkerStream | None:
        """Return the open stream of a worker."""
        return self._streams.get(worker_id)

    def direct_all(self, assignments_of: Callable[[str, str], Assignments]) -> None:
        """Send each worker what it should hold.

        Args:
            assignments_of: (worker id, instance) → assignments.
        """
        for stream in self._streams.values():
            stream.direct(assignments_of(stream.worker_id, stream.instance))

    def end_all(self, error: CountlineError) -> None:
        """End every stream with an error."""
        for stream in list(self._streams.values()):
            stream.end(error)

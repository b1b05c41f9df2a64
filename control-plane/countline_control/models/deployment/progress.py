"""Reports the steps of a deployment to its client, while the deployment runs."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from countline_common.logs import get_logger
from countline_common.tasks import to_its_end
from countline_control.models.deployment.domain import StepOutcome, StepReport
from countline_control.models.domain import StoredVersion

STEPS_WAITING: Final = 64
"""Reports that a slow client has not read yet. Beyond this the progress of a step is dropped, its end never is."""
MOVE_PERIOD_S: Final = 0.2

_log = get_logger(__name__)


class Progress:
    """Puts the reports of a deployment into a queue."""

    def __init__(self, queue: "asyncio.Queue[StepReport]") -> None:
        self._queue = queue
        self._moved_at = 0.0

    async def begin(self, step: str) -> None:
        """Report that a step begins."""
        await self._queue.put(StepReport(step, StepOutcome.RUNNING))

    def moved(self, step: str, share: float) -> None:
        """Report the progress of a step, 0..1; at most five times a second."""
        if time.monotonic() - self._moved_at < MOVE_PERIOD_S or self._queue.full():
            return
        self._moved_at = time.monotonic()
        self._queue.put_nowait(StepReport(step, StepOutcome.RUNNING, progress=min(max(share, 0.0), 1.0)))

    async def done(self, step: str, detail: str = "") -> None:
        """Report that a step has succeeded."""
        await self._queue.put(StepReport(step, StepOutcome.DONE, detail))

    async def skipped(self, step: str, why: str) -> None:
        """Report that a step is not needed, or cannot be done."""
        await self._queue.put(StepReport(step, StepOutcome.SKIPPED, why))


async def reported(
    work: Callable[[Progress], Awaitable[StoredVersion]],
) -> AsyncGenerator[StepReport | StoredVersion, None]:
    """Run a deployment: yield its reports, then the version. Closing the generator stops the deployment."""
    queue: asyncio.Queue[StepReport] = asyncio.Queue(STEPS_WAITING)
    task = asyncio.ensure_future(work(Progress(queue)))
    try:
        while not task.done() or not queue.empty():
            if (report := await _next_report(queue, task)) is not None:
                yield report
        yield task.result()
    finally:
        await to_its_end(_stopped(task))


async def _next_report(queue: "asyncio.Queue[StepReport]", task: asyncio.Task[StoredVersion]) -> StepReport | None:
    """Return the next report of a deployment, or None if it ended without one. No task is left waiting for one."""
    waiting = asyncio.ensure_future(queue.get())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


async def _stopped(task: asyncio.Future[StoredVersion]) -> None:
    """Cancel an abandoned deployment once, and wait until it has undone its changes."""
    is_left = task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None and is_left:
        _log.warning("model.deployment_failed", error=str(error))

"""Starts parts in the order of their needs, watches them, restarts parts that die, and stops all in reverse order.

Each part has one task: start, wait until ready, watch, and after a death pause longer each time (kept_part.py). The
processes belong to the guard, which ends them if this process is killed. Everything here runs on one event loop; read
the states there.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from countline_common.errors import CountlineError, InternalError, UnavailableError
from countline_common.tasks import cancel
from countline_local.supervision.guard_client import GuardClient, Launch
from countline_local.supervision.kept_guard import FIRST_RESTART_S, KeptGuard
from countline_local.supervision.kept_part import KeptPart, first_of
from countline_local.supervision.log_files import bound_all
from countline_local.supervision.part import Part, PartEvent, PartState, PartStatus, stages

LOG_INTERVAL_S: Final = 10.0


class Supervisor:
    """Runs parts until `stop`.

    Args:
        parts: in any order; their needs define the start order.
        logs: folder of the log files.
        guard: makes a guard that is not open yet; called again if one is killed.
        on_event: called with deaths, restarts and the like.
        first_restart_s: how long to wait before the first restart of a part that died; each further wait is twice as
            long, `LONGEST_RESTART_S` at most.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path,
        guard: Callable[[], GuardClient],
        on_event: Callable[[PartEvent], None] = lambda _: None,
        first_restart_s: float = FIRST_RESTART_S,
    ) -> None:
        self._parts = parts
        self._logs = logs
        self._guard = KeptGuard(guard, on_event)
        order = stages(parts)
        self._kept = {
            part.name: KeptPart(
                part, order[part.name], logs / f"{part.name}.log", self._guard, on_event, first_restart_s
            )
            for part in parts
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[CountlineError] = asyncio.get_running_loop().create_future()
        self._stopping = False

    @property
    def statuses(self) -> list[PartStatus]:
        """The parts' states, in the order in which they were given."""
        return [kept.status for kept in self._kept.values()]

    @property
    def ready(self) -> bool:
        """Whether every part is ready."""
        return all(status.state is PartState.READY for status in self.statuses)

    @property
    def was_ready(self) -> bool:
        """Whether every part was ready once."""
        return all(kept.ready.is_set() for kept in self._kept.values())

    @property
    def stopping(self) -> bool:
        """Whether the parts are being stopped, or have stopped."""
        return self._stopping

    async def start(self) -> None:
        """Begin to start all parts; returns at once. `wait_ready` waits for them."""
        await asyncio.to_thread(self._logs.mkdir, parents=True, exist_ok=True)
        self._spawn("guard", self._guard.keep())
        self._spawn("logs", self._bound_logs())
        for part in self._parts:
            self._spawn(part.name, self._kept[part.name].run([self._kept[need] for need in part.needs]))

    async def wait_ready(self) -> None:
        """Return when every part has been ready once.

        Raises:
            PartFailedError: a part cannot be started.
        """
        everything = asyncio.gather(*(kept.ready.wait() for kept in self._kept.values()))
        try:
            await first_of(everything, self._failed)
        finally:
            everything.cancel()
            await asyncio.gather(everything, return_exceptions=True)
        if self._failed.done():
            raise self._failed.result()

    async def wait_failed(self) -> CountlineError:
        """Wait for a fault that ends the run, and return it."""
        return await asyncio.shield(self._failed)

    async def run_once(self, launch: Launch) -> int:
        """Run a process that is not a part to its end; returns its exit code, negative for a signal."""
        await self._guard.ready.wait()
        return await (await self._guard.client.start(launch)).wait()

    async def stop(self, *, now: bool = False) -> None:
        """Stop every part in reverse start order; `now` kills them without a stop signal."""
        self._stopping = True
        await cancel(*self._tasks)
        try:
            await self._guard.client.end(now=now)
        finally:
            await self._guard.client.close()
        for kept in self._kept.values():
            kept.stopped()

    async def hurry(self) -> None:
        """Kill the parts that `stop` still waits for."""
        with contextlib.suppress(UnavailableError):  # the guard has ended meanwhile: nothing is left to kill
            await self._guard.client.end(now=True)

    def _spawn(self, name: str, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work, name=f"supervise-{name}")
        task.add_done_callback(self._on_task_done)
        self._tasks.append(task)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        # None of these tasks ends by itself. One that does is a bug, and its part would no longer be watched.
        if self._stopping or task.cancel() or self._failed.done():
            return
        error = task.exception()
        if isinstance(error, CountlineError):
            self._failed.set_result(error)
        else:
            fault = InternalError(f"{task.get_name()} ended: {error!r}", hint="please report this")
            fault.__cause__ = error
            self._failed.set_result(fault)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.to_thread(bound_all, self._logs)
            await asyncio.sleep(LOG_INTERVAL_S)

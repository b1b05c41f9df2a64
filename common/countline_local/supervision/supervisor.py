"""Starts parts in the order of their needs, watches them, restarts parts that die, and stops all in reverse order.

Each part has one task: start, wait until ready, watch, and after a death pause longer each time. The processes belong
to the guard, which ends them if this process is killed. Everything here runs on one event loop; read the states there.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from countline_common.errors import CountlineError, InternalError, UnavailableError
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_local.supervision.guard_client import GuardClient, Launch, Running
from countline_local.supervision.log_files import bound_all, size_bytes, tail
from countline_local.supervision.part import Part, PartEvent, PartState, PartStatus, stages
from countline_local.supervision.state_files import says_full

POLL_S: Final = 0.1
WATCH_INTERVAL_S: Final = 5.0
WATCH_FAILURES: Final = 2
"""So many checks in a row must fail before a running part counts as not ready."""
DEAD_AFTER: Final = 4
"""So many checks in a row must fail before a part whose event loop does not answer is restarted."""
FIRST_TRIES: Final = 3
"""A part that fails so often before it was ever ready is not started again."""
FIRST_RESTART_S: Final = 0.5
LONGEST_RESTART_S: Final = 30.0
HEALTHY_AFTER_S: Final = 60.0
"""A part that lived so long is restarted after the shortest pause again."""
LOG_INTERVAL_S: Final = 10.0
TAIL_LINES: Final = 15


class PartFailedError(UnavailableError):
    """A part cannot be started."""

    def __init__(self, part: str, reason: str, log: Path, last_lines: Sequence[str]) -> None:
        said = "".join(f"\n    {line}" for line in last_lines)
        super().__init__(
            f"{part} cannot be started: {reason}" + (f"; the end of its log:{said}" if said else ""),
            hint=f"the whole log is in {log}",
        )


@dataclass(slots=True)
class _Watched:
    """A part with the supervisor's own state of it."""

    part: Part
    status: PartStatus
    stage: int
    log: Path
    backoff: Backoff
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    was_ready: bool = False
    failures: int = 0
    ending: str = ""
    """Why the supervisor ends the part."""
    log_start: int = 0
    """Size of the log at the part's last start, bytes."""


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
        order = stages(parts)
        self._watched = {
            part.name: _Watched(
                part,
                PartStatus(part.name, part.address),
                order[part.name],
                logs / f"{part.name}.log",
                Backoff(first_restart_s, LONGEST_RESTART_S, jitter=0.0),
            )
            for part in parts
        }
        self._logs = logs
        self._make_guard = guard
        self._guard = guard()
        self._guard_ready = asyncio.Event()
        self._on_event = on_event
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[CountlineError] = asyncio.get_running_loop().create_future()
        self._stopping = False

    @property
    def statuses(self) -> list[PartStatus]:
        """The parts' states, in the order in which they were given."""
        return [watched.status for watched in self._watched.values()]

    @property
    def ready(self) -> bool:
        """Whether every part is ready."""
        return all(status.state is PartState.READY for status in self.statuses)

    @property
    def was_ready(self) -> bool:
        """Whether every part was ready once."""
        return all(watched.was_ready for watched in self._watched.values())

    @property
    def stopping(self) -> bool:
        """Whether the parts are being stopped, or have stopped."""
        return self._stopping

    async def start(self) -> None:
        """Begin to start all parts; returns at once. `wait_ready` waits for them."""
        await asyncio.to_thread(self._logs.mkdir, parents=True, exist_ok=True)
        self._spawn("guard", self._keep_guard())
        self._spawn("logs", self._bound_logs())
        for watched in self._watched.values():
            self._spawn(watched.part.name, self._run(watched))

    async def wait_ready(self) -> None:
        """Return when every part has been ready once.

        Raises:
            PartFailedError: a part cannot be started.
        """
        everything = asyncio.gather(*(watched.ready.wait() for watched in self._watched.values()))
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
        await self._guard_ready.wait()
        return await (await self._guard.start(launch)).wait()

    async def stop(self, *, now: bool = False) -> None:
        """Stop every part in reverse start order; `now` kills them without a stop signal."""
        self._stopping = True
        await cancel(*self._tasks)
        try:
            await self._guard.end(now=now)
        finally:
            await self._guard.close()
        for watched in self._watched.values():
            watched.status.pid = None
            self._set(watched, PartState.STOPPED)

    async def hurry(self) -> None:
        """Kill the parts that `stop` still waits for."""
        with contextlib.suppress(UnavailableError):  # the guard has ended meanwhile: nothing is left to kill
            await self._guard.end(now=True)

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

    async def _keep_guard(self) -> None:
        backoff = Backoff(FIRST_RESTART_S, LONGEST_RESTART_S, jitter=0.0)
        while True:
            try:
                await self._guard.open()
            except OSError as error:
                wait_s = backoff.next_s()
                reason = f"the guard process cannot be started: {says_full(error)}; it is tried again in {wait_s:.1f} s"
                self._on_event(PartEvent("guard", reason))
                await asyncio.sleep(wait_s)
                continue
            backoff.reset()
            self._guard_ready.set()
            await self._guard.died()
            self._guard_ready.clear()
            self._on_event(PartEvent("guard", "the guard process died, and the parts with it; restarting it"))
            await self._guard.close()
            self._guard = self._make_guard()

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.to_thread(bound_all, self._logs)
            await asyncio.sleep(LOG_INTERVAL_S)

    async def _run(self, watched: _Watched) -> None:
        await self._wait_for_needs(watched)
        while True:
            started_at = time.monotonic()
            reason = await self._live(watched)
            lived_s = time.monotonic() - started_at
            watched.status.pid = None
            self._set(watched, PartState.FAILED, reason)
            self._give_up_if_hopeless(watched, reason)
            if lived_s >= HEALTHY_AFTER_S:
                watched.backoff.reset()
            wait_s = watched.backoff.next_s()
            self._on_event(PartEvent(watched.part.name, f"{reason}; it is started again in {wait_s:.1f} s"))
            await asyncio.sleep(wait_s)
            watched.status.restarts += 1

    async def _wait_for_needs(self, watched: _Watched) -> None:
        for need in watched.part.needs:
            self._set(watched, PartState.STARTING, f"waits for {need}")
            await self._watched[need].ready.wait()

    async def _live(self, watched: _Watched) -> str:
        """Run a part once, from its start to its end; returns what ended it."""
        part = watched.part
        self._set(watched, PartState.STARTING, "is being prepared")
        watched.log_start = size_bytes(watched.log)
        try:
            await self._guard_ready.wait()
            if part.prepare is not None:
                await asyncio.to_thread(part.prepare)
            running = await self._guard.start(self._launch(watched))
        except CountlineError as error:
            return error.message
        except OSError as error:
            return f"it cannot be prepared: {says_full(error)}"
        watched.status.pid = running.pid
        watching = asyncio.create_task(self._watch(watched), name=f"watch-{part.name}")
        dying = asyncio.create_task(running.wait(), name=f"wait-{part.name}")
        try:
            await first_of(dying, watching)
            if not dying.done():
                return await self._end_unready(watched, running, watching)
            return describe_exit(dying.result())
        finally:
            await cancel(watching, dying)

    def _launch(self, watched: _Watched) -> Launch:
        part = watched.part
        return Launch(
            part.name, part.argv, part.env, Path("/"), watched.log, part.stop_signal, part.stop_grace_s, watched.stage
        )

    async def _watch(self, watched: _Watched) -> None:
        """Watch a part; returns only if it does not become ready in time, or no longer answers its health check."""
        started_at = time.monotonic()
        if not await self._becomes_ready(watched, started_at + watched.part.start_timeout_s):
            watched.ending = f"it was not ready within {watched.part.start_timeout_s:g} s: {watched.status.detail}"
            watched.failures = FIRST_TRIES
            return
        watched.status.ready_after_s = time.monotonic() - started_at
        if watched.part.on_ready is not None and watched.status.pid is not None:
            await asyncio.to_thread(watched.part.on_ready, watched.status.pid)
        self._on_ready(watched)
        failures = silent = 0
        while silent < DEAD_AFTER:
            await asyncio.sleep(WATCH_INTERVAL_S)
            problem = await problem_with(watched.part)
            failures = failures + 1 if problem else 0
            if problem and failures == WATCH_FAILURES:
                self._set(watched, PartState.STARTING, problem)
                self._on_event(PartEvent(watched.part.name, f"runs but is not ready: {problem}"))
            elif not problem and watched.status.state is not PartState.READY:
                self._on_ready(watched)
            silent = silent + 1 if problem and await is_silent(watched.part) else 0
        watched.ending = f"it does not answer its health check, {silent} times in a row"

    async def _becomes_ready(self, watched: _Watched, deadline: float) -> bool:
        self._set(watched, PartState.STARTING, f"waits for {watched.part.waits_for}")
        while problem := await problem_with(watched.part):
            if time.monotonic() > deadline:
                watched.status.detail = problem
                return False
            await asyncio.sleep(POLL_S)
        return True

    def _on_ready(self, watched: _Watched) -> None:
        if watched.was_ready:
            self._on_event(PartEvent(watched.part.name, "is ready again", good=True))
        watched.was_ready = True
        watched.failures = 0
        self._set(watched, PartState.READY)
        watched.ready.set()

    async def _end_unready(self, watched: _Watched, running: Running, watching: "asyncio.Task[None]") -> str:
        watching.result()  # an exception of the check is a bug, not the part's failure
        with contextlib.suppress(UnavailableError):
            await self._guard.stop(watched.part.name)
        await running.wait()
        return watched.ending

    def _give_up_if_hopeless(self, watched: _Watched, reason: str) -> None:
        watched.failures += 1
        if not watched.was_ready and watched.failures >= FIRST_TRIES:
            raise PartFailedError(
                watched.part.name, reason, watched.log, tail(watched.log, TAIL_LINES, watched.log_start)
            )

    def _set(self, watched: _Watched, state: PartState, detail: str = "") -> None:
        if state is not watched.status.state:
            watched.status.since = time.monotonic()
        watched.status.state = state
        watched.status.detail = detail


async def first_of(*futures: "asyncio.Future[Any]") -> None:
    """Return when one of them is done; none is cancelled."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def is_silent(part: Part) -> bool:
    """Whether a part that is not ready does not answer at all, or asks for a restart."""
    if part.alive is None:
        return False
    try:
        await part.alive()
    except CountlineError:
        return True
    return False


async def problem_with(part: Part) -> str:
    """Why a part is not ready; empty if it is ready."""
    try:
        await part.check()
    except CountlineError as error:
        return error.message
    return ""


def describe_exit(code: int) -> str:
    """An exit code in words."""
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"

"""One part of the system: started when its needs are ready, watched, and started again after a death."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from countline_common.errors import CountlineError, UnavailableError
from countline_common.resilience.retry import Backoff
from countline_common.tasks import cancel
from countline_local.supervision.guard_client import Launch, Running
from countline_local.supervision.kept_guard import LONGEST_RESTART_S, KeptGuard
from countline_local.supervision.log_files import size_bytes, tail
from countline_local.supervision.part import Part, PartEvent, PartState, PartStatus
from countline_local.supervision.patience import MOST_PATIENCE, StartPatience
from countline_local.supervision.state_files import says_full

POLL_S: Final = 0.1
WATCH_INTERVAL_S: Final = 5.0
WATCH_FAILURES: Final = 2
"""So many checks in a row must fail before a running part counts as not ready."""
DEAD_AFTER: Final = 4
"""So many checks in a row must fail before a part whose event loop does not answer is restarted."""
FIRST_TRIES: Final = 3
"""A part that fails so often before it was ever ready is not started again."""
HEALTHY_AFTER_S: Final = 60.0
"""A part that lived so long is restarted after the shortest pause again."""
TAIL_LINES: Final = 15


class PartFailedError(UnavailableError):
    """A part cannot be started."""

    def __init__(self, part: str, reason: str, log: Path, last_lines: Sequence[str]) -> None:
        said = "".join(f"\n    {line}" for line in last_lines)
        super().__init__(
            f"{part} cannot be started: {reason}" + (f"; the end of its log:{said}" if said else ""),
            hint=f"the whole log is in {log}",
        )


class KeptPart:
    """Keeps one part running.

    Args:
        part: the part.
        stage: at the end, a higher stage is stopped before a lower one.
        log: file of its output.
        guard: starts its process.
        on_event: called with deaths, restarts and the like.
        first_restart_s: how long to wait before the first restart; each further wait is twice as long.
    """

    def __init__(
        self,
        part: Part,
        stage: int,
        log: Path,
        guard: KeptGuard,
        on_event: Callable[[PartEvent], None],
        first_restart_s: float,
    ) -> None:
        self._part = part
        self._launch = Launch(
            part.name, part.argv, part.env, Path("/"), log, part.stop_signal, part.stop_grace_s, stage
        )
        self._guard = guard
        self._on_event = on_event
        self._backoff = Backoff(first_restart_s, LONGEST_RESTART_S, jitter=0.0)
        self._failures = 0
        self._patience = 1
        """How many times its usual time the part has for its start. A part that was ready once gets twice the time
        after each start that took too long: on an overloaded machine it would else be ended in the midst of each."""
        self._ending = ""
        """Why the part is ended."""
        self._log_start = 0
        """Size of the log at the part's last start, bytes."""
        self.status = PartStatus(part.name, part.address)
        self.ready = asyncio.Event()
        """Set when the part was ready once."""

    async def run(self, needs: Iterable["KeptPart"]) -> None:
        """Start the part when its needs are ready, and again after each death; never returns.

        Raises:
            PartFailedError: the part failed too often before it was ever ready.
        """
        for need in needs:
            self._set(PartState.STARTING, f"waits for {need.status.name}")
            await need.ready.wait()
        while True:
            started_at = time.monotonic()
            reason = await self._live()
            lived_s = time.monotonic() - started_at
            self.status.pid = None
            self._set(PartState.FAILED, reason)
            self._give_up_if_hopeless(reason)
            if lived_s >= HEALTHY_AFTER_S:
                self._backoff.reset()
            wait_s = self._backoff.next_s()
            self._say(f"{reason}; it is started again in {wait_s:.1f} s")
            await asyncio.sleep(wait_s)
            self.status.restarts += 1

    def stopped(self) -> None:
        """Record that the part was stopped."""
        self.status.pid = None
        self._set(PartState.STOPPED)

    async def _live(self) -> str:
        """Run the part once, from its start to its end; returns what ended it."""
        part = self._part
        self._set(PartState.STARTING, "is being prepared")
        self._log_start = size_bytes(self._launch.log)
        try:
            await self._guard.ready.wait()
            if part.prepare is not None:
                await asyncio.to_thread(part.prepare)
            running = await self._guard.client.start(self._launch)
        except CountlineError as error:
            return error.message
        except OSError as error:
            return f"it cannot be prepared: {says_full(error)}"
        self.status.pid = running.pid
        watching = asyncio.create_task(self._watch(running.pid), name=f"watch-{part.name}")
        dying = asyncio.create_task(running.wait(), name=f"wait-{part.name}")
        try:
            await first_of(dying, watching)
            if not dying.done():
                return await self._end_unready(running, watching)
            return describe_exit(dying.result())
        finally:
            await cancel(watching, dying)

    async def _watch(self, pid: int) -> None:
        """Watch the part; returns only if it does not become ready in time, or no longer answers its health check."""
        usual_s = self._part.start_timeout_s
        patience = StartPatience(pid, self._patience * usual_s, MOST_PATIENCE * usual_s)
        if not await self._becomes_ready(patience):
            self._ending = f"it was not ready within {patience.waited_s:.3g} s: {self.status.detail}"
            self._failures = FIRST_TRIES
            self._patience = min(2 * self._patience, MOST_PATIENCE)
            return
        self.status.ready_after_s = patience.waited_s
        self._becomes_good()
        failures = silent = 0
        while silent < DEAD_AFTER:
            await asyncio.sleep(WATCH_INTERVAL_S)
            problem = await _problem_of(self._part.check)
            self.status.remark = await self._part.remarks() if self._part.remarks is not None else ""
            failures = failures + 1 if problem else 0
            if problem and failures == WATCH_FAILURES:
                self._set(PartState.STARTING, problem)
                self._say(f"runs but is not ready: {problem}")
            elif not problem and self.status.state is not PartState.READY:
                self._becomes_good()
            silent = silent + 1 if problem and await self._is_silent() else 0
        self._ending = f"it does not answer its health check, {silent} times in a row"

    async def _becomes_ready(self, patience: StartPatience) -> bool:
        self._set(PartState.STARTING, f"waits for {self._part.waits_for}")
        while problem := await _problem_of(self._part.check):
            if patience.is_over():
                self.status.detail = problem
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _is_silent(self) -> bool:
        """Whether a part that is not ready does not answer at all, or asks for a restart."""
        return self._part.alive is not None and bool(await _problem_of(self._part.alive))

    def _becomes_good(self) -> None:
        if self.ready.is_set():
            self._say("is ready again", good=True)
        self._failures, self._patience = 0, 1
        self._set(PartState.READY)
        self.ready.set()

    async def _end_unready(self, running: Running, watching: "asyncio.Task[None]") -> str:
        watching.result()  # an exception of the check is a bug, not the part's failure
        with contextlib.suppress(UnavailableError):
            await self._guard.client.stop(self._part.name)
        await running.wait()
        return self._ending

    def _give_up_if_hopeless(self, reason: str) -> None:
        self._failures += 1
        if not self.ready.is_set() and self._failures >= FIRST_TRIES:
            log = self._launch.log
            raise PartFailedError(self._part.name, reason, log, tail(log, TAIL_LINES, self._log_start))

    def _say(self, text: str, *, good: bool = False) -> None:
        self._on_event(PartEvent(self._part.name, text, good=good))

    def _set(self, state: PartState, detail: str = "") -> None:
        if state is not self.status.state:
            self.status.since = time.monotonic()
        self.status.state = state
        self.status.detail = detail


async def first_of(*futures: "asyncio.Future[Any]") -> None:
    """Return when one of them is done; none is cancelled."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _problem_of(check: Callable[[], Awaitable[None]]) -> str:
    """Why a check fails; empty if it does not."""
    try:
        await check()
    except CountlineError as error:
        return error.message
    return ""


def describe_exit(code: int) -> str:
    """An exit code in words."""
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"

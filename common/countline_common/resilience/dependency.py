"""One object for each remote dependency of a process: deadline, retries, circuit breaker and bulkhead, with metrics.

Health checks do not go through it: they ask the dependency itself. An open breaker is listed under `degraded` of
`/healthz` and `/readyz`, and changes no status.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import stamina
from prometheus_client import Counter, Gauge

from countline_common.errors import ResourceExhaustedError
from countline_common.logs import get_logger
from countline_common.resilience.breaker import BreakerState, CircuitBreaker, CircuitOpenError, GuardedAttempt
from countline_common.resilience.bulkhead import Bulkhead
from countline_common.resilience.policy import CallLimits, RetriedCallLimits
from countline_common.resilience.retry import repeating
from countline_common.resilience.transient import is_transient
from countline_common.resilience.vitality import forget_problem, record_problem

CALLS: Final = Counter("countline_remote_calls_total", "Attempts of calls by outcome", ["dependency", "outcome"])
RUNNING: Final = Gauge("countline_remote_calls_running", "Calls in progress", ["dependency"])
WAITING: Final = Gauge("countline_remote_calls_waiting", "Calls that wait for a place", ["dependency"])
BREAKER: Final = Gauge("countline_remote_breaker_open", "1 open, 0.5 half-open, 0 closed", ["dependency"])
_SHOWN: Final = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """One attempt that was admitted."""

    attempt: GuardedAttempt
    left_s: float
    """What is left of its time."""


class Dependency:
    """A remote service, and the limits of the calls to it.

    Args:
        name: as in settings, metrics and errors, such as `auth`.
        limits: of the calls.
        is_failure: whether an error means that the dependency did not answer. All other errors are answers.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        limits: CallLimits,
        *,
        is_failure: Callable[[BaseException], bool] = is_transient,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.limits = limits
        self._is_failure = is_failure
        self.breaker = CircuitBreaker(name, limits.failures, limits.open_s, changed=self._changed, clock=clock)
        self.bulkhead = Bulkhead(name, limits.calls, limits.waiting)
        RUNNING.labels(name).set_function(lambda: self.bulkhead.running)
        WAITING.labels(name).set_function(lambda: self.bulkhead.waiting)
        BREAKER.labels(name).set(0.0)

    def attempts(self) -> AsyncIterable[stamina.Attempt]:
        """Attempts of a call that may be repeated, with pauses; only after transient failures."""
        limits = self.limits
        if not isinstance(limits, RetriedCallLimits):
            raise TypeError(f"calls to {self.name} are not repeated here")
        return repeating(
            is_transient, retries=limits.retries, first_pause_s=limits.first_pause_s, within_s=limits.deadline_s
        )

    @asynccontextmanager
    async def guarded(self, within_s: float | None = None) -> AsyncIterator[None]:
        """Make one attempt inside the block, within the usual deadline or a shorter one.

        Raises:
            CircuitOpenError: the breaker is open.
            ResourceExhaustedError: there is no place.
            TimeoutError: the time is over.
        """
        async with self.admitted(self.limits.deadline_s if within_s is None else within_s) as admission:
            try:
                async with asyncio.timeout(admission.left_s):
                    yield
            except Exception as error:
                self.record(admission.attempt, failed=self._is_failure(error))
                raise
            self.record(admission.attempt, failed=False)

    @asynccontextmanager
    async def admitted(self, within_s: float) -> AsyncIterator[Admission]:
        """Admit one attempt, whose outcome the caller records with `record`.

        Args:
            within_s: time of the attempt, with the wait for a place.

        Raises:
            CircuitOpenError: the breaker is open.
            ResourceExhaustedError: there is no place.
        """
        ends_s = time.monotonic() + within_s
        async with AsyncExitStack() as held:
            attempt = await self._enter(held, within_s)
            held.callback(attempt.leave)
            yield Admission(attempt, max(0.0, ends_s - time.monotonic()))

    async def _enter(self, held: AsyncExitStack, within_s: float) -> GuardedAttempt:
        try:
            self.breaker.check()  # before the wait: a dependency that does not answer needs no queue
            await held.enter_async_context(self.bulkhead.place(within_s))
            return self.breaker.enter()
        except CircuitOpenError:
            CALLS.labels(self.name, "refused_open").inc()
            raise
        except ResourceExhaustedError:
            CALLS.labels(self.name, "refused_full").inc()
            raise

    def record(self, attempt: GuardedAttempt, *, failed: bool) -> None:
        """Record the outcome of an admitted attempt."""
        CALLS.labels(self.name, "failed" if failed else "answered").inc()
        if failed:
            attempt.failed()
        else:
            attempt.succeeded()

    def _changed(self, state: BreakerState) -> None:
        BREAKER.labels(self.name).set(_SHOWN[state])
        part = f"calls to {self.name}"
        if state is BreakerState.OPEN:
            _log.warning("breaker.open", dependency=self.name, seconds=self.limits.open_s)
            record_problem(part, f"{self.name} does not answer: calls are refused at once, one in a while tries again")
        elif state is BreakerState.CLOSED:
            _log.info("breaker.closed", dependency=self.name)
            forget_problem(part)

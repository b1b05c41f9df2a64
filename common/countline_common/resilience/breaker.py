"""Circuit breaker: after several failures in a row, calls are refused at once for a while. Pure; takes its clock.

    closed ── `failures` in a row ──> open ── after `open_s`, or once connected again ──> half-open
      ^                                ^                                                     │
      │                                └────────────────── its one trial fails ─────────────┤
      └───────────────────────────────────────────────── its one trial succeeds ────────────┘

A call that is cancelled says nothing of the dependency: it counts neither as success nor as failure. A call that was
admitted before the breaker opened decides nothing when it ends later.
"""

import time
from collections.abc import Callable
from enum import StrEnum

from countline_common.errors import UnavailableError


class BreakerState(StrEnum):
    """Whether calls are made."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpenError(UnavailableError):
    """The call was not made, because the dependency did not answer several times in a row."""


class GuardedAttempt:
    """One admitted call. Its outcome is recorded at most once."""

    def __init__(self, breaker: "CircuitBreaker", round_: int) -> None:
        self._breaker = breaker
        self._round = round_
        self._is_over = False

    def succeeded(self) -> None:
        """Record that the dependency answered; a refusal is an answer."""
        self._end(self._breaker.record_success)

    def failed(self) -> None:
        """Record that the dependency did not answer."""
        self._end(self._breaker.record_failure)

    def leave(self) -> None:
        """End a call that has no outcome, such as a cancelled one. No effect after an outcome."""
        self._end(self._breaker.record_nothing)

    def _end(self, record: Callable[[int], None]) -> None:
        if not self._is_over:
            self._is_over = True
            record(self._round)


class CircuitBreaker:
    """The breaker of one dependency.

    Args:
        name: of the dependency, for errors.
        failures: failures in a row that open it; 0 for a breaker that never opens.
        open_s: how long it stays open before it admits one trial.
        changed: called after each change of the state.
        is_connected: returns whether a connection exists. If there was none when the breaker opened or at a call since
            then, a new one admits a trial before `open_s` is over.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        failures: int,
        open_s: float,
        *,
        changed: Callable[[BreakerState], None] = lambda _: None,
        is_connected: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._most_failures = failures
        self._open_s = open_s
        self._changed = changed
        self.is_connected = is_connected
        self._clock = clock
        self._state: BreakerState = BreakerState.CLOSED
        self._failures = 0
        self._ends_s = 0.0
        self._lost_connection = False
        self._has_trial = False
        self._round = 0
        """Grows with each change of the state: a call of an older round decides nothing."""

    @property
    def state(self) -> BreakerState:
        """The state since the last call."""
        return self._state

    def check(self) -> None:
        """Raise if `enter` would refuse a call now.

        Raises:
            CircuitOpenError: the breaker is open, or its trial is in progress.
        """
        if self._state is BreakerState.OPEN and self._may_try():
            self._become(BreakerState.HALF_OPEN)
        if self._state is BreakerState.OPEN or self._has_trial:
            raise self._refusal()

    def enter(self) -> GuardedAttempt:
        """Admit a call.

        Raises:
            CircuitOpenError: as for `check`.
        """
        self.check()
        self._has_trial = self._state is BreakerState.HALF_OPEN
        return GuardedAttempt(self, self._round)

    def record_success(self, round_: int) -> None:
        """Close the breaker after its trial, and forget earlier failures; called by `GuardedAttempt`."""
        if round_ != self._round:
            return
        self._failures = 0
        if self._state is BreakerState.HALF_OPEN:
            self._become(BreakerState.CLOSED)

    def record_failure(self, round_: int) -> None:
        """Open the breaker after a failed trial or too many failures; called by `GuardedAttempt`."""
        if round_ != self._round:
            return
        self._failures += 1
        is_enough = 0 < self._most_failures <= self._failures
        if self._state is BreakerState.HALF_OPEN or (self._state is BreakerState.CLOSED and is_enough):
            self._ends_s = self._clock() + self._open_s
            self._lost_connection = self.is_connected is not None and not self.is_connected()
            self._become(BreakerState.OPEN)

    def record_nothing(self, round_: int) -> None:
        """Let another call be the trial; called by `GuardedAttempt`."""
        if round_ == self._round:
            self._has_trial = False

    def _may_try(self) -> bool:
        if self._clock() >= self._ends_s:
            return True
        if self.is_connected is None:
            return False
        if not self.is_connected():
            # A service that hung keeps its connection, and loses it when somebody ends it.
            self._lost_connection = True
            return False
        return self._lost_connection

    def _become(self, state: BreakerState) -> None:
        self._state, self._has_trial = state, False
        self._round += 1
        self._changed(state)

    def _refusal(self) -> CircuitOpenError:
        left_s = max(1.0, self._ends_s - self._clock())
        return CircuitOpenError(
            f"{self._name} did not answer {self._failures} times in a row, so this call was not made",
            hint=f"try again in {left_s:.0f} s at the latest; see that {self._name} runs",
            retry_after_s=left_s,
        )

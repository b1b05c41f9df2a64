"""Retries: the one place that computes how long to wait before the next attempt.

- `Backoff` gives growing pauses to a loop that knows best what to do between attempts.
- `Cooldowns` says whether a thing that failed may be tried now, without a loop of its own.
- `retrying` calls again for some time: for plain calls that need nothing in between.
- `repeating` calls again a number of times: the retries of a call to a remote dependency (`dependency`).

A fixed interval between two looks is no retry and needs none of these.
"""

import random
import time
from collections.abc import AsyncIterable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import stamina

FIRST_S: Final = 0.3
LONGEST_S: Final = 4.0
"""A server that comes back is found again within this and the time of opening: well under ten seconds."""
FACTOR: Final = 2.0
JITTER: Final = 0.5
"""Share of a pause that is random: clients of one server must not all return at the same moment."""
CALL_AGAIN_FIRST_S: Final = 0.1

_Key = TypeVar("_Key", bound=Hashable)


class Backoff:
    """Pauses that double up to a bound.

    Args:
        first_s: the first pause, and the first one after `reset`.
        longest_s: no pause is longer.
        jitter: the share of a pause that is random, 0..1; 0 gives the same pauses each time.
    """

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S, *, jitter: float = JITTER) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait before the next attempt, between `1 - jitter` and 1 of the pause."""
        pause_s, self._next_s = self._next_s, min(self._longest_s, self._next_s * FACTOR)
        return pause_s * (1.0 - self._jitter * random.random())  # noqa: S311  (spreads load, guards no secret)

    def reset(self) -> None:
        """Begin with the first pause again, because an attempt succeeded."""
        self._next_s = self._first_s


@dataclass(slots=True)
class _Cooldown:
    attempted: Hashable
    backoff: Backoff
    ends_s: float


class Cooldowns(Generic[_Key]):
    """For each key that failed, the time before which it is not tried again. Each failure in a row doubles that time.

    A key is forgotten when it was not tried for `longest_s` after its pause.

    Args:
        first_s: the first pause.
        longest_s: no pause is longer.
        jitter: as in `Backoff`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        first_s: float,
        longest_s: float,
        *,
        jitter: float = JITTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._clock = clock
        self._cooldowns: dict[_Key, _Cooldown] = {}

    def may_try(self, key: _Key, attempted: Hashable = None) -> bool:
        """Whether a key may be tried now; at once where it failed with another `attempted` than this."""
        cooldown = self._cooldowns.get(key)
        return cooldown is None or cooldown.attempted != attempted or self._clock() >= cooldown.ends_s

    def record_failure(self, key: _Key, attempted: Hashable = None) -> None:
        """Begin a pause, twice as long as the last one if the same `attempted` failed before."""
        now_s = self._clock()
        last = self._cooldowns.get(key)
        if last is None or last.attempted != attempted:
            last = _Cooldown(attempted, Backoff(self._first_s, self._longest_s, jitter=self._jitter), now_s)
        last.ends_s = now_s + last.backoff.next_s()
        self._cooldowns[key] = last
        self._cooldowns = {
            each: cooldown for each, cooldown in self._cooldowns.items() if now_s <= cooldown.ends_s + self._longest_s
        }

    def record_success(self, key: _Key) -> None:
        """Forget a key's failures."""
        self._cooldowns.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._cooldowns


def retrying(
    on: type[Exception] | Callable[[Exception], bool], *, timeout_s: float, longest_s: float = LONGEST_S
) -> AsyncIterable[stamina.Attempt]:
    """Attempts of a plain call, for `timeout_s` in all; the last error is raised.

    Use it as `async for attempt in retrying(UnavailableError, timeout_s=5): with attempt: ...`.

    Args:
        on: the errors after which to call again.
        timeout_s: no attempt begins later than this after the first one.
        longest_s: the longest pause between attempts.
    """
    return stamina.retry_context(
        on=on, attempts=None, timeout=timeout_s, wait_initial=CALL_AGAIN_FIRST_S, wait_max=longest_s
    )


def repeating(
    on: Callable[[Exception], bool], *, retries: int, first_pause_s: float, within_s: float
) -> AsyncIterable[stamina.Attempt]:
    """Attempts of a call, with pauses that double; the last error is raised.

    Half of the first pause is added to each at random. A pause that would outlast `within_s` is not begun: the error
    says more than a deadline.

    Args:
        on: whether to call again after an error.
        retries: attempts after the first one, at most.
        first_pause_s: the pause before the second attempt.
        within_s: time of all attempts. The caller bounds the attempts themselves.
    """
    began_s, jitter_s = time.monotonic(), first_pause_s * JITTER
    pauses_s = iter([first_pause_s * FACTOR**each + jitter_s for each in range(retries)])

    def again(error: Exception) -> bool:
        pause_s = next(pauses_s, None)
        return pause_s is not None and on(error) and time.monotonic() - began_s + pause_s < within_s

    return stamina.retry_context(
        on=again,
        attempts=retries + 1,
        timeout=None,
        wait_initial=first_pause_s,
        wait_max=first_pause_s * FACTOR**retries + jitter_s,
        wait_jitter=jitter_s,
        wait_exp_base=FACTOR,
    )

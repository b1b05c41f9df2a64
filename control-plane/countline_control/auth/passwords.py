"""Argon2 hashes of passwords, computed in threads, a few at a time.

A hash takes a tenth of a second of processor time and 64 MiB on purpose. Without a bound, a flood of logins would
exhaust the machine; with one queue for all callers, it would keep everybody else waiting. So callers who have logged in
from their address before have a lane of their own, and each lane has a bounded queue. All hashes share one processor.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from countline_common.errors import ResourceExhaustedError
from countline_common.logs import get_logger

MOST_WAITING: Final = 16
"""Callers in a lane, with the one whose turn it is; further ones are refused."""
LONGEST_WAIT_S: Final = 3.0
"""A caller who has waited for so long is refused: clients give a login 5 s."""
TURN_WITHIN_S: Final = 4.0
"""So long a caller waits at most, with the time that its own turn will take. On a busy machine a turn takes seconds."""
RETRY_S: Final = 2.0
DECOY: Final = "not a password of a user"
"""Hashed once, and checked where there is no hash. It is public, so it must open nothing."""

_log = get_logger(__name__)
_Result = TypeVar("_Result")


class Passwords:
    """Hashes and checks passwords.

    Args:
        hasher: the hasher; None for argon2 with its default parameters.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._lanes = {True: _Lane(), False: _Lane()}
        self._threads = ThreadPoolExecutor(len(self._lanes), "password", _take_one_processor)

    @cached_property
    def _decoy(self) -> str:
        """A hash to check when the user does not exist, so that the answer takes as long as for a wrong password."""
        return self._hasher.hash(DECOY)

    def turn(self, *, known: bool) -> AbstractAsyncContextManager[None]:
        """Wait for the turn of a caller; while it lasts, the caller may `verify` a password.

        Args:
            known: whether the caller has logged in from its address before.

        Raises:
            ResourceExhaustedError: too many callers wait.
        """
        return self._lanes[known].turn()

    async def hash(self, password: str, *, known: bool = True) -> str:
        """Return the hash to store; raises like `turn`."""
        async with self.turn(known=known):
            return await self._in_thread(lambda: self._hasher.hash(password))

    async def matches(self, stored: str, password: str) -> bool:
        """Whether the password of a caller who is logged in is right; raises like `turn`."""
        async with self.turn(known=True):
            return await self.verify(stored, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether a password is right; without a stored hash the answer is False and takes as long.

        Args:
            stored: the hash; None if there is no such user, empty for a user without a password.
            password: what the caller sent.
        """
        return await self._in_thread(lambda: self._verify(stored, password))

    async def _in_thread(self, compute: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, compute)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            right = self._hasher.verify(stored or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return False
        return right and bool(stored)  # the decoy's own password opens nothing


def _take_one_processor() -> None:
    """Keep the calling thread, and the threads that it starts, on one processor.

    argon2 computes one hash in four threads. A flood of logins kept both processors of a small machine busy with them,
    and each step of every other call waited for a processor: 183 ms at the 95th percentile, 46 ms with this. A lower
    priority adds nothing to that, and lets a login take seconds where all processors are busy with pictures.
    """
    try:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # 0 is the calling thread
    except OSError as error:  # a sandbox may forbid it; an exception here would end every login
        _log.warning("passwords.on_all_processors", error=str(error))


class _Lane:
    """A queue of callers, one of whom computes a hash at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)
        self._waiting = 0
        self._last_turn_s = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._waiting >= MOST_WAITING:
            raise _crowded()
        self._waiting += 1
        try:
            await self._acquire()
            began = time.monotonic()
            try:
                yield
            finally:
                self._last_turn_s = time.monotonic() - began
                self._free.release()
        finally:
            self._waiting -= 1

    async def _acquire(self) -> None:
        try:
            async with asyncio.timeout(min(LONGEST_WAIT_S, max(0.0, TURN_WITHIN_S - self._last_turn_s))):
                await self._free.acquire()
        except TimeoutError:
            raise _crowded() from None


def _crowded() -> ResourceExhaustedError:
    return ResourceExhaustedError("too many logins at once", hint="try again soon", retry_after_s=RETRY_S)

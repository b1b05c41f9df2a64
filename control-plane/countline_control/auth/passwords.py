"""Argon2 hashes of passwords, computed in threads, a few at a time.

A hash takes tens of milliseconds and 64 MiB on purpose. Without a bound, a flood of logins would exhaust the machine;
with one queue for all callers, it would keep everybody else waiting. So callers who have logged in from their address
before have a lane of their own, and each lane has a bounded queue.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from countline_common.errors import ResourceExhaustedError

MOST_WAITING: Final = 16
"""Callers in a lane, with the one whose turn it is; further ones are refused."""
LONGEST_WAIT_S: Final = 3.0
"""A caller who has waited for so long is refused: clients give a login 5 s."""
RETRY_S: Final = 2.0
DECOY: Final = "not a password of a user"
"""Hashed once, and checked where there is no hash. It is public, so it must open nothing."""


class Passwords:
    """Hashes and checks passwords.

    Args:
        hasher: the hasher; None for argon2 with its default parameters.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._lanes = {True: _Lane(), False: _Lane()}

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
            return await asyncio.to_thread(self._hasher.hash, password)

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
        return await asyncio.to_thread(self._verify, stored, password)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            right = self._hasher.verify(stored or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return False
        return right and bool(stored)  # the decoy's own password opens nothing


class _Lane:
    """A queue of callers, one of whom computes a hash at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._waiting >= MOST_WAITING:
            raise _crowded()
        self._waiting += 1
        try:
            await self._acquire()
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._waiting -= 1

    async def _acquire(self) -> None:
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise _crowded() from None


def _crowded() -> ResourceExhaustedError:
    return ResourceExhaustedError("too many logins at once", hint="try again soon", retry_after_s=RETRY_S)

"""Argon2 hashes of passwords, computed in threads, a few at a time.

A hash takes tens of milliseconds and 64 MiB on purpose. Without a bound, a flood of logins would exhaust the machine.
"""

import asyncio
from functools import cached_property
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_A_TIME: Final = 2


class Passwords:
    """Hashes and checks passwords.

    Args:
        hasher: the hasher; None for argon2 with its default parameters.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._hashing = asyncio.Semaphore(AT_A_TIME)

    @cached_property
    def _decoy(self) -> str:
        """A hash to check when the user does not exist, so that the answer takes as long as for a wrong password."""
        return self._hasher.hash("not a password of a user")

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether a password is right; without a stored hash the answer is False and takes as long."""
        async with self._hashing:
            right = await asyncio.to_thread(self._verify, stored, password)
        return right and stored is not None

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(stored or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return False

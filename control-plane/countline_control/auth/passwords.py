"""Argon2 hashes of passwords, computed off the event loop and not more than a few at a time.

A hash takes tens of milliseconds and 64 MiB on purpose; without a bound, a flood of logins would take the machine.
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
        hasher: the parameters; tests give cheap ones.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._free = asyncio.Semaphore(AT_A_TIME)

    @cached_property
    def _nobody(self) -> str:
        """Checked when there is no such user, so that the answer takes as long as for a wrong password."""
        return self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The hash to store."""
        async with self._free:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether a password is the right one; always false, and as slow, where nothing is stored."""
        async with self._free:
            right = await asyncio.to_thread(self._verify, stored, password)
        return right and stored is not None

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(stored or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False

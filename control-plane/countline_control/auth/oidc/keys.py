"""Keeps the public keys of the provider, and loads them again when it may have changed them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from joserfc.jwk import KeySet

KEPT_S: Final = 3600.0
"""Keys that the provider withdrew are accepted for so long at most."""
RELOAD_S: Final = 60.0
"""Tokens with unknown keys, which anybody can make, load the keys at most so often."""


class KeyCache:
    """The keys of one provider.

    Args:
        load: gets the keys from the provider.
        clock: monotonic seconds.
    """

    def __init__(self, load: Callable[[], Awaitable[KeySet]], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: KeySet | None = None
        self._loaded_at = float("-inf")

    async def current(self) -> KeySet:
        """Return the keys; raises like `load`."""
        return await self._newer_than(KEPT_S)

    async def reloaded(self) -> KeySet:
        """Return the keys, loaded anew unless they were loaded in the last minute; raises like `load`."""
        return await self._newer_than(RELOAD_S)

    async def _newer_than(self, age_s: float) -> KeySet:
        async with self._lock:  # many logins at once load the keys once
            if self._keys is None or self._clock() - self._loaded_at >= age_s:
                self._keys = await self._load()
                self._loaded_at = self._clock()
            return self._keys

"""Makes callers wait after too many wrong passwords, by user name and by address."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.times import to_datetime
from countline_control.auth import domain, store
from countline_control.database import Database


class LoginLimiter:
    """Counts attempts to log in.

    Args:
        database: holds the schema `auth`.
        clock: returns Unix seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def count(self, username: str, address: str) -> None:
        """Count an attempt as failed before its password is checked, so that many at once cannot pass together.

        Raises:
            ResourceExhaustedError: the caller has to wait.
        """
        async with self._database.begin() as connection:
            for key, free in _keys(username, address):
                attempts = await store.lock_attempts(connection, key)
                wait = domain.wait_s(attempts, free, self._clock())
                if wait > 0:
                    raise domain.refuse_for(wait)
                failures = domain.failures_after(attempts, self._clock())
                await store.set_attempts(connection, key, failures, to_datetime(self._clock()))

    async def clear(self, connection: AsyncConnection, username: str, address: str) -> None:
        """Forget the failures after a successful login, inside the caller's transaction."""
        forgiven_before = to_datetime(self._clock()) - timedelta(seconds=domain.FORGIVEN_AFTER_S)
        for key, _ in _keys(username, address):
            await store.clear_attempts(connection, key, forgiven_before)


def _keys(username: str, address: str) -> list[tuple[str, int]]:
    """Return the keys to count under, each with its number of free failures."""
    # Hashed: people type passwords into the wrong field, and PostgreSQL indexes no long keys.
    keys = [(_hashed(f"user:{domain.username_key(username)}"), domain.FREE_FAILURES)]
    # Without an address (a proxy did not send it) there is no such key: one caller would lock out everyone else.
    return keys + ([(_hashed(f"address:{address}"), domain.FREE_ADDRESS_FAILURES)] if address else [])


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()

"""Makes callers wait after too many wrong passwords.

Failures are counted for a user at an address, for an address, and for a user at all addresses together. The last count
does not hold for an address from which the user has logged in before: guesses from elsewhere cannot lock the user out.
"""

import hashlib
from collections.abc import Callable, Collection
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

    async def knows(self, username: str, address: str) -> bool:
        """Whether the user has logged in from this address before."""
        return await self._database.read(lambda connection: store.has_session_from(connection, username, address))

    async def count(self, username: str, address: str, *, known: bool) -> None:
        """Count an attempt as failed before its password is checked, so that many at once cannot pass together.

        Args:
            username: as the caller wrote it.
            address: of the caller; empty if it is unknown.
            known: what `knows` returned.

        Raises:
            ResourceExhaustedError: the caller has to wait.
        """
        await self._count(_keys(username, address, known=known))

    async def count_address(self, address: str) -> None:
        """Count an attempt whose user is not known yet; an unknown address is not counted. Raises like `count`."""
        if address:
            await self._count([_address(address)])

    async def _count(self, keys: Collection[tuple[str, int]]) -> None:
        async with self._database.begin() as connection:
            for key, free in keys:
                attempts = await store.lock_attempts(connection, key)
                wait = domain.wait_s(attempts, free, self._clock())
                if wait > 0:
                    raise domain.refuse_for(wait)
                failures = domain.failures_after(attempts, self._clock())
                await store.set_attempts(connection, key, failures, to_datetime(self._clock()))

    async def clear(self, connection: AsyncConnection, username: str, address: str) -> None:
        """Forget the failures after a successful login, inside the caller's transaction."""
        await self._clear(connection, _keys(username, address, known=False))

    async def clear_address(self, connection: AsyncConnection, address: str) -> None:
        """Forget the failures of an address after a successful login, inside the caller's transaction."""
        await self._clear(connection, [_address(address)])

    async def _clear(self, connection: AsyncConnection, keys: Collection[tuple[str, int]]) -> None:
        forgiven_before = to_datetime(self._clock()) - timedelta(seconds=domain.FORGIVEN_AFTER_S)
        for key, _ in keys:
            await store.clear_attempts(connection, key, forgiven_before)


async def forget_user(connection: AsyncConnection, username: str) -> None:
    """Forget the failures of a user at every address."""
    await store.clear_attempts_of(connection, _user(username), f"{_pair(username)}%")


def _keys(username: str, address: str, *, known: bool) -> list[tuple[str, int]]:
    """Return the keys to count under, each with its number of free failures."""
    everywhere = (_user(username), domain.FREE_FAILURES)
    if not address:
        # A proxy did not send the address: a limit by address would let one caller lock out everyone else.
        return [everywhere]
    here = [
        (_pair(username) + _hashed(address), domain.FREE_FAILURES),
        _address(address),
    ]
    return here if known else [*here, everywhere]


def _address(address: str) -> tuple[str, int]:
    return f"address:{_hashed(address)}", domain.FREE_ADDRESS_FAILURES


def _user(username: str) -> str:
    return f"user:{_hashed(domain.username_key(username))}"


def _pair(username: str) -> str:
    return f"pair:{_hashed(domain.username_key(username))}:"


def _hashed(text: str) -> str:
    # People type passwords into the wrong field, and PostgreSQL indexes no long keys.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

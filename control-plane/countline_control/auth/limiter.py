"""Makes callers wait after too many wrong passwords.

Failures are counted for a user at an address, for an address, and for a user at all addresses together. The last count
does not hold for an address from which the user has logged in before: guesses from elsewhere cannot lock the user out.
For the count of an address, all addresses of one IPv6 customer are one.

An attempt counts as failed until it has succeeded. A success empties only the count of that user at that address. From
the other counts it takes back its own attempt and nothing else: whoever has an account could otherwise guess passwords
of other users without end.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.http.client_address import counted_as
from countline_common.times import to_datetime
from countline_control.auth import domain, store
from countline_control.database import Database


@dataclass(frozen=True, slots=True)
class Attempt:
    """The keys under which an attempt counts as failed, until it has succeeded."""

    own: str = ""
    """Of the user at the address; of the user if the address is unknown."""
    shared: tuple[str, ...] = ()
    """Of the address, and of the user at all addresses."""


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

    async def count(self, username: str, address: str, *, known: bool) -> Attempt:
        """Count an attempt as failed before its password is checked, so that many at once cannot pass together.

        Args:
            username: as the caller wrote it.
            address: of the caller; empty if it is unknown.
            known: what `knows` returned.

        Raises:
            ResourceExhaustedError: the caller has to wait.
        """
        everywhere = (_user(username), domain.FREE_FAILURES)
        if not address:
            # A proxy did not send the address: a limit by address would let one caller lock out everyone else.
            await self._count([everywhere])
            return Attempt(everywhere[0])
        own = (_pair(username) + _hashed(address), domain.FREE_FAILURES)
        shared = [_address(address)] if known else [_address(address), everywhere]
        await self._count([own, *shared])
        return Attempt(own[0], tuple(key for key, _ in shared))

    async def count_address(self, address: str) -> Attempt:
        """Count an attempt whose user is not known yet; an unknown address is not counted. Raises like `count`."""
        if not address:
            return Attempt()
        key, free = _address(address)
        await self._count([(key, free)])
        return Attempt(shared=(key,))

    async def count_registration(self, address: str, peer: str) -> None:
        """Count an attempt to register, which no success takes back. Raises like `count`.

        Args:
            address: of the caller; empty if it is unknown.
            peer: host of the other end of the connection: the gateway. If addresses are unknown, all people behind it
                share one count with a higher bound.
        """
        free = domain.FREE_REGISTRATIONS if address else domain.FREE_GATEWAY_REGISTRATIONS
        kind = "address" if address else "gateway"
        await self._count([(f"register:{kind}:{_hashed(counted_as(address) if address else peer)}", free)])

    async def _count(self, keys: Collection[tuple[str, int]]) -> None:
        async with self._database.begin() as connection:
            for key, free in keys:
                attempts = await store.lock_attempts(connection, key)
                wait = domain.wait_s(attempts, free, self._clock())
                if wait > 0:
                    raise domain.refuse_for(wait)
                failures = domain.failures_after(attempts, free, self._clock())
                await store.set_attempts(connection, key, failures, to_datetime(self._clock()))

    async def clear(self, connection: AsyncConnection, attempt: Attempt) -> None:
        """Note that an attempt has succeeded: forget the failures of its user at its address.

        Args:
            connection: of the caller's transaction.
            attempt: what `count` returned.
        """
        if attempt.own:
            await store.clear_attempts(connection, attempt.own)
        await self.take_back(connection, attempt)
        before = to_datetime(self._clock()) - timedelta(seconds=domain.FORGIVEN_AFTER_S)
        await store.forget_attempts(connection, before)

    async def take_back(self, connection: AsyncConnection, attempt: Attempt) -> None:
        """Take an attempt back from the counts that others share. The user at the address keeps all failures.

        This is for a right password that a code has to follow.
        """
        for key in attempt.shared:
            await store.take_back_attempt(connection, key)


async def forget_user(connection: AsyncConnection, username: str) -> None:
    """Forget the failures of a user at every address."""
    await store.clear_attempts_of(connection, _user(username), f"{_pair(username)}%")


def _address(address: str) -> tuple[str, int]:
    return f"address:{_hashed(counted_as(address))}", domain.FREE_ADDRESS_FAILURES


def _user(username: str) -> str:
    return f"user:{_hashed(domain.username_key(username))}"


def _pair(username: str) -> str:
    return f"pair:{_hashed(domain.username_key(username))}:"


def _hashed(text: str) -> str:
    # People type passwords into the wrong field, and PostgreSQL indexes no long keys.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

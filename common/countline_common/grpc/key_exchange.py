"""API keys of callers: each service exchanges a key for an access token of its owner, and keeps the result for a while.

A call with a known key costs a hash and a look into memory. A revocation acts as for logins: `Revocations` refuses the
kept result, and the next exchange fails. While auth is away, a kept result works until its token expires.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import grpc

from countline.v1 import keys_pb2, keys_pb2_grpc
from countline_common.access.api_keys import read_key
from countline_common.errors import CountlineError, UnauthenticatedError, UnavailableError
from countline_common.grpc.errors import translated
from countline_common.grpc.tokens import Principal, TokenVerifier
from countline_common.http.request_ids import request_metadata

MOST_KEPT: Final = 10_000
"""Keys whose result is kept; the one that was not used for the longest time goes first."""
MOST_REFUSED: Final = 1_000
RENEWED_BEFORE_S: Final = 60.0
"""A result whose token has less time left is renewed."""
REFUSED_FOR_S: Final = 5.0
"""An unknown or revoked key is refused for so long without another question to auth."""
EXCHANGE_TIMEOUT_S: Final = 5.0
KEY_HINT: Final = "make a new key: countline keys create"

Exchange = Callable[[str], Awaitable[str]]
"""Returns an access token for a key; raises UnauthenticatedError if the key is not good."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    until: float
    message: str


class KeyExchange:
    """Finds the callers of API keys for one process.

    Args:
        exchange: asks auth.
        verifier: checks the tokens that auth returns.
        clock: returns Unix seconds.
    """

    def __init__(self, exchange: Exchange, verifier: TokenVerifier, clock: Callable[[], float] = time.time) -> None:
        self._exchange = exchange
        self._verifier = verifier
        self._clock = clock
        self._kept: OrderedDict[bytes, Principal] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refusal] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Principal]] = {}

    async def principal(self, key: str) -> Principal:
        """Return the caller of a key.

        Raises:
            UnauthenticatedError: the key is mistyped, unknown, revoked or expired.
            UnavailableError: auth does not answer, and no earlier result is kept.
        """
        name = hashlib.sha256(key.encode(errors="surrogatepass")).digest()
        if (kept := self._usable(name)) is not None and kept.expires_at - RENEWED_BEFORE_S > self._clock():
            return kept
        if (refusal := self._refused.get(name)) is not None and refusal.until > self._clock():
            raise UnauthenticatedError(refusal.message, hint=KEY_HINT)
        read_key(key)
        try:
            return await self._ask_once(name, key)
        except UnauthenticatedError as error:
            self._refuse(name, error.message)
            raise
        except Exception:
            # Auth or its database is away.
            if kept is not None and kept.expires_at > self._clock():
                return kept
            raise

    def _usable(self, name: bytes) -> Principal | None:
        kept = self._kept.get(name)
        if kept is None:
            return None
        try:
            self._verifier.check(kept)
        except UnauthenticatedError:
            del self._kept[name]
            return None
        self._kept.move_to_end(name)
        return kept

    async def _ask_once(self, name: bytes, key: str) -> Principal:
        """Ask auth. Calls at the same time share one question; a caller that hangs up does not end it."""
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._ask(name, key), name="exchange of an API key")
            task.add_done_callback(partial(self._asked, name))
        return await asyncio.shield(task)

    def _asked(self, name: bytes, task: asyncio.Task[Principal]) -> None:
        del self._asking[name]
        if not task.cancelled():
            task.exception()  # every caller may have hung up

    async def _ask(self, name: bytes, key: str) -> Principal:
        try:
            async with asyncio.timeout(EXCHANGE_TIMEOUT_S):
                principal = await self._exchanged(key)
        except TimeoutError:
            raise _away() from None
        self._kept[name] = principal
        self._refused.pop(name, None)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return principal

    async def _exchanged(self, key: str) -> Principal:
        try:
            return self._verifier.verify(await self._exchange(key))
        except UnauthenticatedError:
            # What the owner may do can change between the question and the answer: then the second token is good.
            return self._verifier.verify(await self._exchange(key))

    def _refuse(self, name: bytes, message: str) -> None:
        self._kept.pop(name, None)
        self._refused[name] = _Refusal(self._clock() + REFUSED_FOR_S, message)
        if len(self._refused) > MOST_REFUSED:
            self._refused.popitem(last=False)


def remote_exchange(channel: grpc.aio.Channel) -> Exchange:
    """Return an exchange with auth in another process."""
    stub: keys_pb2_grpc.KeyServiceAsyncStub = keys_pb2_grpc.KeyServiceStub(channel)

    async def exchange(key: str) -> str:
        try:
            with translated():
                request = keys_pb2.ExchangeKeyRequest(key=key)
                answer = await stub.ExchangeKey(request, timeout=EXCHANGE_TIMEOUT_S, metadata=request_metadata())
        except UnauthenticatedError:
            raise
        except CountlineError as error:
            raise _away() from error
        return answer.access_token

    return exchange


def _away() -> UnavailableError:
    return UnavailableError("auth does not answer, so the API key cannot be checked", hint="try again")

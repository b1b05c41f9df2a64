"""Limits the rate of requests: for each address, each user, each key, and of logins from each address.

A refused request gets 429 and `Retry-After`. Every counted answer has `RateLimit-Limit`, `-Remaining` and `-Reset` of
the limit that is nearest to its end.
"""

import hashlib
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import Counter

from countline_analytics.api.protection.rate_store import RateStore
from countline_common.administration.current import CurrentSettings
from countline_common.errors import ResourceExhaustedError
from countline_common.grpc.tokens import Principal
from countline_common.http.client_address import Network, client_address, counted_as

REFUSED: Final = Counter("countline_http_rate_refused_total", "Requests above a rate limit", ["limit"])
ADDRESS: Final = web.RequestKey("client_address", str)

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Rates:
    """The most requests in a minute; 0 for no limit."""

    address: int
    """From one address. Not counted where the address is unknown."""
    login: int
    """From one address, to methods that need no token: login, refresh, logout and the like."""
    user: int
    """Of one user, over all sessions."""
    key: int
    """With one key: the token of a worker, a service or a program."""


def rates_of(current: CurrentSettings) -> Rates:
    """Return the limits that hold now."""
    return Rates(*(current.number(f"rate_limit.{kind}") for kind in ("address", "login", "user", "key")))


@dataclass(frozen=True, slots=True)
class Counted:
    """The state of one limit after a request."""

    per_minute: int
    remaining: int
    reset_s: float

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {
            "RateLimit-Limit": str(self.per_minute),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(max(1, math.ceil(self.reset_s))),
        }


NEAREST: Final = web.RequestKey("nearest_rate_limit", Counted)


class RateLimits:
    """Counts requests and refuses those above a limit.

    Args:
        store: holds the counters.
        rates: returns the limits that hold now.
        proxies: networks of trusted proxies.
    """

    def __init__(self, store: RateStore, rates: Callable[[], Rates], proxies: Collection[Network]) -> None:
        self._store = store
        self._rates = rates
        self._proxies = proxies

    async def count_address(self, request: web.Request) -> None:
        """Count a request for its address.

        Raises:
            ResourceExhaustedError: too many requests come from there.
        """
        # A proxy may add its own header instead of extending the received one.
        forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", ()))
        request[ADDRESS] = client_address(request.remote or "", forwarded_for, self._proxies)
        if request[ADDRESS]:
            await self._count(request, "address", self._rates().address, counted_as(request[ADDRESS]))

    async def count_login(self, request: web.Request) -> None:
        """Count a request that needs no token; raises like `count_address`."""
        if request[ADDRESS]:
            await self._count(request, "login", self._rates().login, counted_as(request[ADDRESS]))

    async def count_caller(self, request: web.Request, principal: Principal, token: str) -> None:
        """Count a request for its user, or for its key if no person logged in; raises like `count_address`."""
        real = principal.actor or principal
        if real.session_id:
            await self._count(request, "user", self._rates().user, real.subject)
        else:
            await self._count(request, "key", self._rates().key, hashlib.sha256(token.encode()).hexdigest()[:32])

    async def _count(self, request: web.Request, limit: str, per_minute: int, caller: str) -> None:
        if per_minute == 0:
            return
        permitted, remaining, reset_s = await self._store.hit(per_minute, f"{limit}:{caller}")
        counted, nearest = Counted(per_minute, remaining, reset_s), request.get(NEAREST)
        if nearest is None or counted.remaining < nearest.remaining:
            request[NEAREST] = counted
        if not permitted:
            REFUSED.labels(limit).inc()
            raise ResourceExhaustedError(
                f"more than {per_minute} requests in a minute {_WHO[limit]}",
                hint="wait as long as Retry-After says, and ask less often",
                retry_after_s=max(1.0, reset_s),
            )


_WHO: Final = {
    "address": "come from this address",
    "login": "without a login come from this address",
    "user": "come from this user",
    "key": "come with this key",
}


def limited(limits: RateLimits) -> Middleware:
    """Return a middleware that counts each request to the API for its address, before anything else is done for it."""

    @web.middleware
    async def count(request: web.Request, handler: Next) -> web.StreamResponse:
        if request.path.startswith("/api/") or request.path == "/ws":
            await limits.count_address(request)
        return await handler(request)

    return count

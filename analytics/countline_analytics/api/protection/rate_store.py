"""Where requests are counted: in Redis, which all gateways share, or in the memory of this process.

While Redis is away, this process counts in its memory, so each gateway permits the whole rate by itself. Counting
neither stops nor lets everything through.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Cooldowns

MOST_COUNTERS: Final = 50_000
"""Counters in memory. While there are so many, all new callers share one."""
SWEEP_PERIOD_S: Final = 5.0
REDIS_TIMEOUT_S: Final = 0.25
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0
_REDIS: Final = "redis"

_log = get_logger(__name__)


class BoundedMemory(MemoryStorage):
    """Counters in the memory of this process. Expired ones are removed every five seconds, not at each request."""

    _swept_at = float("-inf")

    async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802  (replaces a private method of the library)
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_PERIOD_S:
            self._swept_at = now
            await self._MemoryStorage__expire_events()  # type: ignore[attr-defined]

    @property
    def is_full(self) -> bool:
        """Whether no further counter may be made."""
        return len(self.storage) >= MOST_COUNTERS


class RateStore:
    """Counts requests over a sliding minute.

    Args:
        redis_url: `redis://user:password@host:port/0`, or `rediss://` with TLS; empty for memory alone.
        clock: returns Unix seconds.
    """

    def __init__(self, redis_url: str = "", clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._memory = BoundedMemory()
        self._here = SlidingWindowCounterRateLimiter(self._memory)
        self._redis: RedisStorage | None = None
        if redis_url:
            options: dict[str, Any] = {
                "socket_timeout": REDIS_TIMEOUT_S,
                "socket_connect_timeout": REDIS_TIMEOUT_S,
                "retry": Retry(NoBackoff(), 0),
            }
            self._redis = RedisStorage(
                f"async+{redis_url}",
                wrap_exceptions=True,
                implementation="redispy",
                key_prefix="countline:rates",
                **options,
            )
        self._shared = SlidingWindowCounterRateLimiter(self._redis) if self._redis is not None else None
        self._cooldowns: Cooldowns[str] = Cooldowns(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    @property
    def problem(self) -> str:
        """Why the counters are not shared as configured; empty if they are."""
        if _REDIS in self._cooldowns:
            return "Redis does not answer: each gateway limits the rate of requests by itself"
        return ""

    async def hit(self, per_minute: int, caller: str) -> tuple[bool, int, float]:
        """Count a request.

        Args:
            per_minute: the most requests in a minute.
            caller: who makes it.

        Returns:
            Whether the request is within the rate, how many more are now, and seconds until one more is.
        """
        if self._shared is not None and self._cooldowns.may_try(_REDIS):
            try:
                counted = await self._count(self._shared, per_minute, caller)
            except (StorageError, OSError, TimeoutError) as error:
                if _REDIS not in self._cooldowns:
                    _log.warning("rates.redis_away", error=redact(str(error)) or type(error).__name__)
                self._cooldowns.record_failure(_REDIS)
            else:
                if _REDIS in self._cooldowns:
                    _log.info("rates.redis_back")
                    self._cooldowns.record_success(_REDIS)
                return counted
        return await self._count(self._here, per_minute, "others" if self._memory.is_full else caller)

    async def _count(
        self, limiter: SlidingWindowCounterRateLimiter, per_minute: int, caller: str
    ) -> tuple[bool, int, float]:
        item = RateLimitItemPerMinute(per_minute)
        permitted = await limiter.hit(item, caller)
        stats = await limiter.get_window_stats(item, caller)
        return permitted, max(0, stats.remaining), max(0.0, stats.reset_time - self._clock())

    async def close(self) -> None:
        """Disconnect from Redis."""
        if self._redis is not None:
            client: Any = self._redis.bridge
            await client.storage.aclose()

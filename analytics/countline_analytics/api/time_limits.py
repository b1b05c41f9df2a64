"""How long a request may take and how often it is tried again, by its path: the one table of both.

The gateway uses this table. `make routes` writes it into the configuration of NGINX (docker/gateway/routes.conf), whose
limits are longer by a margin: the gateway's own answer says more than NGINX's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from countline_common.errors import DeadlineExceededError
from countline_common.resilience.retry import repeating
from countline_common.resilience.transient import is_transient

FIRST_PAUSE_S: Final = 0.1
API: Final = "/api/v1/"

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Limits of one request."""

    seconds: float
    """Time of the whole request: all attempts and the pauses between them."""
    retries: int
    """Further attempts after one that found its service away."""


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """Limits of the paths below some resources."""

    resources: tuple[str, ...]
    """First words of the paths below `/api/v1/`."""
    reads: TimeLimit
    """Limits of GET. Only reads are tried again: a change may have been made although its answer was lost."""
    changes: TimeLimit

    @property
    def longest_s(self) -> float:
        """The longest limit of these paths, in seconds."""
        return max(self.reads.seconds, self.changes.seconds)


def _same(seconds: float, retries: int, *resources: str) -> RouteLimits:
    return RouteLimits(resources, TimeLimit(seconds, retries), TimeLimit(seconds, 0))


ROUTES: Final = (
    _same(5.0, 3, "auth", "users", "invites", "service-accounts", "roles", "permissions"),
    _same(10.0, 2, "cameras", "sites", "workers", "secrets"),
    _same(15.0, 1, "analytics"),
    # Triton may build an engine before it loads a model. The service times out earlier.
    RouteLimits(("ai-models",), TimeLimit(15.0, 1), TimeLimit(250.0, 0)),
)
OTHERS: Final = _same(15.0, 1)
"""Limits of all other paths."""


def time_limit(path: str, method: str) -> TimeLimit:
    """Return the limits of a request.

    Args:
        path: such as `/api/v1/cameras/{camera_id}`.
        method: of HTTP.
    """
    resource = path.removeprefix(API).partition("/")[0]
    limits = next((each for each in ROUTES if resource in each.resources), OTHERS)
    return limits.reads if method in {"GET", "HEAD"} else limits.changes


async def within(limit: TimeLimit, attempt: Callable[[float], Awaitable[_Result]]) -> _Result:
    """Make attempts until one does not find its service away, within the limit.

    Args:
        limit: of all attempts together.
        attempt: gets the seconds that are left.

    Raises:
        DeadlineExceededError: the time is over.
        UnavailableError: the service is away in the last attempt.
    """
    ends_s = time.monotonic() + limit.seconds
    attempts = repeating(is_transient, retries=limit.retries, first_pause_s=FIRST_PAUSE_S, within_s=limit.seconds)
    try:
        async with asyncio.timeout(limit.seconds):
            async for each in attempts:
                with each:
                    return await attempt(ends_s - time.monotonic())
    except TimeoutError as error:
        raise DeadlineExceededError(
            f"the request took longer than {limit.seconds:g} s", hint="try again, or ask for less at once"
        ) from error
    raise AssertionError("attempts end with a result or an exception")

"""What the schedule reads from the services of cameras and models."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from countline_control.models.domain import ModelRouting
from countline_control.workers.domain import AssignableCamera

_Read = TypeVar("_Read")


class CameraInventory(Protocol):
    """Lists the cameras; implemented by the service of cameras, in this process or elsewhere."""

    poll_period_s: float
    """How often to read the list even though no change was announced."""

    async def cameras(self) -> Sequence[AssignableCamera]:
        """Return all cameras. Raises `CountlineError` while it cannot answer."""
        ...


class RoutingSource(Protocol):
    """Knows which version of each model is live or on trial; implemented by the service of models."""

    poll_period_s: float
    """How often to read the routing even though no change was announced."""

    async def routing(self) -> ModelRouting:
        """Return what decides which version counts a camera. Raises `CountlineError` while it cannot answer."""
        ...


class NoRouting:
    """Stands in where no service of models runs: workers use the model that a camera names."""

    poll_period_s = float("inf")

    async def routing(self) -> ModelRouting:
        """Return a routing without live versions."""
        return ModelRouting({})


class Poll(Generic[_Read]):
    """Reads something when it is announced to have changed, and after each period.

    Args:
        read: reads it.
        period_s: the longest time between two reads, in seconds.
    """

    def __init__(self, read: Callable[[], Awaitable[_Read]], period_s: float) -> None:
        self._read = read
        self._period_s = period_s
        self._has_changed = True
        self._read_at = float("-inf")

    def announce(self) -> None:
        """A change was announced."""
        self._has_changed = True

    @property
    def is_due(self) -> bool:
        """Whether it is time to read."""
        return self._has_changed or time.monotonic() - self._read_at > self._period_s

    async def read(self) -> _Read:
        """Read now; after an error the next read is due at once."""
        self._has_changed = False
        try:
            found = await self._read()
        except Exception:
            self._has_changed = True
            raise
        self._read_at = time.monotonic()
        return found

"""Remembers for a moment in which site a camera is, so that most checks of a caller's reach need no lookup."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

KEPT_S: Final = 2.0
"""How long an answer is used again. A camera that was deleted and added to another site is looked up within it."""
MOST_KEPT: Final = 10_000


class CameraSites:
    """The sites of cameras that were asked for lately.

    Args:
        look_up: returns the site of a camera; empty if there is no such camera.
        clock: returns seconds, monotonic.
    """

    def __init__(self, look_up: Callable[[str], Awaitable[str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._kept: dict[str, tuple[float, str]] = {}

    async def site_of(self, camera_id: str) -> str:
        """Return the site of a camera; empty if there is no such camera, which is asked anew each time."""
        until, site_id = self._kept.get(camera_id, (0.0, ""))
        now = self._clock()
        if now < until:
            return site_id
        if site_id := await self._look_up(camera_id):
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[camera_id] = (now + KEPT_S, site_id)
        return site_id

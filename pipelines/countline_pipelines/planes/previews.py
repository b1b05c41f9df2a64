"""Selects frames for previews: a few per second while a client watches."""

from typing import Final

PREVIEW_EVERY_S: Final = 0.2


class Throttle:
    """Lets one event pass every `PREVIEW_EVERY_S`; used from one thread."""

    def __init__(self) -> None:
        self._passed_at = float("-inf")

    def passes(self, now: float) -> bool:
        """Whether an event at monotonic time `now` passes."""
        if now - self._passed_at < PREVIEW_EVERY_S:
            return False
        self._passed_at = now
        return True


class PreviewWatch:
    """How long somebody watches a camera, and which frames are kept meanwhile.

    Args:
        keep_all: keep every frame, whether somebody watches or not.
    """

    def __init__(self, *, keep_all: bool = False) -> None:
        self._keep_all = keep_all
        self._until = 0.0
        self._throttle = Throttle()

    def watch(self, until: float) -> None:
        """Keep pictures until this monotonic time."""
        self._until = until

    def is_watched(self, now: float) -> bool:
        """Whether somebody watches at monotonic time `now`."""
        return now <= self._until

    def is_due(self, now: float) -> bool:
        """Whether the frame at monotonic time `now` is kept; called once for each frame, from one thread."""
        return self._keep_all or (self.is_watched(now) and self._throttle.passes(now))

"""How long to wait before a retry: growing, bounded, and different for each camera."""

import random
from typing import Final

FIRST_S: Final = 0.3
LONGEST_S: Final = 4.0
"""A server that comes back is connected within this time and the time to open it: well under ten seconds."""
FACTOR: Final = 2.0


class Backoff:
    """Exponential backoff with up to 50 % jitter: cameras behind one switch must not all reconnect at one moment."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Return the seconds to wait now."""
        wait_s, self._next_s = self._next_s, min(self._longest_s, self._next_s * FACTOR)
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, guards no secret)

    def reset(self) -> None:
        """Start again with the first pause after a success."""
        self._next_s = self._first_s

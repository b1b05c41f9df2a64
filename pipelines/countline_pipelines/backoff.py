"""How long to wait before trying again: growing, bounded, and different for each camera."""

import random
from typing import Final

FIRST_S: Final = 0.3
LONGEST_S: Final = 4.0
"""A server that comes back is found again within this and the time of opening: well under ten seconds."""
FACTOR: Final = 2.0


class Backoff:
    """Exponential, with jitter of half its length: cameras behind one switch must not all return at one moment."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        wait_s, self._next_s = self._next_s, min(self._longest_s, self._next_s * FACTOR)
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, guards no secret)

    def reset(self) -> None:
        """All is well: begin anew next time."""
        self._next_s = self._first_s

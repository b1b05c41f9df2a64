"""Pauses between attempts that several parts of the data plane share."""

from typing import Final

from countline_common.resilience.retry import Backoff

RETRY_REFUSED_S: Final = 10.0
"""Longest pause before Triton is asked again for a model that it refused."""
RETRY_FAILED_S: Final = 30.0
"""Longest pause before a source is opened again that waiting does not cure."""


class SourcePauses:
    """The pauses of one camera before its source is opened again.

    A failure that waiting cures, such as a camera that restarts, is retried soon. Any other one, such as a wrong
    password, waits for a person, so the attempts are few.
    """

    def __init__(self) -> None:
        self._soon = Backoff()
        self._later = Backoff(RETRY_FAILED_S, RETRY_FAILED_S)

    def next_s(self, *, curable: bool) -> float:
        """Seconds to wait before the next attempt; `curable`: waiting may cure the failure."""
        return (self._soon if curable else self._later).next_s()

    def reset(self) -> None:
        """Begin with the shortest pause again, because the source gave pictures."""
        self._soon.reset()

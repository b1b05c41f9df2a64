"""Versions of a model that failed on a camera's frames, so that the camera does not try them again at once."""

import time
from typing import Final

from countline_common.errors import CountlineError
from countline_pipelines.planes.interface import fault_of

COOLDOWN_S: Final = 10.0
"""How long a version that failed on this camera is not tried again."""


class ModelFailures:
    """The last failure of each version on one camera."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[float, CountlineError]] = {}
        """By NAME@VERSION: the monotonic time and the reason."""

    def record(self, model: str, error: Exception) -> None:
        """A version failed just now."""
        if not isinstance(error, CountlineError):
            fault = fault_of(error)
            error = CountlineError(fault.message, hint=fault.hint)
        self._failures[model] = (time.monotonic(), error)

    def recent(self, model: str) -> CountlineError | None:
        """Why a version must not be tried again yet; None if it may be tried."""
        failed_at, error = self._failures.get(model, (float("-inf"), None))
        return error if time.monotonic() - failed_at < COOLDOWN_S else None

"""What a person should know about a source that is read all the same: a hole in a file, an assumed frame rate."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from countline_common.redaction import redact

MOST_NAMED: Final = 5
"""Spans of time that a warning names; it gives the number of the others."""


class WarningCode(StrEnum):
    """What a warning is about; the stable word in `CameraObservation.warnings`."""

    ASSUMED_RATE = "assumed_rate"
    HOLE = "hole"
    INTERRUPTED = "interrupted"
    NO_KEY_FRAME = "no_key_frame"
    OTHER_TRACK = "other_track"
    PICTURE_CHANGED = "picture_changed"
    TIMESTAMPS = "timestamps"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class SourceWarning:
    """One warning."""

    code: WarningCode
    message: str
    hint: str


class SourceWarnings:
    """The warnings that hold for a source now, one of each code; may be used from any thread.

    Args:
        on_new: called with a warning when none of its code was held.
    """

    def __init__(self, on_new: Callable[[SourceWarning], None] | None = None) -> None:
        self._on_new = on_new
        self._held: dict[WarningCode, SourceWarning] = {}
        self._lock = threading.Lock()

    def put(self, code: WarningCode, message: str, hint: str) -> None:
        """Hold a warning in place of an earlier one of this code."""
        warning = SourceWarning(code, redact(message), hint)
        with self._lock:
            is_new = code not in self._held
            self._held[code] = warning
        if is_new and self._on_new is not None:
            self._on_new(warning)

    def clear(self, code: WarningCode) -> None:
        """Drop the warning of this code, if there is one."""
        with self._lock:
            self._held.pop(code, None)

    def reopened(self) -> None:
        """Drop all warnings but that of a changed picture, because the source is opened again."""
        with self._lock:
            changed = self._held.get(WarningCode.PICTURE_CHANGED)
            self._held = {} if changed is None else {changed.code: changed}

    def all(self) -> tuple[SourceWarning, ...]:
        """Return the warnings that hold now, by code."""
        with self._lock:
            return tuple(self._held[code] for code in sorted(self._held))


def spans_in_words(spans: Sequence[tuple[float, float]]) -> str:
    """Return spans of time in seconds as words, such as `from 1.0 s to 2.5 s (1.5 s in all)`."""
    named = ", ".join(f"{begin:.1f} s to {end:.1f} s" for begin, end in spans[:MOST_NAMED])
    more = len(spans) - MOST_NAMED
    others = f" and {more} more" if more > 0 else ""
    return f"from {named}{others} ({sum(end - begin for begin, end in spans):.1f} s in all)"

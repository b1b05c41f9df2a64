"""Times without frames of `countline count`: those of a broken stream, and those of a silent Triton."""

import time
from itertools import pairwise
from typing import Final

from countline_common.errors import UnavailableError
from countline_common.redaction import redact
from countline_counting.coverage import CoverageTracker
from countline_pipelines.planes.health import MODEL_FAULT
from countline_pipelines.planes.interface import CameraCondition, CameraState
from countline_pipelines.sources.warnings import SourceWarning, WarningCode, spans_in_words

AWAY_S: Final = 60.0
"""How long a Triton may be away during a count."""
AWAY_CODES: Final = {"deadline_exceeded", "unavailable"}
"""Codes of the faults of a Triton that does not answer."""
_BROKEN: Final = {CameraState.OFFLINE, CameraState.FAILED}


class Interruptions:
    """Times in which a stream gave no frames: how many, how long, and whether the present one lasts too long.

    Args:
        limit_s: a broken stream without frames for this long is given up.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._frames = 0
        self._last_at = time.monotonic()
        self._ended_s = 0.0
        self._present_s = 0.0
        self.number = 0

    @property
    def present_s(self) -> float:
        """Seconds of the present interruption; 0 if frames come."""
        return self._present_s

    @property
    def total_s(self) -> float:
        """Seconds without frames, the present interruption included."""
        return self._ended_s + self._present_s

    def look(self, frames: int, condition: CameraCondition | None) -> bool:
        """Look at the number of frames until now. Return whether to give the stream up."""
        gap_s = time.monotonic() - self._last_at
        if frames != self._frames:
            self._ended_s += gap_s if self._present_s else 0.0
            self._frames, self._last_at, self._present_s = frames, time.monotonic(), 0.0
            return False
        fault = condition.fault if condition is not None and condition.state in _BROKEN else None
        if fault is None or fault.code in {*AWAY_CODES, MODEL_FAULT}:
            return False
        self.number += not self._present_s
        self._present_s = gap_s
        return gap_s > self._limit_s


class Absences:
    """Times in which no frame of a stream was counted, whatever the cause, by the rule of coverage.

    Args:
        period_s: expected time between processed frames.
    """

    def __init__(self, period_s: float) -> None:
        self._coverage = CoverageTracker(period_s)

    def frame_counted(self, t: float) -> None:
        """Note the capture time of a frame."""
        self._coverage.add(t)

    def warning(self, label: str, away_s: float) -> SourceWarning | None:
        """Return the warning that names these times, in seconds from the first frame; None if there is none.

        Call it once, at the end of the count.

        Args:
            label: the source without its credentials.
            away_s: how long the stream is away since the last frame; 0 if it is not away.
        """
        spans = self._coverage.cut()
        if not spans:
            return None
        first_s, last_s = spans[0].start, spans[-1].end
        times = [(before.end - first_s, after.start - first_s) for before, after in pairwise(spans)]
        times += [(last_s - first_s, last_s - first_s + away_s)] if away_s else []
        if not times:
            return None
        message = redact(f"{label}: no frame was counted {spans_in_words(times)}")
        hint = "what passed the camera in that time is not counted; check the camera, the network and Triton"
        return SourceWarning(WarningCode.INTERRUPTED, message, hint)


class TritonSilence:
    """Ends a count whose Triton no longer answers."""

    def __init__(self) -> None:
        self._frames = 0
        self._since = time.monotonic()

    def look(self, frames: int, condition: CameraCondition | None) -> None:
        """Look at the number of frames until now.

        Raises:
            UnavailableError: no frame came for `AWAY_S`, and Triton is the cause.
        """
        if frames != self._frames:
            self._frames, self._since = frames, time.monotonic()
        fault = condition.fault if condition is not None else None
        if fault is not None and fault.code in AWAY_CODES and time.monotonic() - self._since > AWAY_S:
            raise UnavailableError(fault.message, hint=fault.hint)

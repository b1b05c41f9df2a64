"""The settings of the tracker; the defaults hold for every camera."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How detections become tracks. Lengths are in box heights, times in seconds."""

"""The settings of the tracker; the defaults hold for every camera."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How detections become tracks. Lengths are in heights of the box, times in seconds."""

    high_score: float = 0.4
    """Detections from this score on may begin tracks, and choose theirs first."""
    low_score: float = 0.1
    """Detections below this score are not used; those between may only continue tracks."""
    memory_s: float = 2.0
    """How long a track that is not seen is looked for."""
    first_memory_s: float = 0.5
    """The same for a track that was seen only once."""
    position_noise: float = 0.05
    """Standard deviation of a detected centre."""
    size_noise: float = 0.08
    """Standard deviation of a detected width or height."""
    acceleration: float = 1.0
    """How much the velocity wanders within a second, in heights per second."""
    growth: float = 0.15
    """The same for the rate at which width and height change."""
    first_speed: float = 1.0
    """Standard deviation of the velocity of an object that was seen once, in heights per second."""
    first_growth: float = 0.1
    """The same for the rate at which its width and height change."""
    min_overlap: float = 0.2
    """Least intersection over union of a detection with the predicted box."""
    low_min_overlap: float = 0.4
    """The same for detections of low score."""
    low_score_unseen_s: float = 0.3
    """How long a track may be unseen to be continued by a detection of low score."""
    gate: float = 4.0
    """Largest distance of a detection from the prediction, in standard deviations."""
    size_gate: float = 0.5
    """Largest difference of heights, as a natural logarithm."""

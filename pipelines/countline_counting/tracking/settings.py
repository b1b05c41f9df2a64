"""The settings of the tracker; the defaults hold for every camera."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How detections become tracks.

    Lengths are in *lengths* of the object: the longer side of its box. Times are in seconds.
    """

    high_score: float = 0.4
    """Detections from this score on choose their tracks first, and may begin a track anywhere."""
    lone_score: float = 0.25
    """Detections from this score on may begin a track where no tracked object is."""
    low_score: float = 0.1
    """Detections below this score are not used; those from it on may continue tracks."""
    lone_overlap: float = 0.1
    """A detection is alone when it overlaps no tracked one more than this (intersection over union)."""
    memory_s: float = 3.0
    """How long a track that is not seen is looked for; as long as an id that is unseen is the same object."""
    first_memory_s: float = 0.5
    """The same for a track that was seen only once."""
    low_score_unseen_s: float = 0.3
    """How long a track may be unseen to be continued by a detection of low score."""
    position_noise: float = 0.08
    """Standard deviation of a detected centre, at a score of `usual_score`."""
    size_noise: float = 0.08
    """The same for a detected width or height."""
    usual_score: float = 0.6
    """A detection of lower score is trusted less: its variance grows with the square of how much lower."""
    crowd_doubt: float = 3.0
    """How much the variance grows where another track is expected in the same place, as a share for full overlap."""
    acceleration: float = 0.35
    """How much the velocity wanders within a second, in lengths per second."""
    growth: float = 0.15
    """The same for the rate at which width and height change."""
    first_speed: float = 1.5
    """Standard deviation of the velocity of an object that was seen once, in lengths per second."""
    first_growth: float = 0.1
    """The same for the rate at which its width and height change."""
    min_overlap: float = 0.2
    """Least intersection over union of a detection with the predicted box."""
    low_min_overlap: float = 0.25
    """The same for detections of low score."""
    gate: float = 4.0
    """Largest distance of a detection from the prediction, in standard deviations."""
    size_gate: float = 0.5
    """Largest difference of heights, as a natural logarithm."""
    reach: float = 1.0
    """How far from its prediction a track may be found again where it overlaps nothing."""
    reach_gate: float = 3.0
    """The same in standard deviations ..."""
    reach_growth: float = 0.2
    """... and how much its height may differ then, as a natural logarithm."""
    leap: float = 2.5
    """How far an object may have moved between its first two frames, when there is no other that it could be."""
    leap_size: float = 0.25
    """How much its size may have changed meanwhile, as a natural logarithm."""
    smoothing: float = 0.5
    """Share of the filtered box, against the detected one, in the box of a track."""

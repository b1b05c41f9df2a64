"""The settings of the tracker; the defaults hold for every camera."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """How detections become tracks.

    Lengths are in *lengths* of the object: the longer side of its box. Times are in seconds.
    """

    high_score: float = 0.4
    """Detections from this score on are matched first, and may begin a track anywhere."""
    lone_score: float = 0.25
    """Detections from this score on may begin a track where there is no tracked object."""
    low_score: float = 0.1
    """Detections from this score on may continue tracks; those below it are not used."""
    lone_overlap: float = 0.1
    """A detection of low score may begin a track if it overlaps every tracked object less than this (intersection over
    union)."""
    memory_s: float = 3.0
    """How long an unseen track may be continued; as long as an unseen id is the same object."""
    first_memory_s: float = 0.5
    """The same for a track that was seen only once."""
    low_score_unseen_s: float = 0.3
    """Longest time unseen after which any detection of low score may continue a track. Later, but within `PREDICTED_S`,
    one may ..."""
    own_score: float = 0.7
    """... whose score is at least this share of the mean score of the track."""
    position_noise: float = 0.08
    """Standard deviation of a detected centre, at a score of `usual_score`."""
    size_noise: float = 0.16
    """The same for a detected width or height: twice that of the centre. The errors of two opposite edges are
    independent, the centre is half their sum, and the size is their difference."""
    usual_score: float = 0.6
    """The variance of a detection of lower score grows with the square of the ratio of this score to its own."""
    crowd_doubt: float = 3.0
    """Growth of the variance, as a share, where another track is expected in exactly the same place."""
    acceleration: float = 0.35
    """Standard deviation that the velocity gains in a second, in lengths per second."""
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
    """Largest distance from its prediction at which a track is found again without an overlap, in lengths ..."""
    reach_gate: float = 3.0
    """... and in standard deviations ..."""
    reach_growth: float = 0.2
    """... with at most this difference of heights, as a natural logarithm."""
    leap: float = 2.5
    """Largest distance between the first two sights of an object, in lengths, if there is only one choice."""
    leap_size: float = 0.25
    """Largest change of its size between them, as a natural logarithm."""

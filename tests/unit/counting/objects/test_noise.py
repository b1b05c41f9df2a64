"""Noise of boxes, measured while they are tracked: a track survives it, and usual noise changes nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray

from countline_counting.tracking import Tracker, TrackerSettings
from countline_counting.tracking.noise import LARGEST_RATIO, LEAST_RATIO, MeasuredNoise

FPS = 25.0
WALKS = [
    pytest.param((40, 80), (0.0, 0.0), id="stands"),
    pytest.param((20, 50), (0.3, 0.1), id="far away"),
    pytest.param((160, 400), (-0.1, 0.3), id="near, other direction"),
    pytest.param((150, 80), (0.5, 0.0), id="a vehicle"),
]
Floats = NDArray[np.float64]


def tracked(
    size: tuple[int, int], speed: tuple[float, float], noise: float, seed: int
) -> tuple[set[int], list[Floats]]:
    """Ids and boxes of one object for 30 s; `noise` is a share of its size, `speed` in heights a second."""
    rng, tracker = np.random.default_rng(seed), Tracker(TrackerSettings())
    wide, high = size
    ids, boxes = set[int](), list[Floats]()
    for i in range(int(30 * FPS)):
        off = rng.normal(0, noise, 4) * [wide, high, wide, high]
        x, y = 300 + speed[0] * high * i / FPS + off[0], 300 + speed[1] * high * i / FPS + off[1]
        row = [x, y, x + max(2, wide + off[2]), y + max(2, high + off[3]), 0.9, 0]
        found = tracker.update(np.array([row], dtype=np.float64), i / FPS)
        ids |= set(found[0].tolist())
        boxes.append(found[1])
    return ids, boxes


@pytest.mark.parametrize(("size", "speed"), WALKS)
def test_a_track_seldom_breaks_at_a_noise_of_a_tenth(size: tuple[int, int], speed: tuple[float, float]) -> None:
    """With the assumed noise alone, the three runs had 12 to 15 tracks, because gates refused boxes."""
    assert sum(len(tracked(size, speed, 0.1, seed)[0]) for seed in range(3)) <= 8


@pytest.mark.parametrize(("size", "speed"), WALKS)
def test_usual_noise_changes_no_box(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], speed: tuple[float, float]
) -> None:
    _, measured = tracked(size, speed, 0.03, 0)
    monkeypatch.setattr(MeasuredNoise, "take", lambda *_: None)
    _, assumed = tracked(size, speed, 0.03, 0)
    assert all(np.array_equal(one, other) for one, other in zip(measured, assumed, strict=True))


def measure(true_ratio: float, doubt: float = 1.0, frames: int = 400) -> float:
    rng, noise = np.random.default_rng(1), MeasuredNoise()
    for _ in range(frames):
        expected = np.full((3, 4), max(1.0, noise.ratio))
        noise.take(rng.normal(0, true_ratio, (3, 4)), expected, np.full(3, doubt))
    return noise.ratio


@pytest.mark.parametrize("true_ratio", [1.5, 2.0, 2.5])
def test_the_ratio_follows_the_noise(true_ratio: float) -> None:
    assert measure(true_ratio) == pytest.approx(true_ratio, rel=0.35)


def test_the_ratio_stays_within_its_limits() -> None:
    assert measure(100.0) == pytest.approx(LARGEST_RATIO)
    assert measure(0.1) == pytest.approx(LEAST_RATIO)


def test_boxes_whose_noise_is_expected_are_not_measured() -> None:
    assert measure(100.0, doubt=4.0) == LEAST_RATIO

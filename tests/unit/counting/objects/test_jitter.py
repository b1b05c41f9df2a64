"""The jitter of boxes is measured on each object's own path."""

import numpy as np
import pytest

from countline_counting.objects.jitter import LEAST_SAMPLES, JitterMeter

HEIGHT = 100.0


def measured(xy: np.ndarray, fps: float, meter: JitterMeter | None = None) -> np.ndarray:
    """Feed the path of one object, (N, 2) in heights; return (N, 2) the jitter known at each sight."""
    meter = meter or JitterMeter()
    rows, height = np.array([3]), np.array([HEIGHT])
    return np.array([meter.take(rows, np.array([i / fps]), at[None] * HEIGHT, height)[0] for i, at in enumerate(xy)])


def walk(fps: float, seconds: float = 20.0) -> np.ndarray:
    """A walk that stops, starts and turns every two seconds."""
    t = np.arange(0, seconds, 1 / fps)
    return np.column_stack([np.interp(t, np.arange(0, 21, 2), [0, 1, 1, 2, 1, 1, 0, 2, 2, 3, 4]), 0.6 * t])


@pytest.mark.parametrize("fps", [5, 12.5, 30, 60])
@pytest.mark.parametrize("noise", [0.03, 0.14])
def test_noise_is_measured_whatever_the_motion_and_the_frame_rate(fps, noise):
    path = walk(fps)
    jitter = measured(path + np.random.default_rng(1).normal(0, noise, path.shape), fps)[-1]
    assert jitter == pytest.approx([noise, noise], rel=0.4)


@pytest.mark.parametrize("fps", [5, 30])
def test_motion_without_noise_is_no_jitter(fps):
    t = np.arange(0, 10, 1 / fps)
    braking = np.column_stack([t - 0.05 * t**2, np.sin(t)])
    assert measured(braking, fps).max() < 0.03
    assert measured(walk(fps), fps).max() < 0.01


def test_a_jump_changes_little():
    path = walk(10)
    path[70] += 5
    assert measured(path, 10).max() < 0.02


def test_the_jitter_of_a_new_object_is_unknown_and_an_object_is_forgotten():
    meter, noisy = JitterMeter(), np.random.default_rng(2).normal(0, 0.1, (40, 2))
    assert (measured(noisy, 10, meter)[: LEAST_SAMPLES + 1] == 0).all()
    meter.forget(3)
    assert (measured(noisy, 10, meter)[: LEAST_SAMPLES + 1] == 0).all()

"""The effect of quantising: speed, and agreement of detections."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime as ort

from countline_counting.geometry.boxes import intersection_over_union
from countline_models.contract import Detections, open_session, run_contract
from countline_models.quantize.frames import Frames

SAME_IOU: Final = 0.5
ROUNDS: Final = 11
ROUND_S: Final = 0.2
"""Each model runs for about this long in a round."""


@dataclass(frozen=True, slots=True)
class SpeedGain:
    """Times of both models, measured in turns, frame by frame: CPU time of the thread that runs them.

    Wall time would include a varying share of other programs.
    """

    float_ms: float
    """Median over the rounds, for one frame."""
    int8_ms: float
    gains: tuple[float, ...]
    """Speed of eight bits divided by that of float in each round, ascending."""
    noise: tuple[float, ...]
    """Ratios of the float model to itself, ascending. They measure this machine's noise."""

    @property
    def gain(self) -> float:
        """The median of `gains`."""
        return statistics.median(self.gains)

    @property
    def is_faster(self) -> bool:
        """Whether three of four rounds gain more than the largest noise."""
        return self.gains[len(self.gains) // 4] > max(*self.noise, *(1 / ratio for ratio in self.noise))


@dataclass(frozen=True, slots=True)
class DetectionAgreement:
    """Detections of both models on the same frames, at the model's own score threshold."""

    frames: int
    in_float: int
    in_int8: int
    matched: int
    """Pairs of one class with IoU 0.5 or more."""

    @property
    def recall(self) -> float:
        """Share of the float detections that eight bits find too; without any, 1 if eight bits find none either."""
        return self.matched / self.in_float if self.in_float else float(not self.in_int8)

    @property
    def precision(self) -> float:
        """Share of the detections in eight bits that the float model has too; without any, 1 if it has none either."""
        return self.matched / self.in_int8 if self.in_int8 else float(not self.in_float)


def measure_speed(float_model: bytes, int8_model: bytes, frames: Frames, on_round: Callable[[], None]) -> SpeedGain:
    """Time both models in turns: float, eight bits, float again, round after round."""
    first, second = open_session(float_model), open_session(int8_model)
    repeats = max(1, round(ROUND_S / max(_seconds(first, frames[:1], 2), 1e-6)))
    _seconds(second, frames, repeats)
    times: list[tuple[float, float, float]] = []
    for _ in range(ROUNDS):
        times.append(
            (_seconds(first, frames, repeats), _seconds(second, frames, repeats), _seconds(first, frames, repeats))
        )
        on_round()
    return SpeedGain(
        float_ms=1000 * statistics.median((before + after) / 2 for before, _, after in times),
        int8_ms=1000 * statistics.median(middle for _, middle, _ in times),
        gains=tuple(sorted((before + after) / 2 / middle for before, middle, after in times)),
        noise=tuple(sorted(before / after for before, _, after in times)),
    )


def _seconds(session: ort.InferenceSession, frames: Frames, repeats: int) -> float:
    """CPU seconds of this thread for one frame, with the frames in turn; ONNX Runtime uses no other thread here."""
    began_s = time.thread_time()
    for index in range(repeats):
        run_contract(session, frames[index % len(frames)][None])
    return (time.thread_time() - began_s) / repeats


def compare(
    float_model: bytes, int8_model: bytes, frames: Frames, threshold: float, on_frame: Callable[[], None]
) -> DetectionAgreement:
    """Run both models on the same frames and match their detections."""
    first, second = open_session(float_model), open_session(int8_model)
    in_float = in_int8 = matched = 0
    for frame in frames:
        wanted, found = (_believed(run_contract(session, frame[None])[0], threshold) for session in (first, second))
        in_float, in_int8 = in_float + len(wanted), in_int8 + len(found)
        matched += matches(wanted, found)
        on_frame()
    return DetectionAgreement(len(frames), in_float, in_int8, matched)


def _believed(detections: Detections, threshold: float) -> Detections:
    return detections[(detections[:, 4] >= threshold) & (detections[:, 4] > 0)]


def matches(wanted: Detections, found: Detections) -> int:
    """Number of detections (N, 6) with a partner of their class among others (M, 6); higher scores choose first."""
    same_class = found[:, None, 5] == wanted[None, :, 5]
    overlap = intersection_over_union(found[:, None, :4], wanted[None, :, :4]) * same_class
    free = np.ones(len(wanted), dtype=bool)
    for row in np.argsort(-found[:, 4], kind="stable").tolist():
        candidates = np.where(free, overlap[row], 0.0)
        if candidates.max(initial=0.0) >= SAME_IOU:
            free[candidates.argmax()] = False
    return int((~free).sum())

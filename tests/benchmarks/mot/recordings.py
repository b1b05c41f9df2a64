"""The sequences that benchmarks measure on: MOTChallenge folders with truth, detections and seqinfo.ini.

None belongs to the repository. The user names folders as arguments or in `COUNTLINE_SEQUENCES`; without both, the
benchmarks look in the shared data beside the checkout.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from countline_pipelines.evaluation.mot import (
    SCORE_CEILING,
    SCORE_FLOOR,
    Boxes,
    Floats,
    MotTruth,
    read_detections,
    read_truth,
)
from countline_pipelines.evaluation.run import SequenceInfo
from countline_pipelines.evaluation.seqinfo import read_seqinfo

VARIABLE = "COUNTLINE_SEQUENCES"
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
DECIMALS = 4
"""Of boxes and scores, as if `countline replay` read them from a file: ties in the last digits can change a track."""
NONE_FOUND = f"skipped: no sequences; hint: name a folder of MOT sequences as an argument or in {VARIABLE}"


@dataclass(frozen=True)
class Recording:
    """One sequence of the benchmark."""

    name: str
    truth: MotTruth
    detections: Boxes
    sequence: SequenceInfo

    def with_noise(self, share: float, seed: int = 0) -> "Recording":
        """Return the sequence with boxes whose place and size are shaken by a share of their size."""
        xyxy = self.detections.xyxy
        low, size = xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]
        noise = np.random.default_rng(seed).normal(0, share, (len(xyxy), 4)) * np.hstack([size, size])
        return replace(self, detections=_boxes(self.detections, low + noise[:, :2], np.maximum(size + noise[:, 2:], 2)))


def recordings(folders: Sequence[Path] = ()) -> list[Recording]:
    """Read every sequence below the folders, in the order of their names; empty if there is none."""
    named = list(folders) or [Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    return sorted(_below(named or [SHARED]), key=lambda each: each.name)


def _below(folders: Sequence[Path]) -> Iterator[Recording]:
    for folder in folders:
        for path in sorted(folder.rglob("seqinfo.ini")):
            truth, detections = path.parent / "gt.txt", path.parent / "det.txt"
            if truth.is_file() and detections.is_file():
                found = stretched(read_detections(detections))
                yield Recording(path.parent.name, read_truth(truth), found, read_seqinfo(path))


def stretched(detections: Boxes) -> Boxes:
    """Return the detections with scores from `SCORE_FLOOR` to `SCORE_CEILING`: public detectors use any scale."""
    score, xyxy = detections.score, detections.xyxy
    share = score
    if (score.min(), score.max()) != (SCORE_FLOOR, SCORE_CEILING):  # else the reader has stretched them
        share = np.clip((score - score.min()) / (np.ptp(score) + 1e-9), SCORE_FLOOR, SCORE_CEILING)
    return _boxes(replace(detections, score=share.round(DECIMALS)), xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2])


def _boxes(detections: Boxes, low: Floats, size: Floats) -> Boxes:
    low, size = low.round(DECIMALS), size.round(DECIMALS)
    return replace(detections, xyxy=np.hstack([low, low + size]))

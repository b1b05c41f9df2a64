"""Association of boxes over the frames of one stream, with those rules of nvtracker that affect counts."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from tests.doubles.deepstream.parser_library import iou

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Settings:
    """Keys of the tracker's YAML that decide which objects are reported; defaults of NVIDIA's IOU sample."""

    minDetectorConfidence: float = 0.0  # noqa: N815  # names are those of the file
    maxTargetsPerStream: int = 150  # noqa: N815
    probationAge: int = 4  # noqa: N815
    maxShadowTrackingAge: int = 38  # noqa: N815
    earlyTerminationAge: int = 1  # noqa: N815
    minIouDiff4NewTarget: float = 0.5  # noqa: N815
    checkClassMatch: bool = True  # noqa: N815
    minMatchingScore4Iou: float = 0.0  # noqa: N815
    useUniqueID: bool = False  # noqa: N815
    minTrackerConfidence: float = 0.6  # noqa: N815
    predicts: bool = False
    """Whether a state estimator moves the box of an unseen target."""
    confident: bool = False
    """Whether tracker_confidence is set, as by NvDCF."""

    @classmethod
    def of(cls, sections: dict[str, dict[str, Any]]) -> "Settings":
        """From the sections of a checked file."""
        merged = {key: value for section in sections.values() for key, value in section.items()}
        known = {name: merged[name] for name in cls.__dataclass_fields__ if name in merged}
        for name in ("checkClassMatch", "useUniqueID"):
            if name in known:
                known[name] = bool(known[name])
        estimator = sections.get("StateEstimator", {}).get("stateEstimatorType", 0)
        visual = sections.get("VisualTracker", {}).get("visualTrackerType", 0)
        return cls(**known, predicts=estimator > 0, confident=visual > 0)


@dataclass
class Target:
    """One tracked object."""

    object_id: int
    class_id: int
    box: Box
    """Its position, measured or predicted."""
    seen_box: Box
    """Its last measured position."""
    detection: int
    """Index of its last detection."""
    age: int = 0
    """Frames since it was first seen."""
    unseen: int = 0
    reported: bool = False
    velocity: tuple[float, float] = (0.0, 0.0)
    past: list[tuple[int, Box, float, int]] = field(default_factory=list)
    """Frame number, box, score and age of the frames before it was reported."""


@dataclass(frozen=True)
class Report:
    """One object of a frame after tracking."""

    target: Target
    detection: int | None
    """Index of its detection; None if the tracker predicted the position."""
    confidence: float
    box: Box


class Stream:
    """The targets of one source."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._settings = settings
        self._targets: list[Target] = []
        self._next = 0
        self._upper = random.Random(seed).getrandbits(32) << 32 if settings.useUniqueID else 0

    def update(self, frame_num: int, boxes: list[Box], classes: list[int], scores: list[float]) -> list[Report]:
        """Update every target with a frame.

        Returns:
            The reported targets: those that were seen and whose probation is over.
        """
        usable = [index for index, score in enumerate(scores) if score >= self._settings.minDetectorConfidence]
        for target in self._targets:
            target.age += 1
            target.unseen += 1
            if self._settings.predicts:
                target.box = _moved(target.box, target.velocity)
        taken = self._associate(usable, boxes, classes)
        for target, index in taken.items():
            _see(self._targets[target], boxes[index], index)
        self._start_new(usable, set(taken.values()), boxes, classes)
        self._forget()
        return list(self._reports(frame_num, scores))

    def reset(self, *, ids: bool) -> None:
        """Forget the targets; with `ids`, ids start again at 0."""
        self._targets.clear()
        if ids:
            self._next = 0

    def _associate(self, usable: list[int], boxes: list[Box], classes: list[int]) -> dict[int, int]:
        """Target index to detection index, with the largest sum of overlaps."""
        if not (self._targets and usable):
            return {}
        score = np.array([[self._score(target, boxes[i], classes[i]) for i in usable] for target in self._targets])
        rows, columns = linear_sum_assignment(-score)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        least = self._settings.minMatchingScore4Iou
        return {row: usable[column] for row, column in pairs if score[row, column] > least}

    def _score(self, target: Target, box: Box, class_id: int) -> float:
        if self._settings.checkClassMatch and target.class_id != class_id:
            return 0.0
        return iou(target.box, box)

    def _start_new(self, usable: list[int], taken: set[int], boxes: list[Box], classes: list[int]) -> None:
        for index in usable:
            if index in taken or len(self._targets) >= self._settings.maxTargetsPerStream:
                continue
            overlap = max((iou(target.box, boxes[index]) for target in self._targets if not target.unseen), default=0.0)
            if overlap <= self._settings.minIouDiff4NewTarget:
                self._targets.append(
                    Target(self._upper | self._next, classes[index], boxes[index], boxes[index], index)
                )
                self._next += 1

    def _forget(self) -> None:
        settings = self._settings
        self._targets = [
            target
            for target in self._targets
            if target.unseen
            <= (settings.maxShadowTrackingAge if _is_sure(target, settings) else settings.earlyTerminationAge - 1)
        ]

    def _reports(self, frame_num: int, scores: list[float]) -> Iterable[Report]:
        for target in self._targets:
            confidence = _confidence(target, self._settings)
            if target.unseen and not (target.reported and confidence >= self._settings.minTrackerConfidence):
                continue
            index = None if target.unseen else target.detection
            if not _is_sure(target, self._settings):
                target.past.append((frame_num, target.box, scores[target.detection], target.age))
                continue
            yield Report(target, index, confidence, target.box)
            target.reported = True


def _is_sure(target: Target, settings: Settings) -> bool:
    """Whether the probation is over."""
    return target.reported or target.age >= settings.probationAge


def _see(target: Target, box: Box, detection: int) -> None:
    steps = max(1, target.unseen)
    target.velocity = ((box[0] - target.seen_box[0]) / steps, (box[1] - target.seen_box[1]) / steps)
    target.box = target.seen_box = box
    target.unseen, target.detection = 0, detection


def _moved(box: Box, velocity: tuple[float, float]) -> Box:
    return box[0] + velocity[0], box[1] + velocity[1], box[2], box[3]


def _confidence(target: Target, settings: Settings) -> float:
    """NvDCF reports a confidence that falls with every unseen frame; the other trackers leave -0.1."""
    return 0.5**target.unseen if settings.confident else -0.1

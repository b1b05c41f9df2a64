"""nvtracker's configuration, such that no object is delayed, dropped or told as another; pure.

NVIDIA's presets are made for pictures that look calm: an object is shown after some frames of probation, and forgotten
when it is hidden for a second or two. Counting wants the opposite. `probationAge` is 0, so a track is told from its
first frame and an object that crosses in three frames crosses; who is seen once counts nothing anyway, a line asks for
sights on both sides. `maxShadowTrackingAge` is the 3 s after which an unseen id is a new object, in frames of the
fastest camera: longer than that for slower ones, where counting itself ends the object after 3 s.

What a track was while it was hidden (*past frames*, shadow tracks) is not asked for: it comes late, as a guess, for
frames that were counted already; counting joins the sights before and after by itself.

A detection below the model's threshold continues tracks and begins none, as in our own tracker.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import yaml

from countline_common.errors import InvalidInputError
from countline_counting.rules import OBJECT_UNSEEN_S
from countline_counting.tracking import TrackerSettings

HEADER: Final = "%YAML:1.0\n"
"""OpenCV's, which reads the file; a YAML parser of today refuses it."""
MOST_TARGETS: Final = 150
"""Objects of one camera at the same time; memory of the GPU is taken for all of them at start."""
Section = dict[str, Any]


class TrackerKind(StrEnum):
    """Which of the library's trackers."""

    NVDCF = "nvdcf"
    """Overlap, and a correlation filter on the picture: survives occlusion; costs GPU time."""
    NVSORT = "nvsort"
    """Overlap and a Kalman filter."""
    IOU = "iou"
    """Overlap alone."""


_ASSOCIATION: Final = frozenset(
    {
        "dataAssociatorType", "associationMatcherType", "checkClassMatch", "usePrediction4Assoc",
        "minMatchingScore4Overall", "minMatchingScore4SizeSimilarity", "minMatchingScore4Iou",
        "minMatchingScore4VisualSimilarity", "matchingScoreWeight4Iou", "matchingScoreWeight4SizeSimilarity",
        "matchingScoreWeight4VisualSimilarity", "tentativeDetectorConfidence", "minMatchingScore4TentativeIou",
        "thresholdMahalanobis",
    }
)  # fmt: skip
KEYS: Final[Mapping[str, frozenset[str]]] = {
    "BaseConfig": frozenset({"minDetectorConfidence"}),
    "TargetManagement": frozenset(
        {
            "maxTargetsPerStream", "preserveStreamUpdateOrder", "enableBboxUnClipping", "minIouDiff4NewTarget",
            "minTrackerConfidence", "probationAge", "maxShadowTrackingAge", "earlyTerminationAge",
            "searchRegionPaddingScale", "outputTerminatedTracks", "outputShadowTracks",
        }
    ),
    "TrajectoryManagement": frozenset({"useUniqueID", "enableReAssoc"}),
    "DataAssociator": _ASSOCIATION,
    "StateEstimator": frozenset(
        {
            "stateEstimatorType", "processNoiseVar4Loc", "processNoiseVar4Size", "processNoiseVar4Vel",
            "measurementNoiseVar4Detector", "measurementNoiseVar4Tracker", "noiseWeightVar4Loc",
            "noiseWeightVar4Vel", "useAspectRatio",
        }
    ),
    "VisualTracker": frozenset(
        {
            "visualTrackerType", "useColorNames", "useHog", "featureImgSizeLevel", "featureFocusOffsetFactor_y",
            "filterLr", "filterChannelWeightsLr", "gaussianSigma",
        }
    ),
}  # fmt: skip
"""Every key that this plane writes, as the library spells it."""


def tracker_config(kind: TrackerKind, score_threshold: float, frame_rate: float) -> str:
    """The text of the configuration.

    Args:
        kind: which tracker.
        score_threshold: the model's; detections below it begin no track.
        frame_rate: of the fastest camera, frames a second.
    """
    sections: dict[str, Section] = {
        "BaseConfig": {"minDetectorConfidence": TrackerSettings().low_score},
        "TargetManagement": _targets(kind, frame_rate),
        "TrajectoryManagement": {"useUniqueID": 0, "enableReAssoc": 0},
        "DataAssociator": _association(kind, score_threshold),
        "StateEstimator": _ESTIMATORS[kind],
    }
    if kind is TrackerKind.NVDCF:
        sections["VisualTracker"] = _VISUAL
    return HEADER + yaml.safe_dump(checked(sections), sort_keys=False)


def shadow_frames(frame_rate: float) -> int:
    """Frames for which a track that is not seen is kept."""
    return max(1, math.ceil(OBJECT_UNSEEN_S * frame_rate))


def _targets(kind: TrackerKind, frame_rate: float) -> Section:
    section: Section = {
        "maxTargetsPerStream": MOST_TARGETS,
        "preserveStreamUpdateOrder": 1,
        "enableBboxUnClipping": 0,
        "minIouDiff4NewTarget": 0.7,
        "minTrackerConfidence": 0.2,
        "probationAge": 0,
        "maxShadowTrackingAge": shadow_frames(frame_rate),
        # Of a track on probation alone, of which there is none; the library wants it to be below the age above.
        "earlyTerminationAge": 1,
        "outputTerminatedTracks": 0,
        "outputShadowTracks": 0,
    }
    return section | ({"searchRegionPaddingScale": 1} if kind is TrackerKind.NVDCF else {})


def _association(kind: TrackerKind, score_threshold: float) -> Section:
    section: Section = {
        "dataAssociatorType": 0,
        "associationMatcherType": 0 if kind is TrackerKind.IOU else 1,
        "checkClassMatch": 1,
        "minMatchingScore4Overall": 0.0,
        "minMatchingScore4SizeSimilarity": 0.3,
        "minMatchingScore4Iou": 0.05,
        "matchingScoreWeight4SizeSimilarity": 0.3,
        "matchingScoreWeight4Iou": 0.5,
    }
    if kind is not TrackerKind.IOU:
        section |= {
            "usePrediction4Assoc": 1,
            "tentativeDetectorConfidence": round(score_threshold, 4),
            "minMatchingScore4TentativeIou": 0.25,
        }
    if kind is TrackerKind.NVDCF:
        section |= {"minMatchingScore4VisualSimilarity": 0.5, "matchingScoreWeight4VisualSimilarity": 0.3}
    return section


_ESTIMATORS: Final[Mapping[TrackerKind, Section]] = {
    TrackerKind.IOU: {"stateEstimatorType": 0},
    TrackerKind.NVSORT: {
        "stateEstimatorType": 2,
        "noiseWeightVar4Loc": 0.05,
        "noiseWeightVar4Vel": 0.006,
        "useAspectRatio": 1,
    },
    TrackerKind.NVDCF: {
        "stateEstimatorType": 1,
        "processNoiseVar4Loc": 1.5,
        "processNoiseVar4Size": 1.3,
        "processNoiseVar4Vel": 0.03,
        "measurementNoiseVar4Detector": 3.0,
        "measurementNoiseVar4Tracker": 8.0,
    },
}

_VISUAL: Final[Section] = {
    "visualTrackerType": 1,
    "useColorNames": 1,
    "useHog": 0,
    "featureImgSizeLevel": 2,
    # Up from the feet: legs change their look with every step.
    "featureFocusOffsetFactor_y": -0.2,
    "filterLr": 0.075,
    "filterChannelWeightsLr": 0.1,
    "gaussianSigma": 0.75,
}


def checked(sections: Mapping[str, Section]) -> dict[str, Section]:
    """These sections, if the library knows every key of them: it passes over one that it does not know.

    Raises:
        InvalidInputError: it does not.
    """
    for name, section in sections.items():
        unknown = section.keys() - KEYS.get(name, frozenset())
        if unknown:
            raise InvalidInputError(
                f"nvtracker has no {name}.{', '.join(sorted(unknown))}", hint="see deepstream/tracker.py"
            )
    return dict(sections)


def read(text: str) -> dict[str, Section]:
    """The sections of a configuration.

    Raises:
        InvalidInputError: it lacks its first line, or has a key that the library does not know.
    """
    if not text.startswith(HEADER):
        raise InvalidInputError("nvtracker's configuration must begin with %YAML:1.0", hint="write it so")
    return checked(yaml.safe_load(text.removeprefix(HEADER)))

"""nvtracker's configuration; pure. It neither delays nor drops objects.

NVIDIA's presets are tuned for calm pictures: an object appears after some frames of probation, and is forgotten when
it is hidden for a second or two. Counting needs the opposite. `probationAge` is 0, so a track is reported from its
first frame, and an object that passes a line in three frames crosses it. A false detection of one frame counts nothing
anyway, because a line needs sights on both sides. `maxShadowTrackingAge` is the 3 s after which an unseen id is a new
object, in frames of the fastest camera. That is longer for slower cameras, where counting itself ends the object after
3 s.

Past frames and shadow tracks (guesses about a hidden object) are off: they arrive late, for frames that were already
counted, and counting joins the sights before and after by itself.

A detection below the model's threshold continues a track and starts none, as in our own tracker.
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
"""First line of the file: OpenCV, which reads it, wants this directive; YAML parsers refuse it."""
MOST_TARGETS: Final = 150
"""Objects of one camera at the same time; the library reserves GPU memory for all of them at start."""
Section = dict[str, Any]


class TrackerKind(StrEnum):
    """A tracker of the library."""

    NVDCF = "nvdcf"
    """Overlap, and a correlation filter on the picture: keeps ids through occlusion, costs GPU time."""
    NVSORT = "nvsort"
    """Overlap and a Kalman filter."""
    IOU = "iou"
    """Only overlap."""


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
        kind: the tracker.
        score_threshold: of the model; detections below it start no track.
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
    """Frames for which an unseen track is kept."""
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
        # Applies to tracks on probation only, and there are none; the library wants it below the age above.
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
    # Upwards from the feet: legs change their appearance with every step.
    "featureFocusOffsetFactor_y": -0.2,
    "filterLr": 0.075,
    "filterChannelWeightsLr": 0.1,
    "gaussianSigma": 0.75,
}


def checked(sections: Mapping[str, Section]) -> dict[str, Section]:
    """These sections, if the library knows all their keys; it ignores unknown keys silently.

    Raises:
        InvalidInputError: the library does not know a key.
    """
    for name, section in sections.items():
        unknown = section.keys() - KEYS.get(name, frozenset())
        if unknown:
            raise InvalidInputError(
                f"nvtracker has no {name}.{', '.join(sorted(unknown))}",
                hint="remove these keys, or correct their names",
            )
    return dict(sections)


def read(text: str) -> dict[str, Section]:
    """The sections of a configuration.

    Raises:
        InvalidInputError: the text lacks its first line, or has a key that the library does not know.
    """
    if not text.startswith(HEADER):
        raise InvalidInputError("nvtracker's configuration must begin with %YAML:1.0", hint="add this line")
    return checked(yaml.safe_load(text.removeprefix(HEADER)))

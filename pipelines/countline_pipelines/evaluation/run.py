"""The run to evaluate: detections that this product tracks and counts, or given tracks that it counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Event
from countline_counting.explain import Candidate, Explainer, Journal
from countline_counting.frames import DetectionFrame, TrackedFrame
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec
from countline_counting.tracking.scale import UNCHANGED, scale_of_recording
from countline_pipelines.evaluation.mot import Boxes

CAMERA_ID = "evaluate"


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """Size, rate and length of a sequence."""

    size_wh: tuple[int, int]
    """In pixels."""
    fps: float
    frames: int
    """Number of pictures."""

    def t(self, frame: int) -> float:
        """Return the time of a frame, numbered from 1, in seconds from the first."""
        return (frame - 1) / self.fps


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """The tracks, as they were reported frame by frame, and the crossings."""

    tracked: Boxes
    crossings: tuple[Crossing, ...]
    candidates: tuple[Candidate, ...] = ()
    """Everything near a line, with its outcome; empty if the run was not explained."""


def run_detections(
    detections: Boxes,
    sequence: SequenceInfo,
    spec: CountingSpec,
    each: Callable[[], object] = lambda: None,
    *,
    explain: bool = False,
    keep_scores: bool = False,
) -> EvaluatedRun:
    """Track and count detections with the code that counts live; `each` is called after every frame.

    Scores are brought to the common scale first, unless they are to be kept.
    """
    journal = Journal()
    listener = Explainer(journal) if explain else None
    counter = CameraCounter(Identity(CAMERA_ID, 0, "run"), spec, listener=listener)
    scale = UNCHANGED if keep_scores else scale_of_recording(_detection_frames(detections, sequence))
    frames, crossings = list[TrackedFrame](), list[Crossing]()
    for frame in _detection_frames(detections, sequence):
        result = counter.update(scale.applied(frame))
        frames.append(result.tracked)
        crossings += _crossings(result.events)
        each()
    crossings += _crossings(counter.flush())
    return EvaluatedRun(boxes_of(frames), tuple(crossings), tuple(journal.candidates))


def _detection_frames(detections: Boxes, sequence: SequenceInfo) -> Iterator[DetectionFrame]:
    for frame, rows in enumerate(detections.rows_of_frames(sequence.frames), 1):
        boxes, scores = detections.xyxy[rows], detections.score[rows]
        table = np.column_stack([boxes, scores, np.zeros(len(boxes))]).astype(np.float32)
        yield DetectionFrame(CAMERA_ID, frame - 1, sequence.t(frame), sequence.size_wh, table)


def count_each(
    objects: Boxes, sequence: SequenceInfo, spec: CountingSpec, *, explain: bool = False
) -> dict[int, EvaluatedRun]:
    """Count each id alone, so that no two are joined or mixed up; return the runs by id."""
    spec_without_score = CountingSpec(lines=spec.lines, anchor=spec.anchor)
    return {
        int(number): count_tracks(objects.where(objects.ids == number), sequence, spec_without_score, explain=explain)
        for number in np.unique(objects.ids)
    }


def count_tracks(tracked: Boxes, sequence: SequenceInfo, spec: CountingSpec, *, explain: bool = False) -> EvaluatedRun:
    """Count over boxes with ids, from the first frame that has one to the last; crossings name these ids.

    Counting heals the tracks as always; `tracked` of the result is unchanged.
    """
    if not len(tracked) or not spec.lines:
        return EvaluatedRun(tracked, ())
    journal = Journal()
    listener = Explainer(journal) if explain else None
    counter = CameraCounter(Identity(CAMERA_ID, 0, "run"), spec, tracked=True, listener=listener)
    events: list[Event] = []
    given_id: dict[int, int] = {}
    for frame in _frames(tracked, sequence):
        result = counter.update_tracked(frame)
        events += result.events
        given_id |= _same_boxes(result.tracked, frame)
    crossings = _crossings([*events, *counter.flush()])
    return EvaluatedRun(
        tracked,
        tuple(replace(crossing, track=given_id.get(crossing.track, crossing.track)) for crossing in crossings),
        tuple(replace(each, track=given_id.get(each.track, each.track)) for each in journal.candidates),
    )


def _frames(tracked: Boxes, sequence: SequenceInfo) -> Iterator[TrackedFrame]:
    first, last = int(tracked.frame[0]), int(tracked.frame[-1])
    for frame, rows in enumerate(tracked.rows_of_frames(last)[first - 1 :], first):
        scores = np.clip(tracked.score[rows], 0, 1)
        classes = np.zeros(len(scores), dtype=np.int64)
        boxes, t = tracked.xyxy[rows], sequence.t(frame)
        yield TrackedFrame(CAMERA_ID, frame - 1, t, sequence.size_wh, tracked.ids[rows], boxes, scores, classes)


def _same_boxes(named: TrackedFrame, given: TrackedFrame) -> dict[int, int]:
    """Return the given ids of boxes, by the ids that the counter assigned to their objects."""
    by_box = {tuple(box): number for box, number in zip(given.xyxy_px.tolist(), given.ids.tolist(), strict=True)}
    pairs = zip(named.ids.tolist(), named.xyxy_px.tolist(), strict=True)
    return {number: by_box[tuple(box)] for number, box in pairs}


def _crossings(events: tuple[Event, ...] | list[Event]) -> Iterator[Crossing]:
    return (event for event in events if isinstance(event, Crossing))


def boxes_of(frames: list[TrackedFrame]) -> Boxes:
    """Return the boxes of frames; frame numbers are indices plus 1."""
    return Boxes(
        np.repeat([frame.index + 1 for frame in frames], [len(frame.ids) for frame in frames]).astype(np.int64),
        np.concatenate([np.zeros(0, dtype=np.int64), *(frame.ids for frame in frames)]),
        np.concatenate([np.zeros((0, 4)), *(frame.xyxy_px for frame in frames)]),
        np.concatenate([np.zeros(0), *(frame.scores for frame in frames)]),
    )

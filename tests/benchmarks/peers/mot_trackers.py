"""The trackers of the package `trackers` over recorded detections; run with the Python of the peers' environment.

python mot_trackers.py DETECTIONS.npz OUT.npz

DETECTIONS holds one table a sequence, rows frame (from 1), x1, y1, x2, y2, score; `fps` and `frames` in its order.
OUT gets one table for each tracker, setting and sequence, rows frame, id, x1, y1, x2, y2, score, named
`<tracker>|<setting>|<sequence>`.
"""

import sys
import warnings

import numpy as np
import supervision as sv
from trackers import BoTSORTTracker, ByteTrackTracker, CBIoUTracker, McByteTracker, OCSORTTracker, SORTTracker

TRACKERS = {
    "ByteTrack": ByteTrackTracker,
    "OC-SORT": OCSORTTracker,
    "SORT": SORTTracker,
    "BoT-SORT": BoTSORTTracker,
    "C-BIoU": CBIoUTracker,
    "McByte": McByteTracker,
}

# The defaults want a modern detector's scores. "tuned" was chosen on three sequences of MOTChallenge 2015, of a grid
# over the thresholds of score and of the first frames, for the largest sum of HOTA, IDF1 and MOTA over the three.
# There are no pictures here, so nothing compensates the motion of the camera (the cameras are fixed) or uses masks.
SETTINGS = {
    "ByteTrack": {
        "default": {},
        "tuned": {
            "track_activation_threshold": 0.4,
            "high_conf_det_threshold": 0.4,
            "minimum_consecutive_frames": 2,
            "minimum_iou_threshold": 0.2,
        },
    },
    "OC-SORT": {
        "default": {},
        "tuned": {"high_conf_det_threshold": 0.3, "minimum_consecutive_frames": 1, "minimum_iou_threshold": 0.2},
    },
    "SORT": {
        "default": {},
        "tuned": {"track_activation_threshold": 0.5, "minimum_consecutive_frames": 1, "minimum_iou_threshold": 0.3},
    },
    "BoT-SORT": {"default": {"enable_cmc": False}},
    "C-BIoU": {"default": {}},
    "McByte": {"default": {"enable_cmc": False}},
}


def track(make, settings, table, fps, frames):
    """Return rows frame, id, x1, y1, x2, y2, score of the tracks that the tracker reports."""
    tracker = make(frame_rate=fps, **settings)
    reported = []
    for index in range(1, frames + 1):
        rows = table[table[:, 0] == index]
        detections = sv.Detections(
            xyxy=rows[:, 1:5].astype(np.float32),
            confidence=rows[:, 5].astype(np.float32),
            class_id=np.zeros(len(rows), int),
        )
        found = tracker.update(detections)
        if len(found):
            found = found[found.tracker_id >= 0]
            reported.append(
                np.column_stack([np.full(len(found), index), found.tracker_id, found.xyxy, found.confidence])
            )
    return np.concatenate(reported) if reported else np.zeros((0, 7))


def main():
    """Track every sequence with every tracker and setting."""
    warnings.simplefilter("ignore")
    sequences = np.load(sys.argv[1])
    names = [name for name in sequences.files if name not in {"fps", "frames"}]
    lengths = list(zip(sequences["fps"].tolist(), sequences["frames"].tolist(), strict=True))
    out = {}
    for tracker, settings in SETTINGS.items():
        for setting, options in settings.items():
            for name, (fps, frames) in zip(names, lengths, strict=True):
                table = track(TRACKERS[tracker], options, sequences[name], fps, int(frames))
                out[f"{tracker}|{setting}|{name}"] = table
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()

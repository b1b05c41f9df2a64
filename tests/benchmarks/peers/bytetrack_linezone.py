"""ByteTrack and LineZone over recorded detections, timed; run with the Python of the peers' environment.

python bytetrack_linezone.py SCENES.npz     prints {"<objects>": {"ms": median ms a frame, "mean_ms", "in", "out"}, ...}
"""

import json
import statistics
import sys
import time

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

WARM_UP = 20


def measure(table: np.ndarray, frames: int, fps: float, line: list[float]) -> dict[str, float]:
    """Track and count; `table` has rows frame, x1, y1, x2, y2, score, class."""
    tracker = ByteTrackTracker(frame_rate=fps)
    zone = sv.LineZone(
        start=sv.Point(line[0], line[1]),
        end=sv.Point(line[2], line[3]),
        triggering_anchors=[sv.Position.BOTTOM_CENTER],
        minimum_crossing_threshold=3,
    )
    times = []
    for index in range(frames):
        rows = table[table[:, 0] == index]
        detections = sv.Detections(
            xyxy=rows[:, 1:5].astype(np.float32),
            confidence=rows[:, 5].astype(np.float32),
            class_id=rows[:, 6].astype(int),
        )
        start = time.thread_time()
        tracked = tracker.update(detections)
        zone.trigger(tracked[tracked.tracker_id >= 0])
        times.append(time.thread_time() - start)
    return {
        "ms": 1000 * statistics.median(times[WARM_UP:]),
        "mean_ms": 1000 * statistics.mean(times[WARM_UP:]),
        "in": zone.out_count,
        "out": zone.in_count,
    }


def main() -> None:
    """Measure every scene of the file."""
    scenes = np.load(sys.argv[1])
    reported = {
        key: measure(scenes[key], int(scenes["frames"]), float(scenes["fps"]), scenes["line"].tolist())
        for key in scenes.files
        if key.isdigit()
    }
    print(json.dumps(reported))


if __name__ == "__main__":
    main()

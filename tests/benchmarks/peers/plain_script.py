"""The script that one would write instead: OpenCV, ONNX Runtime, NumPy decode and NMS, ByteTrack, LineZone.

Runs in `.venv-peers`. Prints one JSON line: {"frames", "seconds", "fps", "in", "out"}.
"""

import argparse
import json
import time

import cv2
import numpy as np
import onnxruntime
import supervision as sv
from trackers import ByteTrackTracker

SIDE = 416
STRIDES = (8, 16, 32)


def letterbox(image):
    """(H, W, 3) BGR bytes -> (1, 3, 416, 416) float32, and the scale."""
    scale = min(SIDE / image.shape[0], SIDE / image.shape[1])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    padded = np.full((SIDE, SIDE, 3), 114, np.uint8)
    padded[: size[1], : size[0]] = cv2.resize(image, size)
    return np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32)[None], scale


def grids():
    """Cell positions and strides of the 3549 predictions."""
    cells, strides = [], []
    for stride in STRIDES:
        n = SIDE // stride
        y, x = np.mgrid[:n, :n]
        cells.append(np.stack((x, y), -1).reshape(-1, 2))
        strides.append(np.full((n * n, 1), stride))
    return np.concatenate(cells), np.concatenate(strides)


def decode(raw, cells, strides, threshold):
    """(3549, 85) head output -> boxes (N, 4), scores (N,), classes (N,)."""
    centres, sizes = (raw[:, :2] + cells) * strides, np.exp(raw[:, 2:4]) * strides
    boxes = np.concatenate((centres - sizes / 2, centres + sizes / 2), 1)
    scores = raw[:, 4:5] * raw[:, 5:]
    classes = scores.argmax(1)
    best = scores[np.arange(len(scores)), classes]
    keep = best > threshold
    return boxes[keep], best[keep], classes[keep]


def nms(boxes, scores, classes, iou=0.45):
    """Indices that survive suppression within each class."""
    shifted = boxes + classes[:, None] * 4096.0
    area = (shifted[:, 2] - shifted[:, 0]) * (shifted[:, 3] - shifted[:, 1])
    order, kept = scores.argsort()[::-1], []
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(first)
        low = np.maximum(shifted[first, :2], shifted[rest, :2])
        high = np.minimum(shifted[first, 2:], shifted[rest, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        order = rest[shared / (area[first] + area[rest] - shared) <= iou]
    return np.array(kept, int)


def count(clip, session, threshold):
    """Frames of one clip and its crossings over the middle of the picture."""
    cells, strides = grids()
    video, tracker, zone, frames = cv2.VideoCapture(clip), ByteTrackTracker(), None, 0
    while True:
        ok, image = video.read()
        if not ok:
            return frames, zone
        if zone is None:
            h, w = image.shape[:2]
            zone = sv.LineZone(start=sv.Point(0, h // 2), end=sv.Point(w, h // 2))
        tensor, scale = letterbox(image)
        boxes, scores, classes = decode(
            session.run(None, {session.get_inputs()[0].name: tensor})[0][0], cells, strides, threshold
        )
        keep = nms(boxes, scores, classes)
        found = sv.Detections(
            xyxy=(boxes[keep] / scale).astype(np.float32),
            confidence=scores[keep].astype(np.float32),
            class_id=classes[keep],
        )
        tracked = tracker.update(found)
        if len(tracked):
            zone.trigger(tracked[tracked.tracker_id >= 0])
        frames += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime; 0: its own choice")
    parser.add_argument("--threshold", type=float, default=0.25)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads or -1)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(options.model, settings, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, SIDE, SIDE), np.float32)})
    start, frames, crossed = time.perf_counter(), 0, [0, 0]
    for clip in options.clips:
        n, zone = count(clip, session, options.threshold)
        frames += n
        crossed = [crossed[0] + zone.in_count, crossed[1] + zone.out_count]
    seconds = time.perf_counter() - start
    print(
        json.dumps({"frames": frames, "seconds": seconds, "fps": frames / seconds, "in": crossed[0], "out": crossed[1]})
    )


main()

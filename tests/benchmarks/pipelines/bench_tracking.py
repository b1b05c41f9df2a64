"""Tracking and counting: milliseconds a frame by number of objects, and beside ByteTrack + LineZone on the same
detections.

    python tests/benchmarks/pipelines/bench_tracking.py [--peers]

With `--peers` it runs the peers in `.venv-peers` (`make bench-peers`) before and after our own measurement, so that a
machine that is busy for a while disturbs both alike; the ratio to reach at 20 objects is 0.6.
Times are those of the processor, which other programs disturb least. Both the median frame and the mean are shown, for
what is done in few frames shows in the mean alone. The peers keep no paths for recounts, so neither do we in the table;
what keeping them takes is printed below it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.frames import DetectionFrame
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec, Line

ROOT = Path(__file__).resolve().parents[3]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS_SCRIPT = ROOT / "tests" / "benchmarks" / "peers" / "bytetrack_linezone.py"

OBJECTS = (5, 20, 50, 100, 200, 300)
FRAMES = 250
FPS = 25.0
SIZE_WH = (1920, 1080)
LINE = (100.0, 540.0, 1820.0, 540.0)
WARM_UP = 20
TARGET = 0.6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Milliseconds a frame, and what was counted."""

    median_ms: float
    mean_ms: float
    entered: int = 0
    left: int = 0


def scene(objects: int) -> Floats:
    """Rows frame, x1, y1, x2, y2, score, class of objects that walk to and fro, with noise and one detection in
    twenty missed."""
    rng = np.random.default_rng(objects)
    place = rng.uniform((60, 120), (1860, 1040), (objects, 2))
    velocity = rng.normal(0, 60, (objects, 2))
    height = rng.uniform(40, 110, objects)
    rows = []
    for index in range(FRAMES):
        place += velocity / FPS
        for axis, end in enumerate(SIZE_WH):
            out = (place[:, axis] < 40) | (place[:, axis] > end - 10)
            velocity[out, axis] *= -1
            place[:, axis] = np.clip(place[:, axis], 40, end - 10)
        feet = place + rng.normal(0, 0.01, (objects, 2)) * height[:, None]
        boxes = np.column_stack([feet[:, 0] - height / 5, feet[:, 1] - height, feet[:, 0] + height / 5, feet[:, 1]])
        scores = rng.uniform(0.5, 0.95, objects)
        table = np.column_stack([np.full(objects, index), boxes, scores, np.zeros(objects)])
        rows.append(table[rng.random(objects) > 0.05])
    return np.concatenate(rows)


def measure(table: Floats, *, trajectories: bool = False) -> Measured:
    """Track and count one scene, and say where objects were if asked."""
    width, height = SIZE_WH
    line = Line("line", ((LINE[0] / width, LINE[1] / height), (LINE[2] / width, LINE[3] / height)))
    counter = CameraCounter(Identity("bench", 0, "run"), CountingSpec(lines=(line,)), trajectories=trajectories)
    frames = [
        DetectionFrame("bench", i, i / FPS, SIZE_WH, table[table[:, 0] == i, 1:].astype(np.float32))
        for i in range(FRAMES)
    ]
    times, directions = [], []
    for frame in frames:
        start = time.thread_time()
        result = counter.update(frame)
        times.append(time.thread_time() - start)
        directions += [event.direction.value for event in result.events if isinstance(event, Crossing)]
    directions += [event.direction.value for event in counter.flush() if isinstance(event, Crossing)]
    usual = times[WARM_UP:]
    return Measured(
        1000 * statistics.median(usual),
        1000 * statistics.mean(usual),
        directions.count("in"),
        directions.count("out"),
    )


def measure_peers(scenes: dict[int, Floats]) -> dict[int, Measured]:
    """What the peers need, by number of objects."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.npz"
        named = {str(objects): table for objects, table in scenes.items()}
        np.savez(path, frames=FRAMES, fps=FPS, line=np.array(LINE), **named)
        command = [str(PEERS_PYTHON), str(PEERS_SCRIPT), str(path)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout
    return {int(objects): Measured(found["ms"], found["mean_ms"]) for objects, found in json.loads(printed).items()}


def show(ours: dict[int, Measured], peers: dict[int, Measured]) -> bool:
    """Print the table; return whether the target is reached, as far as it was measured."""
    table = Table(
        "objects", "ms a frame", "mean", "us an object", "in/out", "ByteTrack + LineZone", "mean", "ratio", "mean"
    )
    for objects, our in ours.items():
        row = [str(objects), f"{our.median_ms:.2f}", f"{our.mean_ms:.2f}", f"{1000 * our.mean_ms / objects:.0f}"]
        peer = peers.get(objects)
        compared = ["-"] * 4
        if peer is not None:
            ratios = our.median_ms / peer.median_ms, our.mean_ms / peer.mean_ms
            compared = [f"{number:.2f}" for number in (peer.median_ms, peer.mean_ms, *ratios)]
        table.add_row(*row, f"{our.entered}/{our.left}", *compared)
    console = Console(width=110)
    console.print(table)
    growth = (ours[300].mean_ms / ours[20].mean_ms) / (300 / 20)
    console.print(f"from 20 to 300 objects the time grows {growth:.2f} times as fast as their number (at most 1.00)")
    if 20 not in peers:
        return growth <= 1
    ratio, mean = ours[20].median_ms / peers[20].median_ms, ours[20].mean_ms / peers[20].mean_ms
    console.print(f"at 20 objects: {ratio:.2f} of the peers' time in the median frame, {mean:.2f} in the mean", end="")
    console.print(f" (at most {TARGET:.2f})")
    return growth <= 1 and max(ratio, mean) <= TARGET


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true")
    with_peers = parser.parse_args().peers
    if with_peers and not PEERS_PYTHON.exists():
        print("the peers are not installed; hint: make bench-peers", file=sys.stderr)
        return 1
    scenes = {objects: scene(objects) for objects in OBJECTS}
    before = measure_peers(scenes) if with_peers else {}
    ours = {objects: measure(table) for objects, table in scenes.items()}
    after = measure_peers(scenes) if with_peers else {}
    with_paths = measure(scenes[20], trajectories=True)
    quicker = {
        objects: Measured(
            min(before[objects].median_ms, after[objects].median_ms),
            min(before[objects].mean_ms, after[objects].mean_ms),
        )
        for objects in before
    }
    reached = show(ours, quicker)
    paths = f"{with_paths.median_ms:.2f} ms a frame, mean {with_paths.mean_ms:.2f}"
    print(f"with paths kept for recounts, at 20 objects: {paths}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())

"""What decoding costs, with the CPU and, where there is one, with the GPU's NVDEC: streams side by side, a thread each.

    python tests/benchmarks/pipelines/bench_decode.py [--streams N] [--seconds S] [--clip FILE]

Each stream is read and scaled to a model's input as a camera's thread does it. *core ms a frame* is processor time of
this process, kernel included; the ratio is that of the CPU to it: how many times as many cameras the same cores feed.
"""

import argparse
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from countline_common.triton.letterbox import Letterbox, Scaler
from countline_pipelines.sources import DecodeMode, Decoding, Playback, SourceSpec, VideoReader, decoding_of
from countline_pipelines.sources.decoding import missing_for_nvdec

REPOSITORY = Path(__file__).resolve().parents[3]
CLIP = REPOSITORY.parent / "shared" / "data" / "videos" / "one-by-one-person.mp4"
INPUT_WH = (416, 416)


@dataclass(frozen=True)
class Result:
    """One mode's."""

    frames_per_s: float
    core_ms: float
    used: str


def measure(clip: Path, decoding: Decoding, streams: int, seconds: float) -> Result:
    """Decode the clip in so many threads, again and again, for so long."""
    frames, used = [0] * streams, [""] * streams
    began, cpu_began = time.monotonic(), time.process_time()

    def run(index: int) -> None:
        scaler = Scaler()
        while time.monotonic() - began < seconds:
            with VideoReader(SourceSpec(str(clip), Playback.FAST), decoding) as video:
                for decoded in video.frames():
                    size_wh = (decoded.picture.width, decoded.picture.height)
                    scaler.scale(decoded.picture, Letterbox(size_wh, INPUT_WH))
                    frames[index] += 1
                    if time.monotonic() - began >= seconds:
                        break
                used[index] = str(video.decoder)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(frames)
    core_s, took_s = time.process_time() - cpu_began, time.monotonic() - began
    decoders = ", ".join(f"{used.count(name)} on {name}" for name in sorted(set(used)))
    return Result(total / took_s, 1000 * core_s / total, decoders)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clip", type=Path, default=CLIP)
    options = parser.parse_args()
    missing = missing_for_nvdec()
    modes = [DecodeMode.CPU] if missing else [DecodeMode.CPU, DecodeMode.AUTO]
    print(f"{options.clip.name}, {options.streams} streams\n{'':6}{'frames/s':>10}{'core ms a frame':>17}{'ratio':>7}")
    base = 0.0
    for mode in modes:
        result = measure(options.clip, decoding_of(mode), options.streams, options.seconds)
        base = base or result.core_ms
        ratio = base / result.core_ms
        print(f"{mode:6}{result.frames_per_s:10.1f}{result.core_ms:17.2f}{ratio:7.2f}   {result.used}")
    if missing:
        print(f"NVDEC: not measured, {missing.what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

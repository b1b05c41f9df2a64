"""When counting is behind, frames of a camera are dropped, and each is reported once."""

import time
from pathlib import Path

import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.pipelines.deepstream_bench import Recorder, deepstream_plane, plan
from tests.fixtures.triton import TritonServer

from countline_counting.identity import Identity
from countline_pipelines.planes.interface import CountedFrame
from countline_pipelines.sources import Playback

COUNTING_S = 0.15
"""A frame; the clip has one every 0.05 s."""


def test_a_frame_that_is_dropped_is_reported_once(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = Recorder.frame_counted

    def slow(recorder: Recorder, identity: Identity, counted: CountedFrame) -> None:
        time.sleep(COUNTING_S)
        quick(recorder, identity, counted)

    monkeypatch.setattr(Recorder, "frame_counted", slow)
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip, playback=Playback.LOOP, run=""))
        bench.wait_for(lambda: len(bench.recorder.frames.get("cam", ())) > 15, 40)
    frames = bench.recorder.frames["cam"]
    passed_over = frames[-1].result.tracked.index + 1 - len(frames)
    assert passed_over > len(frames) / 2, "counting was not behind, so this shows nothing"
    assert sum(counted.dropped for counted in frames) == passed_over

"""Metrics of a camera have the same names on both planes."""

from pathlib import Path

import pytest
from tests.doubles.deepstream import Installed
from tests.doubles.deepstream.modules.nvml_module import USED_BYTES
from tests.fixtures.pipelines.deepstream_bench import by_software, deepstream_plane, plan
from tests.fixtures.pipelines.metrics import series_of
from tests.fixtures.triton import TritonServer

from countline_pipelines.planes.deepstream import metrics
from countline_pipelines.sources import Playback

OF_FFMPEG = "countline_decoder_"
"""Which decoder FFmpeg took; DeepStream has one of its own."""


def test_frames_drops_and_latency_have_the_names_of_the_software_plane(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("on-deepstream", clip))
        bench.wait_ended("on-deepstream")
        condition, ours = bench.condition("on-deepstream"), series_of(camera="on-deepstream")
    theirs = by_software(blob_triton.grpc, plan("on-software", clip)).series
    assert ours.keys() == {name for name in theirs if not name.startswith(OF_FFMPEG)}
    for name in (
        "countline_frames_processed_total",
        "countline_frame_latency_seconds_count",
        "countline_crossings_total",
    ):
        assert ours[name] == theirs[name] > 0
    assert condition.frames_processed == 200
    assert condition.latency_s > 0


def test_fps_and_drops_of_a_source_are_reported_while_it_plays(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("paced", clip, playback=Playback.LOOP, run=""))
        bench.wait_for(lambda: bench.condition("paced").processed_fps > 15, 40)
        assert bench.condition("paced").source_fps == pytest.approx(20, abs=6)
        bench.wait_for(lambda: metrics.MEMORY.labels("0")._value.get() == USED_BYTES)

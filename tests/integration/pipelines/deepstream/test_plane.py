"""The DeepStream plane, end to end, on the double of DeepStream."""

from pathlib import Path

import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.triton import TritonServer

from countline_pipelines.deepstream.facts import Mux, Release
from countline_pipelines.deepstream.properties import BoxPath
from countline_pipelines.plane import CameraState

from tests.integration.pipelines.deepstream.bench import deepstream_plane, plan


def test_a_clip_is_counted(deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path) -> None:
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", clip))
        bench.wait_ended("cam")
        assert bench.condition("cam").state is CameraState.FINISHED
    assert bench.recorder.in_out("cam") == (1, 3)
    assert len(bench.recorder.frames["cam"]) == 200

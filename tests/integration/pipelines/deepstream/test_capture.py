"""When a frame was captured: by the camera's own clock where it reports it."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tests.doubles.deepstream import Installed
from tests.fixtures.pipelines.deepstream_bench import Bench, deepstream_plane, plan
from tests.fixtures.rtsp import RtspServer
from tests.fixtures.triton import TritonServer

from countline_pipelines.sources import Playback


def believes_the_camera(bench: Bench, camera_id: str) -> bool:
    held = bench.plane._held.get(camera_id)
    valve = held.camera.valve if held is not None and held.camera is not None else None
    return valve is not None and valve.transit.believes_camera


def test_a_camera_that_sends_reports_is_stamped_by_its_own_clock(
    deepstream_double: Installed,
    blob_triton: TritonServer,
    rtsp: Callable[..., RtspServer],
    tmp_path: Path,
) -> None:
    """The times of RTCP come out of a real rtspsrc, through the muxer, as `ntp_timestamp` of each frame."""
    server = rtsp()
    with deepstream_plane(blob_triton.grpc, tmp_path) as bench:
        bench.plane.add_camera(plan("cam", server.url(), playback=Playback.LIVE, run=""))
        bench.wait_for(lambda: believes_the_camera(bench, "cam"), 40)
        seen = len(bench.recorder.frames["cam"])
        bench.wait_for(lambda: len(bench.recorder.frames["cam"]) > seen + 20, 40)
        now = time.time()
    times = [counted.result.tracked.t for counted in bench.recorder.frames["cam"]]
    assert all(a < b for a, b in pairwise(times))
    assert now - 5 < times[-1] < now + 1

"""A worker on RTSP cameras: a server that restarts, a wrong password, a picture that changes its size."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.fixtures.clips import Pass, render
from tests.fixtures.control_double import ControlDouble
from tests.fixtures.nats import NatsServer
from tests.fixtures.pipelines.workers import WorkerProcess, assignment, wait_until
from tests.fixtures.rtsp import RtspServer

from countline.v1 import cameras_pb2
from countline_common.times import from_timestamp

pytestmark = [pytest.mark.early, pytest.mark.timeout(600)]

LIVE = {"epoch": 1, "playback": cameras_pb2.PLAYBACK_LIVE}


async def test_a_camera_whose_server_restarts_is_back_within_ten_seconds_and_counts_on(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, rtsp: Callable[..., RtspServer]
) -> None:
    server = await asyncio.to_thread(rtsp)
    await control_double.assign(assignment("cam", server.url(), **LIVE))
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_RUNNING)
    before = await wait_until(nats_server.url, "cam", lambda totals: len(totals.crossings) >= 2)
    server.stop()
    lost = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_OFFLINE)
    assert lost.error.code == "unreachable"
    await asyncio.sleep(6)  # long enough for the pauses between attempts to have grown
    await asyncio.to_thread(server.start)
    came_back_at = time.monotonic()
    back = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_RUNNING, timeout_s=10)
    assert time.monotonic() - came_back_at < 10
    assert not back.error.code
    after = await wait_until(nats_server.url, "cam", lambda t: len(t.crossings) >= len(before.crossings) + 2)
    gaps = [later - earlier for (_, earlier), (later, _) in pairwise(after.covered_s)]
    assert max(gaps) > 5, "coverage shows the outage"
    assert sum(gap > 0 for gap in gaps) == 1
    events = [from_timestamp(crossing.t) for crossing in after.crossings.values()]
    assert all(abs(t - time.time()) < 60 for t in events)


async def test_a_wrong_password_fails_the_camera_and_is_never_written_down(
    worker: WorkerProcess,
    nats_server: NatsServer,
    control_double: ControlDouble,
    rtsp: Callable[..., RtspServer],
) -> None:
    server = await asyncio.to_thread(lambda: rtsp(with_password=True))
    await control_double.assign(
        assignment("wrong", server.url(login="viewer:wrong-word"), **LIVE), assignment("right", server.url(), **LIVE)
    )
    await control_double.wait_for_state("right", cameras_pb2.OBSERVED_STATE_RUNNING)
    failed = await control_double.wait_for_state("wrong", cameras_pb2.OBSERVED_STATE_FAILED)
    assert failed.error.code == "unauthorized"
    assert "password" in failed.error.hint
    assert "wrong-word" not in worker.log + str(control_double.reports)


async def test_a_change_of_size_in_mid_file_begins_a_new_run_and_is_counted_through(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    small = render(tmp_path / "small.ts", [Pass(True), Pass(False)], size=(320, 240))
    large = render(tmp_path / "large.ts", [Pass(True), Pass(True)], size=(640, 480))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    await control_double.assign(assignment("cam", str(both)))
    status = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    totals = await wait_until(nats_server.url, "cam", lambda t: t.in_out == (1, 3))
    assert len({record.run for record in totals.records}) == 2
    assert (status.width, status.height) == (640, 480)


async def test_a_camera_that_falls_silent_does_not_stall_its_neighbours(
    worker: WorkerProcess,
    nats_server: NatsServer,
    control_double: ControlDouble,
    rtsp: Callable[..., RtspServer],
    tmp_path: Path,
) -> None:
    server = await asyncio.to_thread(rtsp)
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.0)])
    await control_double.assign(
        assignment("silent", server.url(), **LIVE),
        assignment("lively", str(loop), epoch=1, playback=cameras_pb2.PLAYBACK_LOOP),
    )
    for camera_id in ("silent", "lively"):
        await control_double.wait_for_state(camera_id, cameras_pb2.OBSERVED_STATE_RUNNING)
    server.freeze()
    frozen_at = time.time()
    silent = await control_double.wait_for_state("silent", cameras_pb2.OBSERVED_STATE_OFFLINE)
    assert silent.error.code in {"timed_out", "unreachable"}
    until = time.time() + 1
    lively = await wait_until(
        nats_server.url, "lively", lambda totals: bool(totals.spans) and totals.covered_s[-1][1] > until
    )
    gaps = [later - earlier for (_, earlier), (later, _) in pairwise(lively.covered_s) if later > frozen_at]
    assert max(gaps) == 0

"""A worker whose sources show another picture than before, or jump in time; a double speaks the control-plane."""

import asyncio
import re
import time
import urllib.request
from pathlib import Path

import av
import pytest
from tests.fixtures.clips import FPS, MIDDLE, Pass, render
from tests.fixtures.control_double import ControlDouble
from tests.fixtures.nats import NatsServer
from tests.fixtures.pipelines.stamps import HZ, restamped
from tests.fixtures.pipelines.workers import WorkerProcess, assignment, published, wait_until

from countline.v1 import cameras_pb2, workers_pb2

HOUR = 3600 * HZ
PASSES = (Pass(to_right=True), Pass(to_right=False))
TALL, WIDE = (240, 320), (320, 240)


def drawn(camera_id: str, source: Path, size: tuple[int, int], version: int) -> workers_pb2.Assignment:
    """A file with a line that counts on pictures of this size."""
    wanted = assignment(camera_id, str(source), lines=(("middle", MIDDLE, version),))
    wanted.camera.picture.width, wanted.camera.picture.height = size
    return wanted


async def test_a_file_that_shows_another_picture_is_counted_with_new_versions_only(
    tmp_path: Path, worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble
) -> None:
    tall = render(tmp_path / "tall.mp4", PASSES, size=TALL)
    await control_double.assign(drawn("turned", tall, WIDE, 1))
    status = await control_double.wait_for("turned", lambda status: status.width == TALL[0])
    assert [warning.code for warning in status.warnings] == ["picture_changed"]
    assert status.state == cameras_pb2.OBSERVED_STATE_STARTING
    await control_double.assign(drawn("turned", tall, TALL, 2))
    status = await control_double.wait_for_state("turned", cameras_pb2.OBSERVED_STATE_FINISHED)
    assert not status.warnings
    totals = await wait_until(nats_server.url, "turned", lambda totals: totals.in_out == (1, 1))
    assert {crossing.line_version for crossing in totals.crossings.values()} == {2}


async def test_a_file_is_counted_all_the_same_if_no_new_version_comes(
    tmp_path: Path, worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble
) -> None:
    tall = render(tmp_path / "tall.mp4", PASSES, size=TALL)
    await control_double.assign(drawn("alone", tall, WIDE, 1))
    status = await control_double.wait_for_state("alone", cameras_pb2.OBSERVED_STATE_FINISHED)
    assert [warning.code for warning in status.warnings] == ["picture_changed"]
    assert (await published(nats_server.url, "alone")).in_out == (1, 1)


async def test_a_turned_picture_is_reported_with_the_way_it_turned(
    tmp_path: Path, worker: WorkerProcess, control_double: ControlDouble
) -> None:
    plain, lying = render(tmp_path / "plain.mp4", PASSES), tmp_path / "lying.ts"
    with av.open(str(plain)) as source, av.open(str(lying), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        turn = av.BitStreamFilterContext("h264_mp4toannexb,h264_metadata=rotate=90:display_orientation=insert", stream)
        for packet in source.demux(video=0):
            for each in turn.filter(packet):
                each.stream = stream
                target.mux(each)
    await control_double.assign(assignment("lying", str(lying)))
    status = await control_double.wait_for("lying", lambda status: status.width > 0)
    assert (status.width, status.height) == TALL
    assert status.orientation in {"clockwise", "counterclockwise"}


@pytest.mark.parametrize("jump", [10 * HOUR, -30 * HZ], ids=["forward", "back"])
async def test_nothing_waits_for_a_jump_of_timestamps_and_it_shows(
    tmp_path: Path, worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, jump: int, request
) -> None:
    camera_id = f"jump-{request.node.callspec.id}"
    plain = render(tmp_path / "plain.ts", PASSES)
    jumps = restamped(plain, tmp_path / "jumps.ts", lambda n, t: t + 1000 * HZ + (jump if n >= 2 * FPS else 0))
    began = time.monotonic()
    await control_double.assign(assignment(camera_id, str(jumps), playback=cameras_pb2.PLAYBACK_REALTIME))
    status = await control_double.wait_for(camera_id, lambda status: bool(status.warnings))
    assert [warning.code for warning in status.warnings] == ["timestamps"]
    assert f"{jump / HZ:+.1f} s" in status.warnings[0].message
    await control_double.wait_for_state(camera_id, cameras_pb2.OBSERVED_STATE_FINISHED)
    assert time.monotonic() - began < 60
    totals = await wait_until(nats_server.url, camera_id, lambda totals: totals.in_out == (1, 1))
    (start, end), *others = totals.covered_s
    assert max([end, *(over for _, over in others)]) - start == pytest.approx(5.0, abs=0.2)
    assert f'countline_timestamp_faults_total{{camera="{camera_id}",kind="jump"}} 1.0' in await _metrics(worker)
    assert "source.timestamps" in worker.log


async def _metrics(worker: WorkerProcess) -> str:
    def read() -> str:
        port = re.search(r"health_port\W+(\d+)", worker.log)
        assert port is not None, worker.log
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(read)

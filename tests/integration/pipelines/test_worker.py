"""The worker as a process, with a real Triton and a real NATS; a double speaks the control-plane's real service."""

import asyncio
from itertools import pairwise
from pathlib import Path

import nats
import psutil
import pytest
from tests.fixtures.clips import MIDDLE, Pass, cut_off, render, write_blob_repository
from tests.fixtures.control_double import ControlDouble
from tests.fixtures.examples import rounds
from tests.fixtures.forked.command import COUNTLINE
from tests.fixtures.nats import NatsServer
from tests.fixtures.pipelines.workers import (
    Totals,
    WorkerProcess,
    assignment,
    published,
    wait_for_totals,
    wait_until,
    worker_process,
)
from tests.fixtures.triton import TritonServer, start_triton

from countline.v1 import cameras_pb2, events_pb2
from countline_common.data import bus
from countline_counting.identity import COUNTING_RULE_VERSION

pytestmark = [pytest.mark.early, pytest.mark.timeout(600)]

TRUE_IN_OUT = (1, 3)


async def test_a_file_is_counted_and_its_records_reach_jetstream(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, clip: Path
) -> None:
    await control_double.assign(assignment("cam", str(clip)))
    status = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    totals = await wait_until(nats_server.url, "cam", lambda t: sum(span.frames for span in t.spans) == 200)
    assert totals.in_out == TRUE_IN_OUT
    assert status.progress == 1.0
    assert (status.width, status.height) == (320, 240)
    assert sorted({crossing.class_name for crossing in totals.crossings.values()}) == ["blue", "green", "red"]
    first, *later = totals.records
    assert first.HasField("hand_over_at")
    assert not any(record.HasField("hand_over_at") for record in later)
    assert first.hand_over_at.seconds == 1_700_000_000
    assert [record.sequence for record in totals.records] == list(range(len(totals.records)))
    assert {record.time_zone for record in totals.records} == {"Europe/Berlin"}
    file_of = {(record.recording, record.rule_version) for record in totals.records}
    assert [(len(name), version) for name, version in file_of] == [(16, COUNTING_RULE_VERSION)]


async def test_a_worker_that_is_killed_counts_a_file_again_with_the_same_ids(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    long_clip = render(tmp_path / "long.mp4", [Pass(index % 3 != 0, index % 3) for index in range(30)])
    await control_double.assign(assignment("cam", str(long_clip)))
    await control_double.wait_for("cam", lambda status: status.progress > 0.3)
    await worker.kill()
    before = await published(nats_server.url, "cam")
    await worker.start()
    early = {cameras_pb2.OBSERVED_STATE_PROBING, cameras_pb2.OBSERVED_STATE_STARTING}
    await control_double.wait_for("cam", lambda status: status.state in early)
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    after = await wait_for_totals(nats_server.url, "cam", (10, 20))
    assert 0 < len(before.crossings) < 30
    assert before.crossings.keys() <= after.crossings.keys()
    # JetStream drops repeats by message id: so the second attempt's records were the same, byte for byte.
    assert [record.sequence for record in after.records] == list(range(len(after.records)))


async def test_a_finished_file_is_not_counted_again_after_a_restart(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, clip: Path
) -> None:
    await control_double.assign(assignment("cam", str(clip)))
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    await wait_for_totals(nats_server.url, "cam", TRUE_IN_OUT)
    await worker.stop()
    control_double.reports.clear()
    await worker.start()
    status = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    assert status.frames_processed == 0
    # Another line makes it another count; the first line's crossings keep their ids.
    first = await published(nats_server.url, "cam")
    second = ("second", ((0.7, 0.0), (0.7, 1.0)), 1)
    await control_double.assign(assignment("cam", str(clip), lines=(("middle", MIDDLE, 1), second)))
    both = await wait_for_totals(nats_server.url, "cam", (2, 6))
    assert first.crossings.keys() < both.crossings.keys()


async def test_killing_nats_in_mid_file_loses_nothing(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    long_clip = render(tmp_path / "long.mp4", [Pass(index % 3 != 0, index % 3) for index in range(30)])
    await control_double.assign(assignment("cam", str(long_clip)))
    await control_double.wait_for("cam", lambda status: status.progress > 0.1)
    await nats_server.kill()
    await wait_until_counted(control_double)
    assert control_double.reports[-1].spool_bytes > 0
    await nats_server.start()
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    totals = await published(nats_server.url, "cam")
    assert totals.in_out == (10, 20), "finished means that everything is in the bus"


async def wait_until_counted(control_double: ControlDouble) -> None:
    """Wait until a file was counted to its end while NATS is away: it runs, with the fault that says so."""
    status = await control_double.wait_for("cam", lambda status: status.error.code == "not_stored")
    assert (status.state, status.progress) == (cameras_pb2.OBSERVED_STATE_RUNNING, 1.0)


async def test_records_outlive_worker_and_nats_together(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, clip: Path
) -> None:
    await nats_server.kill()
    await control_double.assign(assignment("cam", str(clip)))
    await wait_until_counted(control_double)
    await worker.kill()
    await control_double.assign()
    await nats_server.start()
    await worker.start()
    await wait_for_totals(nats_server.url, "cam", TRUE_IN_OUT)


async def test_killing_triton_in_mid_file_loses_nothing(
    tmp_path: Path, nats_server: NatsServer, control_double: ControlDouble
) -> None:
    triton = start_triton(write_blob_repository(tmp_path), tmp_path / "triton-0")
    ports = tuple(int(address.rpartition(":")[2]) for address in (triton.http, triton.grpc, triton.metrics))
    worker = worker_process(tmp_path / "worker", nats_server.url, control_double.address, triton.grpc)
    await worker.start()
    try:
        long_clip = render(tmp_path / "long.mp4", [Pass(index % 3 != 0, index % 3) for index in range(30)])
        await control_double.assign(assignment("cam", str(long_clip)))
        await control_double.wait_for("cam", lambda status: status.progress > 0.1)
        await asyncio.to_thread(triton.kill)
        stalled = control_double.status("cam")
        assert stalled is not None
        assert stalled.progress < 1
        triton = await asyncio.to_thread(
            start_triton, tmp_path / "repository", tmp_path / "triton-1", ports=(ports[0], ports[1], ports[2])
        )
        status = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
        totals = await wait_until(nats_server.url, "cam", lambda t: sum(s.frames for s in t.spans) == 30 * 50)
        assert totals.in_out == (10, 20)
        assert status.frames_dropped == 0
    finally:
        await worker.stop()
        triton.stop()


async def test_a_line_added_while_a_camera_runs_counts_from_then_on(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.0)])
    live = {"epoch": 3, "playback": cameras_pb2.PLAYBACK_LOOP}
    await control_double.assign(assignment("cam", f"file://{loop}", **live))
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_RUNNING)
    before = await wait_until(nats_server.url, "cam", lambda totals: totals.in_out[1] >= 2)
    added = ("early", ((0.3, 0.0), (0.3, 1.0)), 1)
    await control_double.assign(assignment("cam", f"file://{loop}", lines=(("middle", MIDDLE, 1), added), **live))
    after = await wait_until(nats_server.url, "cam", lambda totals: "early" in _lines(totals))
    assert {record.run for record in before.records} == {record.run for record in after.records}
    assert {record.epoch for record in after.records} == {3}
    covered = after.covered_s
    assert all(end <= start for (_, end), (start, _) in pairwise(covered))


def _lines(totals: Totals) -> set[str]:
    return {crossing.line_id for crossing in totals.crossings.values()}


async def test_a_clip_in_a_loop_is_counted_in_phase_with_the_clock(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.5)])
    await control_double.assign(assignment("cam", str(loop), epoch=1, playback=cameras_pb2.PLAYBACK_LOOP))
    totals = await wait_until(nats_server.url, "cam", lambda totals: totals.in_out[1] >= 3)
    phases = [(c.t.seconds + c.t.nanos / 1e9) % 2.0 for c in totals.crossings.values()]
    # Equal to the microsecond where no frame is dropped; a busy machine drops some, and boxes are as coarse as pixels.
    assert max(phases) - min(phases) < 0.1
    assert abs(sum(phases) / len(phases) - 0.75) < 0.1


async def test_a_new_epoch_hands_the_camera_over_in_its_first_record_only(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.0)])
    await control_double.assign(assignment("cam", str(loop), epoch=1, playback=cameras_pb2.PLAYBACK_LOOP))
    await wait_until(nats_server.url, "cam", lambda totals: totals.in_out[1] >= 1)
    await control_double.assign(assignment("cam", str(loop), epoch=2, playback=cameras_pb2.PLAYBACK_LOOP))
    totals = await wait_until(
        nats_server.url, "cam", lambda totals: sum(1 for record in totals.records if record.epoch == 2) >= 4
    )
    for epoch in (1, 2):
        records = [record for record in totals.records if record.epoch == epoch]
        assert [record.HasField("hand_over_at") for record in records] == [True] + [False] * (len(records) - 1)


async def test_one_bad_camera_says_what_is_wrong_and_the_others_go_on(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, clip: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.mp4"
    words.write_text("no video at all\n" * 100)
    truncated = cut_off(clip, tmp_path / "truncated.mp4")
    live = {"epoch": 1, "playback": cameras_pb2.PLAYBACK_LIVE}
    await control_double.assign(
        assignment("words", str(words)),
        assignment("missing", str(tmp_path / "missing.mp4")),
        assignment("truncated", str(truncated)),
        assignment("nobody", "rtsp://user:secret-word@127.0.0.1:9/cam", **live),
        assignment("scheme", "gopher://host/cam", **live),
        assignment("model", str(clip), model="no-such-model"),
        assignment("good", str(clip)),
    )
    await control_double.wait_for_state("good", cameras_pb2.OBSERVED_STATE_FINISHED)
    await wait_for_totals(nats_server.url, "good", TRUE_IN_OUT)
    expected = {
        "words": "not_video",
        "missing": "not_found",
        "truncated": "truncated",
        "nobody": "unreachable",
        "scheme": "invalid_argument",
        "model": "invalid_argument",
    }
    for camera_id, code in expected.items():
        status = await control_double.wait_for(camera_id, lambda status: bool(status.error.code))
        assert status.error.code == code, camera_id
        assert status.error.message
        assert status.error.hint
    everything = worker.log + str(control_double.reports)
    assert "secret-word" not in everything


async def test_the_worker_stops_within_five_seconds_and_decides_what_is_open(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.0)])
    await control_double.assign(assignment("cam", str(loop), epoch=1, playback=cameras_pb2.PLAYBACK_LOOP))
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_RUNNING)
    took_s = await worker.stop()
    assert worker.process is not None
    assert worker.process.returncode == 0, worker.log
    assert took_s < 5
    assert "Traceback" not in worker.log


async def test_statuses_boxes_and_pictures_are_on_the_bus(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.0)])
    await control_double.assign(assignment("cam", str(loop), epoch=1, playback=cameras_pb2.PLAYBACK_LOOP))
    client = await nats.connect(nats_server.url)
    try:
        live = await client.subscribe(bus.live_subject("cam"))
        previews = await client.subscribe(bus.preview_subject("cam"))
        boxes = events_pb2.LiveFrame.FromString((await live.next_msg(20)).data)
        assert (boxes.width, boxes.height) == (320, 240)
        with pytest.raises(nats.errors.TimeoutError):  # nobody has said that he watches
            await previews.next_msg(0.5)
        await client.publish(bus.watch_subject("cam"), b"")
        preview = events_pb2.PreviewFrame.FromString((await previews.next_msg(10)).data)
        assert preview.jpeg[:2] == b"\xff\xd8"
        assert (preview.width, preview.height, preview.source_width) == (320, 240, 320)
        last = await client.jetstream().get_last_msg(bus.STATUS, bus.status_subject("cam"))
        assert b"cam" in (last.data or b"")
    finally:
        await client.close()


async def test_the_worker_counts_on_while_the_control_plane_is_away(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.0)])
    await control_double.assign(assignment("cam", str(loop), epoch=1, playback=cameras_pb2.PLAYBACK_LOOP))
    before = await wait_until(nats_server.url, "cam", lambda totals: totals.in_out[1] >= 1)
    await control_double.stop()
    await wait_until(nats_server.url, "cam", lambda totals: totals.in_out[1] >= before.in_out[1] + 2)
    control_double.reports.clear()
    await control_double.start()
    status = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_RUNNING)
    assert status.epoch == 1
    totals = await published(nats_server.url, "cam")
    assert len({record.run for record in totals.records}) == 1


async def test_a_full_spool_makes_files_wait_and_live_cameras_say_so_and_loses_nothing(
    tmp_path: Path, nats_server: NatsServer, control_double: ControlDouble, blob_triton: TritonServer
) -> None:
    worker = worker_process(
        tmp_path / "worker",
        nats_server.url,
        control_double.address,
        blob_triton.grpc,
        COUNTLINE_SPOOL_MAX_BYTES="24576",
    )
    long_clip = render(tmp_path / "long.mp4", [Pass(index % 3 != 0, index % 3) for index in range(60)])
    loop = render(tmp_path / "loop.mp4", [Pass(True, 0, 1.0)])
    await worker.start()
    try:
        await control_double.wait_for_report()
        await nats_server.kill()
        live = assignment("live", str(loop), epoch=1, playback=cameras_pb2.PLAYBACK_LOOP)
        await control_double.assign(live, assignment("file", str(long_clip)))
        for camera_id in ("file", "live"):
            full = await control_double.wait_for_state(camera_id, cameras_pb2.OBSERVED_STATE_FAILED)
            assert full.error.code == "spool_full"
            assert "NATS" in full.error.hint
        assert (tmp_path / "worker" / "spool" / "records" / "spool.db").stat().st_size <= 24576
        await nats_server.start()
        await control_double.wait_for_state("live", cameras_pb2.OBSERVED_STATE_RUNNING)
        await control_double.wait_for_state("file", cameras_pb2.OBSERVED_STATE_FINISHED)
        totals = await wait_until(nats_server.url, "file", lambda t: sum(s.frames for s in t.spans) == 60 * 50)
        assert totals.in_out == (20, 40)
        live_totals = await wait_until(nats_server.url, "live", lambda t: len({r.run for r in t.records}) >= 2)
        gaps = [later - earlier for (_, earlier), (later, _) in pairwise(live_totals.covered_s)]
        assert max(gaps) > 0.2, "the live camera's coverage shows that it was paused"
    finally:
        await worker.stop()


@pytest.mark.slow
@pytest.mark.leaks
@pytest.mark.timeout(rounds(400, 2400))
async def test_the_memory_of_a_worker_stays_flat_over_thousands_of_frames(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    passes = rounds(80, 300)  # of fifty frames each
    long_clip = render(tmp_path / "long.mp4", [Pass(index % 3 != 0, index % 3) for index in range(passes)])
    await worker.stop()
    worker.command = COUNTLINE  # whose process is the worker's own
    await worker.start()
    await control_double.assign(assignment("cam", str(long_clip)))
    warm, most = 1500, 1500 + rounds(2000, 10_000)
    await control_double.wait_for("cam", lambda status: status.frames_processed > warm, rounds(100, 400))
    assert worker.process is not None
    process = psutil.Process(worker.process.pid)
    before = process.memory_info().rss
    await control_double.wait_for("cam", lambda status: status.frames_processed > most, rounds(170, 1800))
    # Beside other tests the allocator keeps some MiB more or less, which weighs more in a short run.
    assert process.memory_info().rss < (1 + rounds(10, 5) / 100) * before

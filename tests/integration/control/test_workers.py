"""Workers on real streams: which cameras they get, when cameras move, and under which epochs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from tests.fixtures.control.fake_workers import (
    LONG_LEASE_S,
    REPORT_PERIOD_S,
    WAIT_S,
    FakeWorker,
    a_line,
    create_camera,
    eventually,
    status_of,
    working,
)

from countline.v1 import cameras_pb2, workers_pb2
from countline.v1.cameras_pb2 import Camera, CameraObservation, CameraSpec
from countline.v1.workers_pb2 import ConnectRequest
from countline_common.errors import ConflictError
from countline_common.grpc.errors import from_rpc_error

from .conftest import LEASE_S, Control


@pytest.fixture
async def control(control_dsn: str, start_control) -> Control:
    """All services. No lease runs out in the tests that use it."""
    return await start_control(control_dsn, lease_s=LONG_LEASE_S)


@pytest.fixture
async def short_lease(control_dsn: str, start_control) -> Control:
    """All services, with leases of `LEASE_S`."""
    return await start_control(control_dsn)


async def test_a_new_camera_reaches_the_worker_at_once_with_credentials_and_time_zone(control: Control) -> None:
    async with working(control) as worker:
        assert worker.epochs == {}
        created_at = time.monotonic()
        await create_camera(control, "door")
        await worker.until(lambda w: "door" in w.epochs)
        assert time.monotonic() - created_at < LONG_LEASE_S / 2
        (assignment,) = worker.received[-1].assignments
        assert assignment.camera.stream_url == "rtsp://joe:secret@camera.invalid/live"
        assert assignment.time_zone == "Europe/Berlin"
        assert assignment.epoch == 1
        assert worker.received[-1].lease.ToSeconds() == int(LONG_LEASE_S)


async def test_what_a_worker_says_is_the_status_of_the_camera(control: Control) -> None:
    await create_camera(control, "door")
    await eventually(lambda: _has_error(control, "door", "no_worker"))
    async with working(control) as worker:
        await eventually(lambda: _is(control, "door", cameras_pb2.OBSERVED_STATE_RUNNING))
        failed = CameraObservation(state=cameras_pb2.OBSERVED_STATE_FAILED)
        failed.error.code, failed.error.message = "unauthorized", "rtsp://joe:secret@camera.invalid/live says 401"
        worker.states["door"] = failed
        await eventually(lambda: _is(control, "door", cameras_pb2.OBSERVED_STATE_FAILED))
        status = await status_of(control, "door")
        assert status.error.message == "rtsp://joe:***@camera.invalid/live says 401"
        assert (status.worker_id, status.epoch) == ("worker-1", 1)


async def _is(control: Control, camera_id: str, state: int) -> bool:
    return (await status_of(control, camera_id)).state == state


async def test_a_changed_line_reaches_the_worker_under_the_same_epoch(control: Control) -> None:
    await create_camera(control, "door")
    async with working(control) as worker:
        camera = Camera(camera_id="door", spec=CameraSpec(lines=[a_line(x=0.3)]))
        request = cameras_pb2.UpdateCameraRequest(camera=camera)
        await control.caller("admin").cameras.UpdateCamera(request)
        await worker.until(lambda w: w.received[-1].assignments[0].camera.spec.lines[0].version == 2)
        assert worker.epochs == {"door": 1}


async def test_a_deleted_or_paused_camera_is_taken_away_and_comes_back_with_a_greater_epoch(control: Control) -> None:
    await create_camera(control, "door")
    async with working(control) as worker:
        admin = control.caller("admin").cameras
        paused = Camera(camera_id="door", status=cameras_pb2.CAMERA_STATUS_PAUSED)
        answer = await admin.UpdateCamera(cameras_pb2.UpdateCameraRequest(camera=paused))
        await worker.until(lambda w: w.epochs == {})
        assert not answer.camera.HasField("observed")
        await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
        await create_camera(control, "door")
        await worker.until(lambda w: w.epochs == {"door": 2})


async def test_a_worker_that_connects_again_in_time_keeps_its_cameras_and_epochs(short_lease: Control) -> None:
    await create_camera(short_lease, "door")
    async with working(short_lease):
        pass
    async with working(short_lease) as again:
        assert again.epochs == {"door": 1}
        await asyncio.sleep(LEASE_S)  # longer than one lease: reports must have renewed it
        assert again.epochs == {"door": 1}


async def test_a_new_process_under_the_same_name_gets_the_cameras_at_once_with_new_epochs(control: Control) -> None:
    await create_camera(control, "door")
    async with working(control, instance="a") as old:
        started = time.monotonic()
        async with working(control, instance="b") as new:
            await new.until(lambda w: w.epochs == {"door": 2})
            assert time.monotonic() - started < LONG_LEASE_S / 2
            await old.until(lambda w: w.error is not None)
            assert isinstance(from_rpc_error(old.error), ConflictError)


async def test_a_process_that_was_replaced_is_refused_and_asked_to_take_another_name(control: Control) -> None:
    async with working(control, instance="a"), working(control, instance="b"):
        late = FakeWorker(control, "worker-1", "a", 4)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await late.until(lambda w: bool(w.received))
        assert "COUNTLINE_WORKER_NAME" in from_rpc_error(caught.value).hint


async def test_cameras_of_a_worker_that_falls_silent_move_when_its_lease_runs_out(short_lease: Control) -> None:
    await create_camera(short_lease, "door")
    async with working(short_lease, "worker-1") as first, working(short_lease, "worker-2") as second:
        assert first.epochs == {"door": 1}
        first.silent = True
        silent_since = time.monotonic()
        await second.until(lambda w: w.epochs == {"door": 2})
        assert LEASE_S - REPORT_PERIOD_S - 0.1 < time.monotonic() - silent_since < LEASE_S + 10
        await first.until(lambda w: w.epochs == {})


async def test_cameras_of_a_worker_that_says_goodbye_move_at_once(control: Control) -> None:
    await create_camera(control, "door")
    async with working(control, "worker-1") as first, working(control, "worker-2") as second:
        assert first.epochs == {"door": 1}
        left_at = time.monotonic()
        await first.leave()
        await second.until(lambda w: w.epochs == {"door": 2})
        assert time.monotonic() - left_at < LONG_LEASE_S / 2


async def test_a_camera_waits_for_its_only_worker_and_goes_on_under_its_epoch(short_lease: Control) -> None:
    """No other worker could count meanwhile, so there is nothing to fence."""
    await create_camera(short_lease, "door")
    async with working(short_lease):
        pass
    await eventually(lambda: _has_error(short_lease, "door", "worker_offline"))
    async with working(short_lease) as again:
        assert again.epochs == {"door": 1}


async def _has_error(control: Control, camera_id: str, code: str) -> bool:
    return (await status_of(control, camera_id)).error.code == code


async def test_cameras_are_shared_by_capacity_and_what_is_left_over_says_why(control: Control) -> None:
    async with working(control, "big", capacity=2) as big, working(control, "small", capacity=1) as small:
        for i in range(4):
            await create_camera(control, f"cam-{i}")
        await big.until(lambda w: len(w.epochs) == 2)
        await small.until(lambda w: len(w.epochs) == 1)
        left_over = {f"cam-{i}" for i in range(4)} - {*big.epochs, *small.epochs}
        assert (await status_of(control, left_over.pop())).error.code == "no_capacity"


async def test_a_file_has_epoch_0_and_is_not_played_again_after_its_end(control: Control) -> None:
    await create_camera(control, "clip", stream_url="file:///clips/a.mp4", playback=cameras_pb2.PLAYBACK_FAST)
    async with working(control) as worker:
        assert worker.epochs == {"clip": 0}
        await eventually(lambda: _is(control, "clip", cameras_pb2.OBSERVED_STATE_RUNNING))
        worker.states["clip"] = CameraObservation(state=cameras_pb2.OBSERVED_STATE_FINISHED, progress=1.0)
        await worker.until(lambda w: w.epochs == {})
    async with working(control, instance="b") as again:
        assert again.epochs == {}
        status = await status_of(control, "clip")
        assert (status.state, status.progress) == (cameras_pb2.OBSERVED_STATE_FINISHED, 1.0)
        changed = Camera(camera_id="clip", spec=CameraSpec(lines=[a_line(x=0.2)]))
        await control.caller("admin").cameras.UpdateCamera(cameras_pb2.UpdateCameraRequest(camera=changed))
        await again.until(lambda w: w.epochs == {"clip": 0})


async def test_a_file_whose_worker_dies_in_the_middle_is_played_again_with_epoch_0(control: Control) -> None:
    await create_camera(control, "clip", stream_url="file:///clips/a.mp4", playback=cameras_pb2.PLAYBACK_FAST)
    async with working(control, instance="a") as worker:
        assert worker.epochs == {"clip": 0}
    async with working(control, instance="b") as again:
        await again.until(lambda w: w.epochs == {"clip": 0})


async def test_epochs_and_finished_files_outlive_the_control_plane(control_dsn: str, start_control) -> None:
    first = await start_control(control_dsn)
    await create_camera(first, "door")
    await create_camera(first, "clip", stream_url="file:///clips/a.mp4", playback=cameras_pb2.PLAYBACK_FAST)
    async with working(first) as worker:
        await eventually(lambda: _is(first, "clip", cameras_pb2.OBSERVED_STATE_RUNNING))
        worker.states["clip"] = CameraObservation(state=cameras_pb2.OBSERVED_STATE_FINISHED)
        await worker.until(lambda w: w.epochs == {"door": 1})
        await first.plane.__aexit__()
        await worker.until(lambda w: w.error is not None)
        assert worker.error.code() == grpc.StatusCode.UNAVAILABLE
    second = await start_control(control_dsn)
    async with working(second) as worker:
        assert worker.epochs == {"door": 1}
    async with working(second, instance="b") as worker:
        await worker.until(lambda w: w.epochs == {"door": 2})


async def test_workers_are_listed_with_what_they_hold(control: Control) -> None:
    await create_camera(control, "door")
    viewer = control.caller("viewer").workers
    async with working(control) as worker:
        (listed,) = (await viewer.ListWorkers(workers_pb2.ListWorkersRequest())).workers
        assert (listed.worker_id, list(listed.camera_ids), listed.capacity) == ("worker-1", ["door"], 4)
        assert listed.state == workers_pb2.WORKER_STATE_ONLINE
        await worker.leave()
    (listed,) = (await viewer.ListWorkers(workers_pb2.ListWorkersRequest())).workers
    assert listed.state == workers_pb2.WORKER_STATE_OFFLINE


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("worker_id", ConnectRequest(worker_id="no id!", instance="a", capacity=1)),
        ("instance", ConnectRequest(worker_id="w", instance="", capacity=1)),
        ("capacity", ConnectRequest(worker_id="w", instance="a", capacity=-1)),
    ],
)
async def test_a_worker_that_does_not_say_who_it_is_is_refused(
    control: Control, field: str, request_: ConnectRequest
) -> None:
    async def requests() -> AsyncIterator[ConnectRequest]:
        yield request_

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in control.worker(request_.worker_id).workers.Connect(requests()):
            pass
    assert [problem.field for problem in from_rpc_error(caught.value).fields] == [field]


@pytest.mark.parametrize("field", ["backend", "version", "instance", "worker_id"])
async def test_a_worker_that_sends_a_nul_is_refused_and_the_others_go_on(control: Control, field: str) -> None:
    """The database refused the row, each tick failed, and no camera was assigned again."""
    values = {"worker_id": "worker-9", "instance": "a", "backend": "b", "version": "1", field: "a\0b"}

    async def requests() -> AsyncIterator[ConnectRequest]:
        yield ConnectRequest(**values, capacity=1)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in control.worker("worker-9").workers.Connect(requests()):
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [problem.field for problem in from_rpc_error(caught.value).fields] == [field]
    await create_camera(control, "door")
    async with working(control) as worker:
        await worker.until(lambda w: set(w.epochs) == {"door"})


async def test_a_nul_in_a_later_report_ends_the_stream_of_this_worker_alone(control: Control) -> None:
    good = ConnectRequest(worker_id="worker-9", instance="a", capacity=1)
    bad = ConnectRequest(worker_id="worker-9", instance="a", capacity=1, version="\0")

    async def requests() -> AsyncIterator[ConnectRequest]:
        yield good
        yield bad
        await asyncio.sleep(WAIT_S)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in control.worker("worker-9").workers.Connect(requests()):
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_row_that_the_database_refuses_stops_no_other_worker(control: Control) -> None:
    """As a row of an older release can be; the edge lets none through."""
    async with working(control, "worker-1") as first:
        schedule = control.plane._observations.schedule
        record = schedule._fleet.registry.record("worker-1")
        record.version = "\0"
        schedule._rows.changed("worker-1")
        await create_camera(control, "door")
        async with working(control, "worker-2"):
            await first.until(lambda w: set(w.epochs) == {"door"})
            schedule._rows.changed("worker-1")
            await create_camera(control, "hall")
            await asyncio.wait_for(_both_assigned(control), WAIT_S)


async def _both_assigned(control: Control) -> None:
    workers = control.caller("admin").workers
    while True:
        listed = await workers.ListWorkers(workers_pb2.ListWorkersRequest())
        if {camera for worker in listed.workers for camera in worker.camera_ids} == {"door", "hall"}:
            return
        await asyncio.sleep(0.05)


async def test_a_worker_cannot_report_under_the_name_of_another(control: Control) -> None:
    """It would be sent the other one's cameras, with their passwords."""
    await create_camera(control, "door")
    async with working(control, "worker-1") as real:
        await real.until(lambda w: set(w.epochs) == {"door"})

        async def requests() -> AsyncIterator[ConnectRequest]:
            yield ConnectRequest(worker_id="worker-1", instance="z", capacity=9)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in control.worker("worker-2").workers.Connect(requests()):
                pass
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert real.error is None
        assert set(real.epochs) == {"door"}


async def test_a_malformed_request_is_an_error_of_the_caller(control: Control) -> None:
    channel = control.channels["workers"]
    call = channel.unary_unary("/countline.v1.WorkerService/ListWorkers")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff", metadata=(("authorization", f"Bearer {control.token('worker:read')}"),), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stored_line_whose_picture_turns_gets_a_new_version_and_a_warning(control: Control) -> None:
    admin = control.caller("admin").cameras
    gate = a_line()
    await create_camera(control, "door", lines=[gate])

    async def stored() -> Camera:
        return (await admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id="door"))).camera

    async def until(holds: Callable[[Camera], bool]) -> Camera:
        async def now_holds() -> bool:
            return holds(await stored())

        await eventually(now_holds)
        return await stored()

    def versions(worker: FakeWorker) -> list[int]:
        return [line.version for item in worker.received[-1].assignments for line in item.camera.spec.lines]

    def shows(**picture: object) -> CameraObservation:
        return CameraObservation(state=cameras_pb2.OBSERVED_STATE_RUNNING, **picture)

    async with working(control) as worker:
        worker.states["door"] = shows(width=640, height=360)
        seen = await until(lambda camera: camera.HasField("picture"))
        assert (seen.picture.width, seen.picture.height, seen.revision, seen.spec.lines[0].version) == (640, 360, 1, 1)
        worker.states["door"] = shows(width=360, height=640, orientation="clockwise")
        turned = await until(lambda camera: camera.spec.lines[0].version == 2)
        await worker.until(lambda worker: versions(worker) == [2])
        assert worker.received[-1].assignments[0].camera.picture.orientation == "clockwise"
        assert turned.revision == 2
        (warning,) = turned.observed.warnings
        assert (warning.code, "drawn on 640x360" in warning.message) == ("picture_changed", True)
        redrawn = Camera(camera_id="door", spec=CameraSpec(lines=[gate]))
        await admin.UpdateCamera(cameras_pb2.UpdateCameraRequest(camera=redrawn))
        found = await stored()
        assert not found.observed.warnings
        assert found.spec.lines[0].version == 2

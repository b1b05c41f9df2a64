"""Cordons and drains on real streams: what moves, what stays, and what outlives processes that end."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.fake_workers import (
    LONG_LEASE_S,
    Control,
    FakeWorker,
    create_camera,
    eventually,
    working,
)
from tests.fixtures.control.shell import Shell

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import CameraObservation
from countline.v1.workers_pb2 import (
    CORDON_STATE_CORDONED,
    CORDON_STATE_DRAINED,
    CORDON_STATE_DRAINING,
    CordonWorkerRequest,
    DrainWorkerRequest,
    GetPlacementRequest,
    GetWorkerRequest,
    GetWorkerResponse,
    UncordonWorkerRequest,
)

CAMERAS = ("door", "gate", "hall")


@pytest.fixture
async def control(control_dsn: str, start_control: Callable, tmp_path: Path) -> Control:
    """All services, with the admin who logs in. No lease runs out."""
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    return await start_control(control_dsn, lease_s=LONG_LEASE_S, admin_password_file=tmp_path / "first-password")


@asynccontextmanager
async def busy_and_idle(control: Control, capacity: int = 4) -> AsyncIterator[tuple[FakeWorker, FakeWorker]]:
    """`worker-1` with all cameras, and `worker-2`, which has just joined."""
    for camera_id in CAMERAS:
        await create_camera(control, camera_id)
    async with working(control, "worker-1") as busy:
        await busy.until(lambda w: len(w.epochs) == len(CAMERAS))
        async with working(control, "worker-2", capacity=capacity) as idle:
            yield busy, idle


async def shown(control: Control, worker_id: str = "worker-1") -> GetWorkerResponse:
    return await control.caller("admin").workers.GetWorker(GetWorkerRequest(worker_id=worker_id))


async def is_in(control: Control, state: int, worker_id: str = "worker-1") -> bool:
    return (await shown(control, worker_id)).worker.cordon.state == state


async def drain(control: Control, worker_id: str = "worker-1", **options: Any) -> None:
    await control.caller("admin").workers.DrainWorker(DrainWorkerRequest(worker_id=worker_id, **options))


def events_of(dsn: str) -> list[str]:
    """The events of workers in the outbox."""
    with psycopg.connect(dsn) as connection:
        query = "SELECT subject FROM workers.outbox WHERE subject LIKE 'countline.domain.%' ORDER BY outbox_id"
        return [subject.removeprefix("countline.domain.worker.") for (subject,) in connection.execute(query)]


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_drain_moves_every_camera_once_and_an_uncordon_moves_none(
    control: Control, control_dsn: str, at_once: bool
) -> None:
    async with busy_and_idle(control) as (busy, idle):
        await drain(control, reason="new disk", at_once=at_once)
        await idle.until(lambda w: w.epochs == dict.fromkeys(CAMERAS, 2))
        await busy.until(lambda w: w.epochs == {})
        await eventually(lambda: is_in(control, CORDON_STATE_DRAINED))
        answer = await shown(control)
        assert (answer.worker.cordon.reason, answer.worker.cordon.by) == ("new disk", "admin")
        assert sorted(move.camera_id for move in answer.moves) == sorted(CAMERAS)
        if not at_once:
            assert all(move.HasField("counting_at") for move in answer.moves[:-1]), "one after another"
        await eventually(lambda: all_counted(control))
        assert all(0 <= move.lost_s < 20 for move in (await shown(control)).moves)
        answer = await control.caller("admin").workers.UncordonWorker(UncordonWorkerRequest(worker_id="worker-1"))
        assert not answer.worker.HasField("cordon")
        await create_camera(control, "yard")
        await busy.until(lambda w: w.epochs == {"yard": 1})
        assert idle.epochs == dict.fromkeys(CAMERAS, 2)
    assert events_of(control_dsn) == ["draining", "drained", "uncordoned"]


async def all_counted(control: Control) -> bool:
    return all(move.HasField("counting_at") for move in (await shown(control)).moves)


async def test_cameras_without_room_elsewhere_stay_and_move_when_a_worker_joins(control: Control) -> None:
    async with busy_and_idle(control, capacity=1) as (busy, _):
        await drain(control, at_once=True)
        await busy.until(lambda w: len(w.epochs) == 2)
        await eventually(lambda: has_stuck(control, 2))
        assert set(busy.epochs.values()) == {1}, "they are counted under the epoch that they had"
        async with working(control, "worker-3") as third:
            await third.until(lambda w: len(w.epochs) == 2)
            await eventually(lambda: is_in(control, CORDON_STATE_DRAINED))


async def has_stuck(control: Control, count: int) -> bool:
    return sum(each.is_stuck for each in (await shown(control)).cameras) == count


async def test_a_worker_that_is_killed_in_the_middle_of_its_drain_loses_the_rest_too(
    control_dsn: str, start_control: Callable
) -> None:
    control = await start_control(control_dsn)
    async with busy_and_idle(control) as (busy, idle):
        starting = CameraObservation(state=cameras_pb2.OBSERVED_STATE_STARTING)
        idle.states = dict.fromkeys(CAMERAS, starting)
        await drain(control)
        await idle.until(lambda w: w.epochs == {"door": 2})
        await busy.vanish()
        await idle.until(lambda w: w.epochs == dict.fromkeys(CAMERAS, 2))
        await eventually(lambda: is_in(control, CORDON_STATE_DRAINED))
        async with working(control, "worker-1", instance="b") as again:
            assert again.epochs == {}
            assert await is_in(control, CORDON_STATE_DRAINED), "a new process of the worker is still drained"


async def test_cordons_outlive_the_control_plane_and_a_drain_goes_on(control_dsn: str, start_control: Callable) -> None:
    first = await start_control(control_dsn, lease_s=LONG_LEASE_S)
    async with busy_and_idle(first, capacity=1):
        await drain(first, reason="new disk", at_once=True)
        await eventually(lambda: has_stuck(first, 2))
        await first.caller("admin").workers.CordonWorker(CordonWorkerRequest(worker_id="worker-2"))
        await first.plane.__aexit__()
    second = await start_control(control_dsn, lease_s=LONG_LEASE_S)
    async with working(second, "worker-1") as busy, working(second, "worker-2", capacity=4) as idle:
        assert (len(busy.epochs), len(idle.epochs)) == (2, 1)
        assert await is_in(second, CORDON_STATE_DRAINING)
        assert await is_in(second, CORDON_STATE_CORDONED, "worker-2")
        assert len((await shown(second)).moves) == 1
        await second.caller("admin").workers.UncordonWorker(UncordonWorkerRequest(worker_id="worker-2"))
        await idle.until(lambda w: len(w.epochs) == 3)
        await eventually(lambda: is_in(second, CORDON_STATE_DRAINED))


async def test_the_same_order_twice_changes_nothing_and_an_unknown_worker_is_an_error(
    control: Control, control_dsn: str
) -> None:
    admin = control.caller("admin").workers
    async with working(control, "worker-1"):
        for _ in range(2):
            await admin.CordonWorker(CordonWorkerRequest(worker_id="worker-1", reason=" heat "))
        await admin.UncordonWorker(UncordonWorkerRequest(worker_id="worker-1"))
        await admin.UncordonWorker(UncordonWorkerRequest(worker_id="worker-1"))
    assert events_of(control_dsn) == ["cordoned", "uncordoned"]
    for call in (
        admin.CordonWorker(CordonWorkerRequest(worker_id="ghost")),
        admin.DrainWorker(DrainWorkerRequest(worker_id="ghost")),
        admin.UncordonWorker(UncordonWorkerRequest(worker_id="ghost")),
        admin.GetWorker(GetWorkerRequest(worker_id="ghost")),
        admin.GetPlacement(GetPlacementRequest(camera_id="ghost")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.CordonWorker(CordonWorkerRequest(worker_id="worker-1", reason="x" * 201))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_commands_drain_a_worker_and_explain_where_its_cameras_went(control: Control, tmp_path: Path) -> None:
    shell = Shell(control.plane.addresses, tmp_path / "home")
    await shell.ok("sites", "list")  # the first command starts slowly: no worker should wait for it
    async with busy_and_idle(control, capacity=3):
        assert "keeps its cameras (3)" in await shell.ok("workers", "cordon", "worker-1", "--reason", "heat")
        assert "online, cordoned" in await shell.ok("workers", "list")
        drained = await shell.ok("workers", "drain", "worker-1", "--reason", "new disk", "--timeout", "40")
        assert "3 cameras moved" in drained
        text = await shell.ok("workers", "show", "worker-1")
        assert "drained by admin" in text
        assert "new disk" in text
        why = await shell.ok("workers", "why", "door")
        assert "door is held by worker-2" in why
        assert "worker-1 was drained" in why
        assert "fence:" in why
        placement = await shell.json("workers", "why", "door")
        assert [each["verdict"] for each in placement["candidates"]] == ["holds", "cordoned"]
        code, _, err = await shell.run("workers", "drain", "worker-2", "--timeout", "20")
        assert (code, "3 cameras of worker-2 have nowhere to go" in err) == (1, True)
        assert (await shell.json("workers", "uncordon", "worker-2")).get("cordon") is None
        await control.caller("admin").cameras.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
        code, _, err = await shell.run("workers", "why", "door")
        assert (code, "there is no camera 'door'" in err) == (1, True)


async def test_a_camera_that_waits_or_is_not_wanted_says_so(control: Control) -> None:
    viewer = control.caller("admin").workers
    await create_camera(control, "door")
    asked = GetPlacementRequest(camera_id="door")
    await eventually(lambda: is_known(control))
    placement = (await viewer.GetPlacement(asked)).placement
    assert (placement.worker_id, placement.observed.error.code, len(placement.candidates)) == ("", "no_worker", 0)
    paused = cameras_pb2.Camera(camera_id="door", status=cameras_pb2.CAMERA_STATUS_PAUSED)
    await control.caller("admin").cameras.UpdateCamera(cameras_pb2.UpdateCameraRequest(camera=paused))
    await eventually(lambda: is_not_wanted(control, "paused"))


async def is_known(control: Control) -> bool:
    try:
        await control.caller("admin").workers.GetPlacement(GetPlacementRequest(camera_id="door"))
    except grpc.aio.AioRpcError:
        return False
    return True


async def is_not_wanted(control: Control, reason: str) -> bool:
    answer = await control.caller("admin").workers.GetPlacement(GetPlacementRequest(camera_id="door"))
    return answer.placement.not_wanted == reason

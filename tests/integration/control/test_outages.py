"""The services while PostgreSQL is dead, and after it has returned."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.fixtures.control.fake_workers import create_camera, working
from tests.fixtures.control.schemas import control_database
from tests.fixtures.postgres import PostgresServer

from countline.v1 import cameras_pb2, workers_pb2
from countline.v1.cameras_pb2 import Site
from countline_common.errors import UnavailableError
from countline_common.grpc.errors import from_rpc_error
from countline_control.settings import ControlSettings

from .conftest import LEASE_S, Control, _Stub


@pytest.fixture
async def frail(own_postgres: PostgresServer, start_control) -> AsyncIterator[Control]:
    """A control-plane on a PostgreSQL that may be killed."""
    return await start_control(await control_database(own_postgres))


async def _health(control: Control, name: str, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(control.channels[name])
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)).status


async def _until_health(control: Control, status: int) -> None:
    deadline = time.monotonic() + 20
    while await _health(control, "cameras", "countline.v1.CameraService") != status:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_a_killed_database_means_unavailable_with_a_hint_and_heals_by_itself(
    frail: Control, own_postgres: PostgresServer
) -> None:
    admin = frail.caller("admin").cameras
    await create_camera(frail, "door")
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    await _until_health(frail, serving)
    own_postgres.kill()
    for call in (
        admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id="door")),
        admin.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id="x", time_zone="UTC"))),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        error = from_rpc_error(caught.value)
        assert isinstance(error, UnavailableError)
        assert (error.message, error.hint) == ("the database does not answer", "try again in some seconds")
    await _until_health(frail, not_serving)
    own_postgres.start()
    await _until_health(frail, serving)
    assert (await admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id="door"))).camera.revision == 1
    await admin.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id="x", time_zone="UTC")))


async def get_door(admin: _Stub) -> cameras_pb2.Camera:
    return (await admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id="door"))).camera


async def test_a_read_waits_out_a_short_absence(frail: Control, own_postgres: PostgresServer) -> None:
    admin = frail.caller("admin").cameras
    await create_camera(frail, "door")
    own_postgres.kill()
    reading = asyncio.create_task(get_door(admin))
    await asyncio.to_thread(own_postgres.start)
    assert (await reading).camera_id == "door"


async def test_workers_keep_streams_cameras_and_epochs_through_a_restart(
    frail: Control, own_postgres: PostgresServer
) -> None:
    await create_camera(frail, "door")
    async with working(frail, "worker-1") as first, working(frail, "worker-2") as second:
        assert first.epochs == {"door": 1}
        own_postgres.kill()
        # A worker's lease expires meanwhile. Without the database no camera moves.
        first.silent = True
        await asyncio.sleep(LEASE_S + 1)
        assert second.epochs == {}
        own_postgres.start()
        first.silent = False
        await _until_health(frail, health_pb2.HealthCheckResponse.SERVING)
        await asyncio.sleep(LEASE_S / 2)
        assert first.epochs == {"door": 1}
        assert second.epochs == {}
        await create_camera(frail, "yard")
        await second.until(lambda w: w.epochs == {"yard": 1})
        listed = await frail.caller("viewer").workers.ListWorkers(workers_pb2.ListWorkersRequest())
        assert [worker.state for worker in listed.workers] == [workers_pb2.WORKER_STATE_ONLINE] * 2


async def test_services_wait_for_a_database_that_is_not_there_yet(
    own_postgres: PostgresServer, start_control, make_settings
) -> None:
    dsn = own_postgres.create_database()
    own_postgres.kill()
    starting = asyncio.create_task(start_control(dsn))
    await asyncio.sleep(1.5)
    assert not starting.done()
    await asyncio.to_thread(own_postgres.start)
    control = await asyncio.wait_for(starting, 30)
    assert isinstance(control.settings, ControlSettings)
    await create_camera(control, "door")

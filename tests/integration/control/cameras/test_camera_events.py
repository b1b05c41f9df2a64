"""The streams of cameras in a real database: written with each change, enough to make every table anew."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import grpc
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraSpec, Line, Point, Site
from countline_control.cameras.events import store as streams
from countline_control.cameras.events.rebuild import ids_after, rebuild
from countline_control.database import Database

PASSWORD = "Pl4nted-M4rker"
URL = f"rtsp://admin:{PASSWORD}@10.0.0.7/live"


@pytest.fixture
def connection(control_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def database(control_dsn: str) -> AsyncIterator[Database]:
    database = Database(control_dsn)
    yield database
    await database.close()


@pytest.fixture
async def admin(control):
    stub = control.caller("admin").cameras
    await stub.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id="lab", time_zone="UTC")))
    return stub


def line(name: str = "gate", y: float = 0.5) -> Line:
    return Line(line_id=name, points=[Point(x=0.1, y=y), Point(x=0.9, y=y)])


async def create(admin, camera_id: str = "door", *lines: Line, url: str = URL) -> Camera:
    camera = Camera(camera_id=camera_id, site_id="lab", name="Door", stream_url=url, spec=CameraSpec(lines=lines))
    return (await admin.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))).camera


async def update(admin, camera: Camera, *paths: str) -> Camera:
    request = cameras_pb2.UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=paths))
    return (await admin.UpdateCamera(request)).camera


def kinds(connection: psycopg.Connection, camera_id: str = "door") -> list[tuple[int, str]]:
    query = "SELECT version, kind FROM cameras.camera_events WHERE camera_id = %s ORDER BY version"
    return connection.execute(query, [camera_id]).fetchall()


async def differences(database: Database) -> dict[str, list]:
    async with database.begin() as connection:
        ids = await ids_after(connection, "", 1000)
        return {each: list((await rebuild(connection, each, write=False)).differences) for each in ids}


async def test_each_change_leaves_its_events_in_order(admin, connection, database) -> None:
    await create(admin, "door", line())
    await update(admin, Camera(camera_id="door", name="Gate", tags=["a"], spec=CameraSpec(lines=[line(y=0.6)])))
    await update(admin, Camera(camera_id="door", status=cameras_pb2.CAMERA_STATUS_PAUSED))
    await update(admin, Camera(camera_id="door", status=cameras_pb2.CAMERA_STATUS_ACTIVE))
    await update(admin, Camera(camera_id="door", name="Gate"))  # changes nothing
    await update(admin, Camera(camera_id="door", stream_url=URL.replace("M4rker", "0ther")))
    await update(admin, Camera(camera_id="door"), "spec.lines")
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
    again = await create(admin, "door", line(y=0.6))
    assert kinds(connection) == [
        *enumerate(("CameraCreated", "LineDrawn", "CameraRenamed", "CameraTagged", "LineChanged"), 1),
        *enumerate(("CameraPaused", "CameraResumed", "StreamAddressChanged", "LineRemoved", "CameraDeleted"), 6),
        *enumerate(("CameraCreated", "LineDrawn"), 11),
    ]
    query = "SELECT change, revision, actor FROM cameras.camera_events ORDER BY version"
    assert connection.execute(query).fetchall() == [
        *[(1, 1, "admin")] * 2,
        *[(3, 2, "admin")] * 3,
        (6, 3, "admin"),
        (7, 4, "admin"),
        (8, 5, "admin"),
        (9, 6, "admin"),
        (10, 6, "admin"),
        *[(11, 1, "admin")] * 2,
    ]
    assert again.spec.lines[0].version == 2, "the stream remembers the versions of the deleted camera"
    assert await differences(database) == {"door": []}


async def test_a_refused_or_only_validated_change_leaves_no_event(admin, connection) -> None:
    camera = Camera(camera_id="door", site_id="lab", name="Door", stream_url=URL)
    await admin.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera, validate_only=True))
    assert kinds(connection) == []
    await create(admin)
    for bad in (Camera(camera_id="door", name="Gate", revision=9), Camera(camera_id="door", stream_url="gopher://x")):
        with pytest.raises(grpc.aio.AioRpcError):
            await update(admin, bad)
    validated = cameras_pb2.UpdateCameraRequest(camera=Camera(camera_id="door", name="Gate"), validate_only=True)
    await admin.UpdateCamera(validated)
    assert kinds(connection) == [(1, "CameraCreated")]


async def test_secrets_are_kept_outside_of_events_and_go_with_their_address(admin, connection) -> None:
    def secrets() -> list[str]:
        return [row[0] for row in connection.execute("SELECT secret_id FROM cameras.secrets").fetchall()]

    await create(admin)
    (first,) = secrets()
    await update(admin, Camera(camera_id="door", stream_url=URL.replace("M4rker", "0ther")))
    (second,) = secrets()
    assert second != first
    await update(admin, Camera(camera_id="door", stream_url="rtsp://10.0.0.7/live"))
    assert secrets() == []
    await update(admin, Camera(camera_id="door", stream_url=URL))
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
    assert secrets() == []
    stored = repr(connection.execute("SELECT data::text, snapshot::text FROM cameras.camera_events").fetchall())
    assert "Pl4nted" not in stored
    assert first in stored
    assert second in stored


async def test_changes_at_one_moment_make_one_stream_without_gaps(admin, connection, database) -> None:
    """And none of them sees a camera without the address that another one has just stored."""
    await create(admin, "door", line())
    urls = [URL, URL.replace("live", "other"), "rtsp://10.0.0.7/live"]
    changes = [
        Camera(camera_id="door", stream_url=urls[i % 3], spec=CameraSpec(lines=[line(y=i / 40)])) for i in range(12)
    ]
    await asyncio.gather(*(update(admin, each) for each in changes))
    versions = [version for version, _ in kinds(connection)]
    assert versions == list(range(1, len(versions) + 1))
    times = connection.execute("SELECT occurred_at FROM cameras.camera_events ORDER BY version").fetchall()
    assert times == sorted(times)
    assert await differences(database) == {"door": []}
    kept = connection.execute(
        "SELECT (secret_id <> '')::int FROM cameras.cameras UNION ALL SELECT count(*) FROM cameras.secrets"
    ).fetchall()
    assert kept[0] == kept[1]


async def test_cameras_that_are_created_and_deleted_at_one_moment_share_one_stream(admin, connection, database) -> None:
    async def come_and_go() -> None:
        try:
            await create(admin, "door", line())
            await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
        except grpc.aio.AioRpcError as error:
            assert error.code() in (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.NOT_FOUND)  # noqa: PT017

    await asyncio.gather(*(come_and_go() for _ in range(8)))
    versions = [version for version, _ in kinds(connection)]
    assert versions == list(range(1, len(versions) + 1))
    assert await differences(database) == {"door": []}


async def test_a_long_stream_has_snapshots_from_which_any_past_state_is_read(
    admin, connection, database, monkeypatch
) -> None:
    monkeypatch.setattr(streams, "SNAPSHOT_EVERY", 10)
    await create(admin, "door", line())
    for i in range(1, 14):
        await update(admin, Camera(camera_id="door", spec=CameraSpec(lines=[line(y=i / 20)])))
    query = "SELECT version FROM cameras.camera_events WHERE snapshot IS NOT NULL"
    assert connection.execute(query).fetchall() == [(10,)]
    connection.execute("UPDATE cameras.camera_events SET kind = 'Unreadable' WHERE version = 5")
    async with database.begin() as opened:
        state = await streams.state_at(opened, "door", 13)  # two events of the creation, and eleven changes
        assert state.camera.spec.lines[0].points[0][1] == 11 / 20
        (found,) = (await rebuild(opened, "door", write=False)).differences
    assert (found.path, "Unreadable" in found.rebuilt) == ("camera_events", True), "a rebuild uses no snapshot"


async def test_a_table_that_was_changed_by_hand_is_found_and_written_anew(admin, connection, database) -> None:
    await create(admin, "door", line())
    await create(admin, "lost", line())
    await create(admin, "fine")
    connection.execute("UPDATE cameras.cameras SET name = 'Hacked', spec = '{}' WHERE camera_id = 'door'")
    connection.execute("UPDATE cameras.geometry_versions SET version = 9 WHERE camera_id = 'door'")
    connection.execute("DELETE FROM cameras.cameras WHERE camera_id = 'lost'")
    found = await differences(database)
    assert {(each.path, each.stored, each.rebuilt) for each in found["door"]} >= {
        ("camera.name", "Hacked", "Door"),
        ("camera.spec.lines[0].line_id", "", "gate"),
        ("versions.line gate.version", "9", "1"),
    }
    assert "camera.name" in [each.path for each in found["lost"]]
    assert found["fine"] == []
    for camera_id in ("door", "lost", "fine"):
        async with database.begin() as opened:
            done = await rebuild(opened, camera_id, write=True)
        assert done.written == (camera_id != "fine")
    assert await differences(database) == {"door": [], "lost": [], "fine": []}
    secret = cameras_pb2.GetCameraRequest(camera_id="lost")
    assert (await admin.GetCamera(secret)).camera.stream_url == "rtsp://admin:***@10.0.0.7/live"


async def test_an_event_that_is_gone_is_named_and_nothing_is_written(admin, connection, database) -> None:
    await create(admin, "door", line())
    connection.execute("DELETE FROM cameras.camera_events WHERE version = 1")
    async with database.begin() as opened:
        done = await rebuild(opened, "door", write=True)
    missing = "the events of the camera are damaged: event 1 is missing"
    assert (done.written, [each.rebuilt for each in done.differences]) == (False, [missing])
    assert (await admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id="door"))).camera.name == "Door"


@pytest.mark.parametrize("condition", ["true", "version > 2", "version = 3"])
async def test_tables_ahead_of_their_events_are_left_as_they_are(admin, connection, database, condition) -> None:
    """To write them deleted the camera where all events were gone, and else gave the version of a line twice."""
    await create(admin, "door", line())
    await update(admin, Camera(camera_id="door", spec=CameraSpec(lines=[line(y=0.6)])))
    connection.execute(f"DELETE FROM cameras.camera_events WHERE {condition}")
    async with database.begin() as opened:
        done = await rebuild(opened, "door", write=True)
    assert (done.written, done.differences[0].path) == (False, "camera_events")
    assert "missing" in done.differences[0].rebuilt
    stored = (await admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id="door"))).camera
    assert (stored.revision, stored.spec.lines[0].version) == (2, 2)


async def test_a_snapshot_that_cannot_be_read_is_named(admin, connection, database) -> None:
    await create(admin, "door", line())
    connection.execute("UPDATE cameras.camera_events SET snapshot = '{}' WHERE version = 2")
    async with database.begin() as opened:
        done = await rebuild(opened, "door", write=True)
    named = "the events of the camera are damaged: the snapshot of event 2 cannot be read"
    assert [each.rebuilt for each in done.differences] == [named]

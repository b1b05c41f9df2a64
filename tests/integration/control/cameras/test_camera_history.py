"""The history of a camera and its past states over gRPC: complete, paged, and within what the caller may see."""

import threading
from collections.abc import Iterator

import grpc
import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import cameras_pb2
from countline.v1.audit_pb2 import AuditRow
from countline.v1.cameras_pb2 import (
    Camera,
    CameraSpec,
    Line,
    ListCameraChangesRequest,
    Point,
    RebuildCamerasRequest,
    Site,
)
from countline_common.access.scopes import Scope
from countline_common.access.vocabulary import Permission
from countline_common.errors import (
    ConflictError,
    CountlineError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)
from countline_common.grpc.errors import from_rpc_error
from countline_common.grpc.paging import next_token
from countline_common.times import to_timestamp
from countline_control.cameras.history import answers
from countline_control.cameras.history.changes import PastChange
from countline_control.cameras.history.messages import change_message

PASSWORD = "Pl4nted-M4rker"
URL = f"rtsp://admin:{PASSWORD}@10.0.0.7/live"
NOON = 1_800_000_000.0


@pytest.fixture
def connection(control_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def admin(control):
    stub = control.caller("super-admin").cameras
    for site_id in ("lab", "yard"):
        await stub.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id=site_id, time_zone="UTC")))
    return stub


def line(y: float = 0.5) -> Line:
    return Line(line_id="gate", points=[Point(x=0.1, y=y), Point(x=0.9, y=y)])


async def create(admin, site_id: str = "lab") -> None:
    spec = CameraSpec(lines=[line()])
    camera = Camera(camera_id="door", site_id=site_id, name=f"Door of {site_id}", stream_url=URL, spec=spec)
    await admin.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))


async def update(admin, **fields: object) -> None:
    camera = Camera(camera_id="door", **fields)
    await admin.UpdateCamera(cameras_pb2.UpdateCameraRequest(camera=camera))


async def delete(admin) -> None:
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))


async def changes(caller, **paging: object) -> cameras_pb2.ListCameraChangesResponse:
    return await caller.ListCameraChanges(ListCameraChangesRequest(camera_id="door", **paging))


async def refused(call) -> CountlineError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def date(connection: psycopg.Connection) -> None:
    """Let the events have happened at noon, and a minute apart."""
    connection.execute("UPDATE cameras.camera_events SET occurred_at = to_timestamp(%s + 60 * (change - 1))", [NOON])


async def at(caller, t: float) -> Camera:
    request = cameras_pb2.GetCameraRequest(camera_id="door", at=to_timestamp(t))
    return (await caller.GetCamera(request)).camera


async def test_the_history_says_who_changed_what_and_what_it_meant_for_counting(admin) -> None:
    await create(admin)
    await update(admin, name="Gate", spec=CameraSpec(lines=[line(0.6)]))
    await update(admin, stream_url=URL.replace("M4rker", "0ther"))
    password, moved, created = (await changes(admin)).changes
    assert [(each.version, each.revision, each.actor) for each in (created, moved, password)] == [
        (1, 1, "super-admin"),
        (3, 2, "super-admin"),
        (5, 3, "super-admin"),
    ]
    assert [(each.kind, each.subject, each.subject_version) for each in created.events] == [
        ("CameraCreated", "", 0),
        ("LineDrawn", "gate", 1),
    ]
    assert [(each.kind, each.subject, each.subject_version) for each in moved.events] == [
        ("CameraRenamed", "", 0),
        ("LineChanged", "gate", 2),
    ]
    assert ("name", '"Door of lab"', '"Gate"') in [(each.path, each.before, each.after) for each in moved.fields]
    assert [(each.effect, each.lost_s) for each in moved.consequences] == [("new_version", 0), ("no_gap", 0)]
    assert [(each.effect, each.lost_s) for each in password.consequences] == [("new_run", 8)]
    assert list(password.fields) == [], "readers see the same address before and after"
    assert "Pl4nted" not in str((await changes(admin)).changes)


async def test_pages_hold_every_change_once(admin) -> None:
    await create(admin)
    for y in range(1, 8):
        await update(admin, spec=CameraSpec(lines=[line(y / 10)]))
    found, token = [], ""
    while True:
        answer = await changes(admin, page_size=3, page_token=token)
        found += answer.changes
        token = answer.next_page_token
        if not token:
            break
    assert found == list((await changes(admin)).changes)
    assert [each.revision for each in found] == [8, 7, 6, 5, 4, 3, 2, 1]
    for bad in ("x", "x" * 99, cameras_pb2.CameraChange.DESCRIPTOR.full_name):
        assert isinstance(await refused(changes(admin, page_token=bad)), InvalidInputError)
    for key in ("-1", "1e3", "9" * 30, "٣"):
        assert isinstance(await refused(changes(admin, page_token=next_token(key, "door"))), InvalidInputError)


async def test_a_camera_is_shown_as_it_was(admin, control, connection) -> None:
    await create(admin)  # events 1 and 2
    await update(admin, location="Lobby", spec=CameraSpec(lines=[line(0.6)]))  # events 3 and 4
    await update(admin, status=cameras_pb2.CAMERA_STATUS_PAUSED)  # event 5
    await delete(admin)  # event 6
    date(connection)
    first, moved, paused = [await at(admin, NOON + t) for t in (0.0, 200.0, 240.0)]
    assert (first.location, first.spec.lines[0].version, first.revision) == ("", 1, 1)
    assert (moved.location, moved.spec.lines[0].version, moved.revision) == ("Lobby", 2, 2)
    assert moved.status == cameras_pb2.CAMERA_STATUS_ACTIVE
    assert paused.status == cameras_pb2.CAMERA_STATUS_PAUSED
    assert not first.HasField("observed")
    secrets = control.caller_with(Permission.CAMERA_READ, Permission.CAMERA_SECRETS).cameras
    assert (await at(secrets, NOON)).stream_url == "rtsp://admin:***@10.0.0.7/live", "no password of the past is kept"
    before = await refused(at(admin, NOON - 1))
    assert isinstance(before, NotFoundError)
    assert "begins at 2027-01-15T08:00:00.000000Z" in before.message
    gone = await refused(at(admin, NOON + 301))
    assert isinstance(gone, NotFoundError)
    assert "was deleted" in gone.message


async def test_what_cannot_be_answered_is_refused(admin) -> None:
    await create(admin)
    full = cameras_pb2.GetCameraRequest(camera_id="door", view=cameras_pb2.CAMERA_VIEW_FULL, at=Timestamp(seconds=1))
    assert [each.field for each in (await refused(admin.GetCamera(full))).fields] == ["view"]
    ghost = ListCameraChangesRequest(camera_id="ghost")
    assert isinstance(await refused(admin.ListCameraChanges(ghost)), NotFoundError)
    past = cameras_pb2.GetCameraRequest(camera_id="ghost", at=Timestamp(seconds=1))
    assert isinstance(await refused(admin.GetCamera(past)), NotFoundError)


async def test_a_damaged_history_is_an_error_that_says_what_to_do(admin, connection) -> None:
    await create(admin)
    connection.execute("UPDATE cameras.camera_events SET kind = 'Unreadable' WHERE version = 2")
    error = await refused(changes(admin))
    assert isinstance(error, ConflictError)
    assert "Unreadable" in error.message
    assert "countline cameras rebuild" in error.hint


@pytest.mark.parametrize("gone", [2, 3, 4])
async def test_a_history_with_a_missing_event_is_an_error_on_every_page(admin, connection, gone: int) -> None:
    """It was shown without the event: another state, and another name of who changed it."""
    await create(admin)  # events 1 and 2
    for y in (0.6, 0.7, 0.8):
        await update(admin, spec=CameraSpec(lines=[line(y)]))
    date(connection)
    connection.execute("DELETE FROM cameras.camera_events WHERE version = %s", [gone])
    for call in (changes(admin), changes(admin, page_size=1), at(admin, NOON + 10_000)):
        error = await refused(call)
        assert isinstance(error, ConflictError)
        assert f"event {gone} is missing" in error.message


async def test_who_may_see_one_site_sees_nothing_of_a_deleted_camera_elsewhere_of_the_same_id(
    admin, control, connection
) -> None:
    await create(admin, "yard")
    await delete(admin)
    await create(admin, "lab")
    date(connection)
    scoped = control.holder(control.scoped_token("viewer", Scope(site_id="lab"))).cameras
    assert len((await changes(admin)).changes) == 3
    (own,) = (await changes(scoped)).changes
    assert "yard" not in str(own)
    assert own.version == 4
    assert isinstance(await refused(at(scoped, NOON)), NotFoundError)
    assert (await at(admin, NOON)).name == "Door of yard"
    await delete(admin)
    assert len((await changes(admin)).changes) == 4, "the history of a deleted camera stays"


async def test_a_rebuild_names_what_differs_and_writes_on_request_only(admin, control, connection) -> None:
    await create(admin)
    connection.execute("UPDATE cameras.cameras SET name = 'Hacked'")
    for write in (False, False, True):
        found = await admin.RebuildCameras(RebuildCamerasRequest(write=write))
        assert (found.cameras, found.events) == (1, 2)
        ((each,),) = (found.differences,)
        assert (each.camera_id, each.path, each.stored, each.rebuilt, each.written) == (
            "door", "camera.name", "Hacked", "Door of lab", write,
        )  # fmt: skip
    assert not (await admin.RebuildCameras(RebuildCamerasRequest())).differences
    payloads = connection.execute("SELECT payload FROM cameras.outbox WHERE subject LIKE '%audit%'").fetchall()
    rows = [row for (each,) in payloads if (row := AuditRow.FromString(each)).method.endswith("RebuildCameras")]
    assert len(rows) == 4, "each rebuild leaves a row"
    (written,) = [row for row in rows if "Hacked" in str(row.changes)]
    assert (written.resource, written.outcome, "Door of lab" in str(written.changes)) == ("cameras", "OK", True)
    changer = control.caller_with(Permission.CAMERA_READ, Permission.CAMERA_WRITE, Permission.CAMERA_DELETE).cameras
    assert isinstance(await refused(changer.RebuildCameras(RebuildCamerasRequest())), PermissionDeniedError)


async def test_a_page_of_a_rebuild_ends_with_many_events(admin, monkeypatch) -> None:
    """A hundred cameras with long histories took longer than a call may."""
    for i in range(3):
        camera = Camera(camera_id=f"c{i}", site_id="lab", name="C", stream_url=URL, spec=CameraSpec(lines=[line()]))
        await admin.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))
    monkeypatch.setattr(answers, "EVENTS_A_PAGE", 3)
    first = await admin.RebuildCameras(RebuildCamerasRequest())
    last = await admin.RebuildCameras(RebuildCamerasRequest(page_token=first.next_page_token))
    assert [(each.cameras, each.events, bool(each.next_page_token)) for each in (first, last)] == [
        (2, 4, True),
        (1, 2, False),
    ]


async def test_a_page_of_changes_is_put_together_beside_the_event_loop(admin, monkeypatch) -> None:
    """A thousand changes of a camera with thirty lines kept every other call waiting for two seconds."""
    threads = []

    def noted(change: PastChange) -> cameras_pb2.CameraChange:
        threads.append(threading.current_thread())
        return change_message(change)

    monkeypatch.setattr(answers, "change_message", noted)
    await create(admin)
    await changes(admin)
    assert len(threads) == 1
    assert threading.current_thread() not in threads


async def test_a_rebuild_goes_through_all_cameras_page_by_page(admin) -> None:
    for i in range(5):
        camera = Camera(camera_id=f"c{i}", site_id="lab", name="C", stream_url=URL)
        await admin.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))
    seen, token = 0, ""
    while True:
        answer = await admin.RebuildCameras(RebuildCamerasRequest(page_size=2, page_token=token))
        seen, token = seen + answer.cameras, answer.next_page_token
        if not token:
            break
    assert seen == 5

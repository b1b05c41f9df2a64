"""Sites and cameras against a real database over real gRPC."""

import asyncio

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraSpec, Line, Point, Site, Zone
from countline_common.access.vocabulary import Permission
from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    CountlineError,
    InvalidInputError,
    NotFoundError,
    StaleRevisionError,
)
from countline_common.grpc.errors import from_rpc_error
from countline_common.times import from_timestamp

from .conftest import Control, _Stub

URL = "rtsp://joe:s3cret@camera.invalid:554/live"
MASKED = "rtsp://joe:***@camera.invalid:554/live"


@pytest.fixture
async def admin(control: Control) -> _Stub:
    stub = control.caller("admin").cameras
    await stub.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id="lab", time_zone="Europe/Berlin")))
    return stub


def a_line(line_id: str = "gate", x: float = 0.5, classes: tuple[str, ...] = ()) -> Line:
    return Line(line_id=line_id, points=[Point(x=x, y=0.1), Point(x=x, y=0.9)], classes=classes)


def a_camera(camera_id: str = "door", stream_url: str = URL, **spec: object) -> Camera:
    return Camera(camera_id=camera_id, site_id="lab", name="Door", stream_url=stream_url, spec=CameraSpec(**spec))


async def create(admin: _Stub, camera: Camera) -> Camera:
    return (await admin.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))).camera


async def update(admin: _Stub, camera: Camera, *paths: str) -> Camera:
    request = cameras_pb2.UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=paths))
    return (await admin.UpdateCamera(request)).camera


async def get(admin: _Stub, camera_id: str = "door") -> Camera:
    return (await admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id=camera_id))).camera


async def refused(call) -> CountlineError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_a_camera_is_given_back_with_what_the_service_sets(admin: _Stub) -> None:
    camera = await create(admin, a_camera(lines=[a_line()], processing_rate=12.5))
    assert (camera.revision, camera.spec.lines[0].version, camera.spec.processing_rate) == (1, 1, 12.5)
    assert camera.spec.playback == cameras_pb2.PLAYBACK_LIVE
    assert camera.created_at == camera.updated_at
    found = await get(admin)
    for either in (found, camera):
        either.ClearField("observed")  # it may have changed in between
    assert found == camera


async def test_what_a_caller_says_of_fields_that_the_service_sets_is_not_believed(admin: _Stub) -> None:
    camera = a_camera(lines=[Line(line_id="gate", version=7, points=a_line().points)])
    camera.revision = 42
    camera.observed.state = cameras_pb2.OBSERVED_STATE_RUNNING
    created = await create(admin, camera)
    assert (created.revision, created.spec.lines[0].version) == (1, 1)
    assert created.observed.state == cameras_pb2.OBSERVED_STATE_WAITING


async def test_the_password_of_a_source_is_shown_to_nobody_but_services(admin: _Stub, control: Control) -> None:
    assert (await create(admin, a_camera())).stream_url == MASKED
    listed = await admin.ListCameras(cameras_pb2.ListCamerasRequest())
    assert listed.cameras[0].stream_url == MASKED
    service = control.caller_with("camera:read", Permission.CAMERA_SECRETS).cameras
    assert (await get(service)).stream_url == URL


async def test_a_masked_address_that_comes_back_keeps_the_password(admin: _Stub, control: Control) -> None:
    await create(admin, a_camera())
    changed = (MASKED, "rtsp://joe:***@camera.invalid:554/other")
    for url in changed:
        await update(admin, a_camera(stream_url=url), "stream_url")
    service = control.caller_with("camera:read", Permission.CAMERA_SECRETS).cameras
    assert (await get(service)).stream_url == "rtsp://joe:s3cret@camera.invalid:554/other"


@pytest.mark.parametrize("url", ["rtsp://joe:***@evil.invalid/live", "rtsp://jim:***@camera.invalid:554/live"])
async def test_a_password_is_not_carried_over_to_another_host_or_user(admin: _Stub, url: str) -> None:
    await create(admin, a_camera())
    error = await refused(update(admin, a_camera(stream_url=url), "stream_url"))
    assert [problem.field for problem in error.fields] == ["stream_url"]


async def test_every_field_that_cannot_be_used_is_named_with_a_hint(admin: _Stub) -> None:
    bad = Camera(
        camera_id="Door",
        site_id="lab",
        stream_url="gopher://x",
        spec=CameraSpec(
            processing_rate=-1,
            lines=[Line(line_id="a", points=[Point(x=0.5, y=0.5), Point(x=0.5, y=0.5)])],
            zones=[Zone(zone_id="z", polygon=[Point(), Point(x=1, y=1), Point(x=1), Point(y=1)])],
        ),
    )
    error = await refused(create(admin, bad))
    assert isinstance(error, InvalidInputError)
    assert [problem.field for problem in error.fields] == [
        "camera_id",
        "name",
        "stream_url",
        "spec.lines[0].points",
        "spec.zones[0].polygon",
        "spec.processing_rate",
    ]
    assert all(";" in problem.message for problem in error.fields)


async def test_a_password_that_spoils_an_address_is_in_no_error(admin: _Stub) -> None:
    error = await refused(create(admin, a_camera(stream_url="rtsp://joe:pa/ss@camera.invalid/live")))
    assert "pa/ss" not in f"{error.message} {error.fields}"
    assert error.fields[0].field == "stream_url"


async def test_a_camera_needs_a_site_that_there_is(admin: _Stub) -> None:
    error = await refused(create(admin, Camera(camera_id="door", site_id="moon", name="Moon", stream_url=URL)))
    assert [problem.field for problem in error.fields] == ["site_id"]
    assert "countline sites add" in error.fields[0].message


async def test_an_id_is_given_once(admin: _Stub) -> None:
    await create(admin, a_camera())
    assert isinstance(await refused(create(admin, a_camera())), AlreadyExistsError)
    site = cameras_pb2.CreateSiteRequest(site=Site(site_id="lab", time_zone="UTC"))
    assert isinstance(await refused(admin.CreateSite(site)), AlreadyExistsError)


async def test_a_site_needs_a_time_zone_that_there_is(admin: _Stub) -> None:
    for zone in ("", "Europe", "Mars/Olympus", "../../etc/passwd"):
        site = cameras_pb2.CreateSiteRequest(site=Site(site_id="s", time_zone=zone))
        error = await refused(admin.CreateSite(site))
        assert [problem.field for problem in error.fields] == ["time_zone"]


async def test_only_the_fields_of_the_mask_change(admin: _Stub) -> None:
    created = await create(admin, a_camera(lines=[a_line()], processing_rate=5))
    sent = Camera(camera_id="door", name="Front", spec=CameraSpec(processing_rate=9))
    changed = await update(admin, sent, "name")
    assert (changed.name, changed.spec.processing_rate, changed.revision) == ("Front", 5, 2)
    changed = await update(admin, sent, "spec.processing_rate", "spec.lines")
    assert (changed.spec.processing_rate, len(changed.spec.lines), changed.revision) == (9, 0, 3)
    assert changed.updated_at.ToNanoseconds() > created.updated_at.ToNanoseconds()
    assert changed.created_at == created.created_at


async def test_without_a_mask_the_fields_that_are_set_change(admin: _Stub) -> None:
    await create(admin, a_camera(lines=[a_line()], min_score=0.5))
    changed = await update(admin, Camera(camera_id="door", spec=CameraSpec(min_score=0.25)))
    assert (changed.spec.min_score, len(changed.spec.lines), changed.stream_url) == (0.25, 1, MASKED)


@pytest.mark.parametrize("path", ["camera_id", "site_id", "observed", "created_at", "nonsense", "spec.lines.points"])
async def test_a_mask_that_cannot_be_followed_is_refused(admin: _Stub, path: str) -> None:
    await create(admin, a_camera())
    error = await refused(update(admin, a_camera(), path))
    assert [problem.field for problem in error.fields] == ["update_mask"]


async def test_the_version_of_a_line_grows_with_its_geometry_and_classes_alone(admin: _Stub) -> None:
    await create(admin, a_camera(lines=[a_line("a"), a_line("b", x=0.2)]))

    async def versions(*lines: Line) -> list[int]:
        changed = await update(admin, Camera(camera_id="door", spec=CameraSpec(lines=lines)), "spec.lines")
        return [line.version for line in changed.spec.lines]

    assert await versions(a_line("a", x=0.4), a_line("b", x=0.2)) == [2, 1]
    assert await versions(a_line("a", x=0.4, classes=("person",)), a_line("b", x=0.2)) == [3, 1]
    assert await versions(a_line("b", x=0.2)) == [1]
    assert await versions(a_line("b", x=0.2), a_line("a", x=0.9)) == [1, 4]


async def test_a_line_drawn_again_goes_on_with_its_version_even_after_the_camera_was_deleted(admin: _Stub) -> None:
    await create(admin, a_camera(lines=[a_line(x=0.1)]))
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
    assert (await create(admin, a_camera(lines=[a_line(x=0.1)]))).spec.lines[0].version == 1
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
    assert (await create(admin, a_camera(lines=[a_line(x=0.2)]))).spec.lines[0].version == 2


async def test_of_two_changes_to_one_revision_the_second_is_refused(admin: _Stub) -> None:
    await create(admin, a_camera())
    sent = [Camera(camera_id="door", name=name, revision=1) for name in ("one", "two")]
    results = await asyncio.gather(*(update(admin, camera, "name") for camera in sent), return_exceptions=True)
    errors = [from_rpc_error(result) for result in results if isinstance(result, Exception)]
    assert [type(error) for error in errors] == [StaleRevisionError]
    assert "it has revision 2, not 1" in errors[0].message


async def test_what_is_not_there_is_not_found(admin: _Stub) -> None:
    assert isinstance(await refused(get(admin)), NotFoundError)
    assert isinstance(await refused(update(admin, a_camera(), "name")), NotFoundError)
    request = cameras_pb2.DeleteCameraRequest(camera_id="door")
    assert isinstance(await refused(admin.DeleteCamera(request)), NotFoundError)


async def test_cameras_are_listed_by_id_and_page_also_of_one_site(admin: _Stub) -> None:
    await admin.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id="yard", time_zone="UTC")))
    for i in range(5):
        camera = a_camera(f"cam-{i}")
        camera.site_id = "lab" if i % 2 else "yard"
        await create(admin, camera)
    found, token = [], ""
    while True:
        request = cameras_pb2.ListCamerasRequest(page_size=2, page_token=token)
        page = await admin.ListCameras(request)
        found += [camera.camera_id for camera in page.cameras]
        token = page.next_page_token
        if not token:
            break
    assert found == [f"cam-{i}" for i in range(5)]
    of_lab = await admin.ListCameras(cameras_pb2.ListCamerasRequest(site_id="lab", page_size=1))
    assert [camera.camera_id for camera in of_lab.cameras] == ["cam-1"]
    stolen = cameras_pb2.ListCamerasRequest(site_id="yard", page_token=of_lab.next_page_token)
    assert [problem.field for problem in (await refused(admin.ListCameras(stolen))).fields] == ["page_token"]
    for size, token in ((-1, ""), (0, "garbage")):
        request = cameras_pb2.ListCamerasRequest(page_size=size, page_token=token)
        assert isinstance(await refused(admin.ListCameras(request)), InvalidInputError)


async def test_a_file_is_realtime_and_recorded_at_its_creation_unless_said(admin: _Stub) -> None:
    created = await create(admin, a_camera(stream_url="file:///clips/a.mp4"))
    assert created.spec.playback == cameras_pb2.PLAYBACK_REALTIME
    assert created.spec.recorded_at == created.created_at
    spec = CameraSpec(playback=cameras_pb2.PLAYBACK_FAST)
    spec.recorded_at.FromJsonString("2026-03-01T12:00:00Z")
    said = await create(admin, Camera(camera_id="said", site_id="lab", name="x", stream_url="file:///b.mp4", spec=spec))
    assert from_timestamp(said.spec.recorded_at) == 1772366400.0
    loop = a_camera("loop", stream_url="file:///clips/a.mp4", playback=cameras_pb2.PLAYBACK_LOOP)
    assert not (await create(admin, loop)).spec.HasField("recorded_at")


async def test_a_stream_that_becomes_a_file_is_played_as_one(admin: _Stub) -> None:
    await create(admin, a_camera(rtsp_transport=cameras_pb2.RTSP_TRANSPORT_UDP))
    changed = await update(admin, a_camera(stream_url="file:///clips/a.mp4"), "stream_url")
    assert changed.spec.playback == cameras_pb2.PLAYBACK_REALTIME
    assert changed.spec.rtsp_transport == cameras_pb2.RTSP_TRANSPORT_UNSPECIFIED
    changed = await update(admin, a_camera(), "stream_url")
    assert changed.spec.playback == cameras_pb2.PLAYBACK_LIVE
    assert not changed.spec.HasField("recorded_at")


SECRET_PLACES = (
    "rtsp://admin:pa%2FSECRET@h.invalid/s", 'rtsp://admin:pa"SECRET@h.invalid/s', "rtsp://admin:pa'SECRET@h.invalid/s",
    "rtsp://admin:a@b/SECRET@h.invalid/s", "http://h.invalid/s?user=a&pass=SECRET",
    "http://h.invalid/s?loginuse=a&loginpas=SECRET", "http://h.invalid/s?auth=SECRET", "http://h.invalid/s?key=SECRET",
    "rtsp://h.invalid/user=admin_password=SECRET_channel=1_stream=0.sdp", "rtsp://SECRET@h.invalid/s",
    "http://h.invalid/s?x-amz-signature=a/SECRET&x=1",
)  # fmt: skip


async def test_no_secret_of_an_address_reaches_a_viewer_the_log_or_an_error(
    admin: _Stub, control: Control, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    viewer = control.caller("viewer").cameras
    service = control.caller_with("camera:read", Permission.CAMERA_SECRETS).cameras
    shown: list[str] = []
    for i, url in enumerate(SECRET_PLACES):
        name = f"cam-{i}"
        shown.append(str(await create(admin, a_camera(name, stream_url=url))))
        shown.append(str(await refused(create(admin, a_camera(name, stream_url=url)))))
        shown.append(str((await refused(create(admin, a_camera("other", stream_url=f"{url}\x20x")))).fields))
        masked = (await get(viewer, name)).stream_url
        shown.append(str(await update(admin, a_camera(name, stream_url=masked, processing_rate=5), "spec")))
        assert (await get(service, name)).stream_url == url
    shown.append(str(await viewer.ListCameras(cameras_pb2.ListCamerasRequest())))
    assert "SECRET" not in "".join([*shown, *capsys.readouterr(), caplog.text])


async def test_what_the_requirement_asks_for_is_enough(control: Control) -> None:
    """A name, a location and an address: the id comes from the name, the first camera makes the site."""
    admin = control.caller("admin").cameras
    wanted = Camera(name="Main Entrance, Straße 1", location="Lobby", stream_url="rtsp://h/live")
    camera = await create(admin, wanted)
    assert (camera.camera_id, camera.site_id, camera.name) == ("main-entrance-strasse-1", "main", wanted.name)
    assert (camera.location, camera.status) == ("Lobby", cameras_pb2.CAMERA_STATUS_ACTIVE)
    again = await create(admin, wanted)
    assert (again.camera_id, again.site_id) == ("main-entrance-strasse-1-2", "main")
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id=again.camera_id))
    assert (await create(admin, wanted)).camera_id == "main-entrance-strasse-1-2", "it never drew a line"
    await admin.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id="other", time_zone="UTC")))
    error = await refused(create(admin, wanted))
    assert (error.fields[0].field, "main, other" in error.fields[0].message) == ("site_id", True)
    assert (await refused(create(admin, Camera(stream_url="rtsp://h/live", site_id="main")))).fields[0].field == "name"


async def test_cameras_of_one_long_name_get_ids_of_their_own(admin: _Stub) -> None:
    """The number stands in the place of letters, so the second id is no beginning of the first."""
    wanted = Camera(name="a" * 80, stream_url="rtsp://h/live")
    ids = [(await create(admin, wanted)).camera_id for _ in range(3)]
    assert ids == ["a" * 63, "a" * 61 + "-2", "a" * 61 + "-3"]


async def test_a_status_becomes_what_its_life_allows(admin: _Stub) -> None:
    await create(admin, a_camera())

    async def become(status: int) -> Camera:
        return await update(admin, Camera(camera_id="door", status=status), "status")

    for status in ("PAUSED", "INACTIVE", "ACTIVE", "RETIRED"):
        number = cameras_pb2.CameraStatus.Value(f"CAMERA_STATUS_{status}")
        changed = await become(number)
        assert (changed.status, changed.HasField("observed")) == (number, status == "ACTIVE")
        if status == "INACTIVE":
            error = await refused(become(cameras_pb2.CAMERA_STATUS_PAUSED))
            assert isinstance(error, ConflictError)
            assert "inactive and cannot become paused" in error.message
            assert error.hint == "it can become active or retired"
    error = await refused(become(cameras_pb2.CAMERA_STATUS_ACTIVE))
    assert "create a new camera" in error.hint
    assert [each.field for each in (await refused(become(99))).fields] == ["status"]


async def listed(stub: _Stub, **shown: object) -> list[str]:
    """Return the ids that pass a filter, in order, read in pages of two."""
    request = cameras_pb2.ListCamerasRequest(page_size=2, **shown)
    found: list[str] = []
    while True:
        answer = await stub.ListCameras(request)
        found += [camera.camera_id for camera in answer.cameras]
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_a_list_is_filtered_sorted_and_paged(admin: _Stub) -> None:
    for i, (name, location) in enumerate((("Gate", "North_1"), ("Door", "north 2"), ("Arch", "South"), ("Door", ""))):
        camera = a_camera(f"c{i}", model="counter@2" if i == 1 else "")
        camera.name, camera.location = name, location
        camera.tags.extend(["glass"] if i % 2 else [])
        await create(admin, camera)
    await update(admin, Camera(camera_id="c2", status=cameras_pb2.CAMERA_STATUS_PAUSED), "status")
    assert await listed(admin) == ["c0", "c1", "c2", "c3"]
    assert await listed(admin, order_by="name") == ["c2", "c1", "c3", "c0"]
    assert await listed(admin, order_by="name desc") == ["c0", "c3", "c1", "c2"]
    assert await listed(admin, order_by="created_at desc") == ["c3", "c2", "c1", "c0"]
    assert await listed(admin, location="NORTH") == ["c0", "c1"]
    assert await listed(admin, location="h_1") == ["c0"], "the text is no pattern"
    assert await listed(admin, tag="glass", location="north") == ["c1"]
    assert await listed(admin, status=cameras_pb2.CAMERA_STATUS_PAUSED) == ["c2"]
    assert await listed(admin, observed=cameras_pb2.OBSERVED_STATE_WAITING) == ["c0", "c1", "c3"]
    assert await listed(admin, observed=cameras_pb2.OBSERVED_STATE_RUNNING) == []
    assert await listed(admin, model="counter") == await listed(admin, model="counter@2") == ["c1"]
    assert await listed(admin, worker_id="w1") == []
    assert await listed(admin, site_id="moon") == []
    for wrong in ("size", "name backwards"):
        assert (await refused(listed(admin, order_by=wrong))).fields[0].field == "order_by"
    first = await admin.ListCameras(cameras_pb2.ListCamerasRequest(page_size=2, order_by="name"))
    other = cameras_pb2.ListCamerasRequest(page_token=first.next_page_token, order_by="created_at")
    assert (await refused(admin.ListCameras(other))).fields[0].field == "page_token"


async def test_a_change_that_is_only_validated_answers_as_the_real_one_and_stores_nothing(admin: _Stub) -> None:
    wanted = a_camera(lines=[a_line()])
    request = cameras_pb2.CreateCameraRequest(camera=wanted, validate_only=True)
    assert (await admin.CreateCamera(request)).camera.spec.lines[0].version == 1
    assert isinstance(await refused(admin.GetCamera(cameras_pb2.GetCameraRequest(camera_id="door"))), NotFoundError)
    created = await create(admin, wanted)
    assert isinstance(await refused(admin.CreateCamera(request)), AlreadyExistsError)

    moved = a_camera(lines=[a_line(x=0.3)])
    changed = cameras_pb2.UpdateCameraRequest(
        camera=moved, update_mask=FieldMask(paths=["spec.lines"]), validate_only=True
    )
    answer = (await admin.UpdateCamera(changed)).camera
    assert (answer.revision, answer.spec.lines[0].version) == (2, 2)
    assert (await get(admin)).spec == created.spec
    assert (await update(admin, moved, "spec.lines")).spec.lines[0].version == 2


async def test_a_camera_that_was_changed_since_it_was_read_is_not_deleted(admin: _Stub) -> None:
    camera = await create(admin, a_camera())
    await update(admin, a_camera(processing_rate=3.0), "spec.processing_rate")
    stale = cameras_pb2.DeleteCameraRequest(camera_id="door", revision=camera.revision)
    assert isinstance(await refused(admin.DeleteCamera(stale)), StaleRevisionError)
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door", revision=camera.revision + 1))

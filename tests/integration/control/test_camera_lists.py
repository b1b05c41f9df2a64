"""Pages of cameras as PostgreSQL filters, sorts and limits them, and cameras that are created at the same moment."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fixtures.control.schemas import control_database
from tests.fixtures.postgres import PostgresServer

from countline.v1 import audit_pb2, cameras_pb2
from countline.v1.cameras_pb2 import Camera, Site
from countline_common.access.scopes import Reach
from countline_common.errors import UnavailableError
from countline_common.grpc.paging import Page, next_token
from countline_common.secrets.master_keys import MasterKeySource
from countline_control.cameras.lists.filters import ORDERS, TIMES, CameraFilter, ObservedCameras
from countline_control.cameras.lists.pages import read_page
from countline_control.cameras.tables import data_keys
from countline_control.data_keys import DataKeys
from countline_control.database import Database

from .conftest import MASTER_KEY, Control
from .test_cameras import a_camera, create, refused

EVERYTHING = Reach(everything=True)
SPEC = '{"playback": "PLAYBACK_LIVE"}'
INSERT = """
    INSERT INTO cameras.cameras (camera_id, site_id, name, location, status, tags, spec, stream_url, revision,
                                 created_at, updated_at)
    VALUES (%s, 'lab', %s, '', 'active', '[]', %s, 'rtsp://h/live', 1, %s, %s)
"""
words = st.sampled_from(["", "a", "B", "ä", "a-b", "ab"])
moments = st.sampled_from([datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC)])
cameras = st.dictionaries(st.integers(0, 30), st.tuples(words, moments), max_size=20)


@pytest.fixture(scope="module")
def lab(postgres: PostgresServer) -> Iterator[str]:
    """A database with a site and no cameras."""
    dsn = asyncio.run(control_database(postgres))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO cameras.sites (site_id, title, time_zone, created_at) VALUES ('lab', '', 'UTC', now())"
        )
    yield dsn
    postgres.drop_database(dsn)


def insert(connection: psycopg.Connection, given_cameras: dict[int, tuple[str, datetime]]) -> None:
    for i, (name, moment) in given_cameras.items():
        connection.execute(INSERT, (f"c{i}", name, SPEC, moment, moment))


async def pages(dsn: str, order_by: str, size: int, between) -> list[Camera]:
    """Read a list page by page; change the table after each one."""
    database = Database(dsn)
    keys = DataKeys(database, data_keys, MasterKeySource(None, MASTER_KEY, ""))
    shown, after, seen = CameraFilter(order_by=order_by), "", []
    try:
        while True:
            wanted = Page(size, after)
            found, after = await database.read(
                lambda connection, wanted=wanted: read_page(
                    connection, shown, ObservedCameras(), EVERYTHING, wanted, keys
                )
            )
            seen += found
            if not after:
                return seen
            between()
    finally:
        await database.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    found=cameras,
    field=st.sampled_from(ORDERS),
    descending=st.booleans(),
    size=st.integers(1, 4),
    gone=st.sets(st.integers(0, 30)),
    new=cameras,
)
def test_pages_show_each_camera_once_in_order_whatever_comes_and_goes_meanwhile(
    lab: str, found, field, descending, size, gone, new
) -> None:
    with psycopg.connect(lab, autocommit=True) as connection:
        connection.execute("DELETE FROM cameras.cameras")
        insert(connection, found)
        changed = []

        def change() -> None:
            if not changed:
                changed.append(True)
                connection.execute("DELETE FROM cameras.cameras WHERE camera_id = ANY(%s)", ([f"c{i}" for i in gone],))
                insert(connection, {i: each for i, each in new.items() if i not in found})

        order_by = f"{field} desc" if descending else field
        seen = asyncio.run(pages(lab, order_by, size, change))
    ids = [camera.camera_id for camera in seen]
    assert len(set(ids)) == len(ids)
    assert {f"c{i}" for i in found if not (changed and i in gone)} <= set(ids)
    keys = [(getattr(camera, field), camera.camera_id) for camera in seen]
    assert keys == sorted(keys, reverse=descending)
    assert field not in TIMES or all(isinstance(value, float) for value, _ in keys)


@pytest.mark.parametrize(
    "key", ['["a"]', '["a", 1]', '["\\u0000", "c"]', '["\\ud800", "c"]', '["0001-01-01T00:00:00+14:00", "c"]']
)
async def test_a_forged_page_token_is_the_error_of_its_caller(control: Control, key: str) -> None:
    """Or it names a place before which no camera lies."""
    admin = control.caller("admin").cameras
    for order in ORDERS:
        token = next_token(key, CameraFilter(order_by=order).key())
        request = cameras_pb2.ListCamerasRequest(page_token=token, order_by=order)
        if "0001" in key:
            assert not (await admin.ListCameras(request)).cameras
        else:
            assert [each.field for each in (await refused(admin.ListCameras(request))).fields] == ["page_token"]


async def test_a_filter_by_what_is_observed_says_that_workers_do_not_answer(
    control_dsn: str, start_control, tmp_path: Path
) -> None:
    """An empty list would say that no camera runs."""
    token = tmp_path / "token"
    token.write_text("none")
    alone = await start_control(
        control_dsn, ("auth", "cameras"), workers_address="127.0.0.1:1", service_token_file=token
    )
    admin = alone.caller("admin").cameras
    await create(admin, Camera(name="Door", stream_url="rtsp://h/live"))
    assert [each.name for each in (await admin.ListCameras(cameras_pb2.ListCamerasRequest())).cameras] == ["Door"]
    running = cameras_pb2.ListCamerasRequest(observed=cameras_pb2.OBSERVED_STATE_RUNNING)
    assert isinstance(await refused(admin.ListCameras(running)), UnavailableError)


async def test_cameras_of_one_name_created_at_the_same_moment_get_ids_of_their_own(control: Control) -> None:
    admin = control.caller("admin").cameras
    wanted = Camera(name="Main entrance", stream_url="rtsp://h/live")
    created = await asyncio.gather(*(create(admin, wanted) for _ in range(8)))
    ids = {"main-entrance", *(f"main-entrance-{i}" for i in range(2, 9))}
    assert {camera.camera_id for camera in created} == ids
    assert {camera.site_id for camera in created} == {"main"}


async def test_the_same_name_at_two_sites_waits_for_no_common_lock(control: Control) -> None:
    admin = control.caller("admin").cameras
    for site_id in ("lab", "yard"):
        await admin.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id=site_id, time_zone="UTC")))
    wanted = [Camera(name="Gate", site_id=site, stream_url="rtsp://h/live") for site in ("lab", "yard") * 4]
    created = await asyncio.gather(*(create(admin, each) for each in wanted))
    assert {each.camera_id for each in created} == {"gate", *(f"gate-{i}" for i in range(2, 9))}
    both = await asyncio.gather(create(admin, a_camera("gate-9")), create(admin, wanted[0]), return_exceptions=True)
    assert not isinstance(both[1], BaseException), "a made id gives way to a given one"


async def test_the_site_that_the_first_camera_makes_leaves_an_event_and_an_audit_row(
    control: Control, control_dsn: str
) -> None:
    await create(control.caller("admin").cameras, Camera(name="Door", stream_url="rtsp://h/live"))
    with psycopg.connect(control_dsn) as connection:
        rows = connection.execute("SELECT subject, payload FROM cameras.outbox ORDER BY outbox_id").fetchall()
    events = [subject for subject, _ in rows if "audit" not in subject]
    audited = [audit_pb2.AuditRow.FromString(payload) for subject, payload in rows if "audit" in subject]
    assert [event.rpartition("domain.")[2] for event in events] == ["site.created", "camera.created"]
    assert sorted(row.resource for row in audited) == ["cameras/door", "sites/main"]
    site = next(row for row in audited if row.resource == "sites/main")
    assert (site.actor.name, site.outcome, site.method) == ("admin", "OK", "countline.v1.CameraService/CreateCamera")
    assert "time_zone" in [each.path for each in site.changes]

"""Days of a site, and what follows when its time zone is corrected."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import nats
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.cameras import add_camera
from tests.fixtures.analytics.factory import crossing, record
from tests.fixtures.analytics.stack import Stack, until
from tests.fixtures.nats import NatsServer

from countline.v1 import cameras_pb2
from countline_analytics.ingest.sites import SiteFollower
from countline_common.data import bus
from countline_common.times import to_timestamp

Scalar = Callable[..., object]
SPAN = {"start": "2026-10-24T12:00:00Z", "end": "2026-10-26T12:00:00Z"}


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()


async def days(stack: Stack, **asked: str) -> list[tuple[str, str, int]]:
    """Start, zone and count of each day."""
    answer = await stack.get("analytics/counts", camera_id="cam-1", line_id="south", bucket="1d", **{**SPAN, **asked})
    return [(each["start"][:16], each["time_zone"], each["in"]) for each in answer["buckets"]]


@pytest.fixture
async def counted(stack: Stack, scalar: Scalar) -> Stack:
    """One crossing each hour of three days, in a site whose zone is wrong."""
    await add_camera(stack)
    await stack.call("PATCH", "sites/demo", json={"time_zone": "UTC"})
    times = [at(2026, 10, 24) + 3600 * k + 1800 for k in range(72)]
    await stack.publish(record(*[crossing(k, t, line="south") for k, t in enumerate(times)], time_zone="UTC"))
    await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 72)
    return stack


async def test_a_corrected_zone_holds_for_the_whole_history(counted: Stack) -> None:
    assert [row[2] for row in await days(counted)] == [24, 24, 24]
    status, body = await counted.call("PATCH", "sites/demo", json={"time_zone": "Europe/Berlin"})
    assert (status, body["data"]["time_zone"]) == (200, "Europe/Berlin")
    assert await days(counted) == [
        ("2026-10-23T22:00", "Europe/Berlin", 22),
        ("2026-10-24T22:00", "Europe/Berlin", 25),
        ("2026-10-25T23:00", "Europe/Berlin", 24),
    ]


async def test_a_corrected_zone_holds_from_a_date_on(counted: Stack) -> None:
    status, body = await counted.call(
        "PATCH", "sites/demo", params={"time_zone_from": "2026-10-26"}, json={"time_zone": "Europe/Berlin"}
    )
    assert status == 200, body
    assert body["data"]["earlier_time_zones"] == [{"time_zone": "UTC", "until": "2026-10-26"}]
    assert await days(counted) == [
        ("2026-10-24T00:00", "UTC", 24),
        ("2026-10-25T00:00", "UTC", 23),
        ("2026-10-25T23:00", "Europe/Berlin", 24),
    ]
    hours = await counted.get("analytics/counts", camera_id="cam-1", line_id="south", bucket="1h", **SPAN)
    assert sum(each["in"] for each in hours["buckets"]) == 48
    assert hours["time_zone"] == ""


@pytest.mark.parametrize(
    ("body", "params", "status", "field"),
    [
        ({"time_zone": "Factory"}, {}, 400, "time_zone"),
        ({"time_zone": "right/Europe/Berlin"}, {}, 400, "time_zone"),
        ({"time_zone": "UTC"}, {"time_zone_from": "tomorrow"}, 400, "time_zone_from"),
        ({"site_id": "other"}, {}, 400, "site_id"),
        ({"site_id": "demo"}, {}, 200, ""),
        ({"created_at": "2026-01-01T00:00:00Z"}, {}, 400, "update_mask"),
        ({"time_zone": "UTC", "revision": 77}, {}, 409, ""),
    ],
)
async def test_what_cannot_be_changed_is_refused(stack: Stack, body, params, status, field) -> None:
    await add_camera(stack)
    found, answer = await stack.call("PATCH", "sites/demo", params=params, json=body)
    assert found == status, answer
    if field:
        assert answer["errors"][0]["field"] == field


async def test_a_site_that_does_not_exist_is_not_found(stack: Stack) -> None:
    assert (await stack.call("PATCH", "sites/nowhere", json={"time_zone": "UTC"}))[0] == 404


async def test_a_line_that_was_drawn_a_moment_ago_is_known(stack: Stack) -> None:
    """The answer of the camera service is kept for seconds; a line that is not in it is asked for anew."""
    await add_camera(stack)
    assert (await stack.call("GET", "analytics/counts", params={"camera_id": "cam-1"}))[0] == 200
    lines = [{"line_id": "new", "points": [{"x": 0.1, "y": 0.1}, {"x": 0.9, "y": 0.9}]}]
    zones = [{"zone_id": "yard", "polygon": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]}]
    await stack.call("PATCH", "cameras/cam-1", json={"spec": {"lines": lines, "zones": zones}})
    for path, asked in (
        ("counts", {"line_id": "new"}),
        ("crossings", {"line_id": "new"}),
        ("visits", {"zone_id": "yard"}),
    ):
        for camera in ({"camera_id": "cam-1"}, {}):
            assert (await stack.call("GET", f"analytics/{path}", params={**asked, **camera}))[0] == 200
    status, _ = await stack.call("GET", "analytics/counts", params={"camera_id": "cam-1", "line_id": "nowhere"})
    assert status == 404


async def test_many_requests_for_what_is_unknown_share_the_questions(stack: Stack) -> None:
    await add_camera(stack)
    asked = [stack.call("GET", "analytics/counts", params={"camera_id": f"cam-{n}", "line_id": "x"}) for n in range(40)]
    assert {status for status, _ in await asyncio.gather(*asked)} == {404}


@pytest.fixture
async def announced(nats_server: NatsServer, engine: AsyncEngine) -> AsyncIterator[Callable[..., object]]:
    """Publishes a site as the camera service announces it, while a follower runs."""
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    await bus.ensure_streams(js)
    follower = SiteFollower(lambda: js, engine)
    task = asyncio.create_task(follower.run())

    async def publish(data: bytes | cameras_pb2.Site) -> None:
        content = data if isinstance(data, bytes) else data.SerializeToString()
        await js.publish("countline.domain.site.updated", content)

    yield publish
    follower.stop()
    await task
    await client.close()


async def test_the_zones_of_sites_are_stored_as_they_are_announced(announced, scalar: Scalar) -> None:
    def site(revision: int, time_zone: str) -> cameras_pb2.Site:
        earlier = [cameras_pb2.EarlierTimeZone(time_zone="UTC", until="2026-03-01")]
        return cameras_pb2.Site(
            site_id="demo",
            time_zone=time_zone,
            created_at=to_timestamp(5),
            revision=revision,
            earlier_time_zones=earlier,
        )

    for each in (site(3, "Europe/Berlin"), b"\xff nonsense", site(2, "Asia/Tokyo"), site(1, "Factory")):
        await announced(each)
    await announced(cameras_pb2.Site(site_id="last", time_zone="UTC", created_at=to_timestamp(5), revision=1))
    await until(lambda: scalar("SELECT count(*) FROM analytics.sites WHERE site_id = 'last'") == 1)
    assert scalar("SELECT time_zone FROM analytics.sites WHERE site_id = 'demo'") == "Europe/Berlin"
    assert scalar("SELECT earlier_zones FROM analytics.sites WHERE site_id = 'demo'") == ["UTC"]

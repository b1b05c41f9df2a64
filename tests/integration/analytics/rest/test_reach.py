"""REST and WebSocket for callers whose permissions cover a site or a group of cameras only."""

import json
from collections.abc import Callable

import pytest
from tests.fixtures.analytics.cameras import add_places
from tests.fixtures.analytics.factory import NOON, crossing, record
from tests.fixtures.analytics.page import Page, connected, now_records, receive
from tests.fixtures.analytics.stack import Stack, until

from countline_common.access.scopes import Scope

DEMO = Scope(site_id="demo")
ONE = Scope(camera_ids=frozenset({"cam-0"}))
Scalar = Callable[..., object]


@pytest.fixture
async def places(stack: Stack) -> Stack:
    """Two sites with cameras."""
    await add_places(stack)
    return stack


async def test_counts_hold_the_cameras_within_reach_only(places: Stack, scalar: Scalar) -> None:
    await places.publish(*now_records(3))
    await until(lambda: scalar("SELECT last_sequence FROM analytics.ingest_state") == 12)
    for scope, cameras in ((DEMO, {"cam-0", "cam-1"}), (ONE, {"cam-0"}), (Scope(site_id="far"), {"far-1"})):
        token = places.scoped_token(scope)
        status, body = await places.call("GET", "analytics/counts", token=token, params={"group_by": "line"})
        assert (status, {each["camera_id"] for each in body["data"]["buckets"]}) == (200, cameras)
        _, body = await places.call("GET", "analytics/crossings", token=token)
        assert {each["camera_id"] for each in body["data"]["crossings"]} == cameras - {"far-1"}


async def test_counts_of_a_former_camera_stay_within_reach_of_its_site(places: Stack, scalar: Scalar) -> None:
    await places.publish(record(crossing(1, NOON), camera="gone-1"))
    await until(lambda: scalar("SELECT last_sequence FROM analytics.ingest_state") == 1)
    query = {"camera_id": "gone-1"}
    status, _ = await places.call("GET", "analytics/crossings", token=places.scoped_token(DEMO), params=query)
    assert status == 200
    status, _ = await places.call("GET", "analytics/crossings", token=places.scoped_token(ONE), params=query)
    assert status == 403


async def test_a_page_of_limited_reach_sees_its_cameras_and_misses_nothing(places: Stack) -> None:
    page, everything = Page(), Page()
    async with connected(places, token=places.scoped_token(ONE)) as socket, connected(places) as other:
        for each in (socket, other):
            await each.send_json({"type": "subscribe", "channel": "counts"})
        await places.publish(*now_records(4))
        await places.publish(*now_records(6, start=16))
        while everything.sequence != 40:
            everything.take(await receive(other))
        wanted = {key: value for key, value in everything.totals.items() if key[0] == "cam-0"}
        while page.totals != wanted:
            message = await receive(socket)
            assert "cam-1" not in json.dumps(message)
            page.take(message)


async def test_a_page_resumes_within_its_reach(places: Stack) -> None:
    page = Page()
    token = places.scoped_token(ONE)
    async with connected(places, token=token) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts"})
        await places.publish(*now_records(3))
        while page.totals.get(("cam-0", "gate")) != (2, 2):
            page.take(await receive(socket))
    await places.publish(*now_records(3, start=12))
    async with connected(places, token=token) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts", "after": page.sequence})
        while page.totals.get(("cam-0", "gate")) != (4, 4):
            page.take(await receive(socket))


async def test_the_socket_shows_no_picture_and_no_status_of_a_camera_outside(places: Stack) -> None:
    async with connected(places, token=places.scoped_token(ONE)) as socket:
        for channel in ("live:cam-1", "preview:cam-1", "live:far-1", "live:ghost"):
            await socket.send_json({"type": "subscribe", "channel": channel})
            assert (await receive(socket))["code"] == "PERMISSION_DENIED"
        await socket.send_json({"type": "subscribe", "channel": "live:cam-0"})
        await socket.send_json({"type": "ping"})
        assert await receive(socket) == {"type": "pong"}


async def test_a_narrower_token_ends_subscriptions_of_an_open_socket(places: Stack) -> None:
    async with connected(places) as socket:
        await socket.send_json({"type": "subscribe", "channel": "live:cam-1"})
        await socket.send_json({"type": "auth", "token": places.scoped_token(ONE)})
        refused = await receive(socket)
        assert (refused["code"], "live:cam-1" in refused["message"]) == ("PERMISSION_DENIED", True)
        assert await receive(socket) == {"type": "ready"}

"""Live numbers, boxes and pictures over the WebSocket."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable

import nats
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from nats.js import JetStreamContext
from tests.fixtures.analytics.cameras import add_camera, add_places
from tests.fixtures.analytics.factory import NOON, crossing, record
from tests.fixtures.analytics.page import Page, connected, now_records, receive
from tests.fixtures.analytics.stack import Stack, until

from countline.v1 import cameras_pb2, events_pb2, workers_pb2
from countline_analytics.live.bus import CAMERA_DELETED
from countline_common.access.scopes import EVERYTHING, Scope
from countline_common.data import bus
from countline_common.resilience.vitality import faults
from countline_common.times import rfc3339, to_timestamp

Scalar = Callable[..., object]


async def test_a_page_that_is_cut_off_again_and_again_ends_with_the_totals_of_the_server(
    stack: Stack, scalar: Scalar
) -> None:
    page, chance, done = Page(), random.Random(7), asyncio.Event()

    async def read_with_interruptions() -> None:
        while not done.is_set() or page.sequence != scalar("SELECT last_sequence FROM analytics.ingest_state"):
            async with connected(stack, chance.choice(["gateway", "websocket"])) as socket:
                resume = {} if page.sequence is None else {"after": page.sequence}
                await socket.send_json({"type": "subscribe", "channel": "counts", **resume})
                for _ in range(chance.randrange(1, 60)):
                    try:
                        page.take(await receive(socket, 1))
                    except TimeoutError:
                        break

    reading = asyncio.create_task(read_with_interruptions())
    for i in range(15):
        await stack.publish(*now_records(10, start=i * 40))
    # Published is not written: before that, a page may agree with the server and still lack the last crossings.
    await until(lambda: scalar("SELECT last_sequence FROM analytics.ingest_state") == 600)
    done.set()
    async with asyncio.timeout(60):
        await reading
    assert page.sequence == 600
    count = "SELECT count(*) FROM analytics.crossings WHERE camera_id = %s AND line_id = %s AND direction = %s"
    counted = {
        (camera, line): (scalar(count, camera, line, "in"), scalar(count, camera, line, "out"))
        for camera in ("cam-0", "cam-1")
        for line in ("gate", "door")
    }
    assert page.totals == counted
    assert sum(map(sum, counted.values())) == 600


async def test_resuming_sends_exactly_what_was_missed(stack: Stack) -> None:
    page = Page()
    async with connected(stack) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts"})
        await stack.publish(*now_records(4))  # new cameras: a snapshot names them
        while page.sequence != 16:
            page.take(await receive(socket))
        await stack.publish(*now_records(4, start=16))
        while page.sequence != 32:
            page.take(await receive(socket))
    async with connected(stack) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts", "after": 20})
        missed = [await receive(socket) for _ in range(12)]
    assert [message["type"] for message in missed] == ["crossing"] * 12
    assert [message["sequence"] for message in missed] == list(range(21, 33))


async def test_one_that_missed_more_than_is_kept_gets_a_snapshot(stack: Stack) -> None:
    await stack.publish(*now_records(4))
    async with connected(stack) as socket:
        for after in (0, 10**9):
            await socket.send_json({"type": "subscribe", "channel": "counts", "after": after})
            assert (await receive(socket))["type"] == "snapshot"


async def test_totals_that_go_back_bring_a_new_snapshot(stack: Stack) -> None:
    page, now = Page(), time.time()
    async with connected(stack) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts"})
        await stack.publish(record(crossing(1, now - 5), crossing(2, now - 1), epoch=1))
        while page.sequence != 2:
            page.take(await receive(socket))
        fresh = record(crossing(3, now), epoch=2, run="run-2", hand_over_at=to_timestamp(now - 3))
        await stack.publish(fresh)
        while page.totals.get(("cam-1", "gate")) != (2, 0) or page.sequence != 4:
            page.take(await receive(socket))


async def test_late_crossings_have_their_place_in_the_order_and_change_no_total_of_today(stack: Stack) -> None:
    async with connected(stack) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts"})
        await receive(socket)
        await stack.publish(*now_records(1))
        while (await receive(socket))["sequence"] != 4:
            pass
        await stack.publish(record(crossing(99, NOON), camera="cam-0", sequence=9))
        message = await receive(socket)
        assert (message["type"], message["sequence"], message["in"], message["out"]) == ("crossing", 5, 1, 1)


async def test_a_client_without_a_good_token_gets_nothing(stack: Stack) -> None:
    async with stack.session.ws_connect(f"ws://{stack.addresses['gateway']}/ws") as socket:
        await socket.send_json({"type": "auth", "token": "nonsense"})
        assert (await receive(socket))["code"] == "UNAUTHENTICATED"
        assert (await socket.receive(timeout=10)).type is WSMsgType.CLOSE
        assert socket.close_code == 4401


async def test_a_channel_asks_for_its_permission(stack: Stack) -> None:
    async with connected(stack, token=stack.token("camera:read")) as socket:
        await socket.send_json({"type": "subscribe", "channel": "counts"})
        refused = await receive(socket)
        assert refused["code"] == "PERMISSION_DENIED"
        assert "may not subscribe to counts: the permission 'analytics:read' is missing" in refused["message"]
        await socket.send_json({"type": "subscribe", "channel": "weather"})
        assert (await receive(socket))["code"] == "INVALID_ARGUMENT"
        for long in ({"type": "subscribe", "channel": "x" * 60_000}, {"type": "x" * 60_000}, {"type": ["x"] * 10_000}):
            await socket.send_json(long)
            refused = await receive(socket)
            assert refused["code"] == "INVALID_ARGUMENT"
            assert len(refused["message"]) < 200
        await socket.send_str("[1")
        assert (await receive(socket))["code"] == "INVALID_ARGUMENT"
        await socket.send_json({"type": "ping"})
        assert await receive(socket) == {"type": "pong"}


async def test_pictures_come_while_they_are_watched_and_the_worker_knows_that_they_are(stack: Stack) -> None:
    worker = await nats.connect(stack.nats_url)
    watched: list[float] = []

    async def note(_: object) -> None:
        watched.append(time.monotonic())

    await worker.subscribe(bus.watch_subject("cam-1"), cb=note)
    await worker.flush()
    frame = events_pb2.PreviewFrame(
        camera_id="cam-1", t=to_timestamp(NOON), width=320, height=180, jpeg=b"\xff\xd8jpeg", source_width=640,
        source_height=360, boxes=[events_pb2.LiveBox(track=3, x1=1, y1=2, x2=3.25, y2=4, score=0.5, class_name="car")],
    )  # fmt: skip
    async with connected(stack) as socket:
        await socket.send_json({"type": "subscribe", "channel": "preview:cam-1"})
        await until(lambda: len(watched) >= 2)
        assert 1.5 < watched[1] - watched[0] < 4
        await worker.publish(bus.preview_subject("cam-1"), frame.SerializeToString())
        message = await socket.receive(timeout=10)
        assert message.type is WSMsgType.BINARY
        length = int.from_bytes(message.data[:4], "big")
        header = json.loads(message.data[4 : 4 + length])
        assert header["source_size"] == [640, 360]
        assert header["boxes"] == [{"track": 3, "box": [1, 2, 3.2, 4], "score": 0.5, "class": "car"}]
        assert message.data[4 + length :] == b"\xff\xd8jpeg"
        await socket.send_json({"type": "unsubscribe", "channel": "preview:cam-1"})
        await socket.send_json({"type": "ping"})
        assert await receive(socket) == {"type": "pong"}
        seen = len(watched)
        await asyncio.sleep(3)
        assert len(watched) <= seen + 1, "the worker still receives that a client watches"
    await worker.close()


async def test_boxes_come_to_those_who_watch(stack: Stack) -> None:
    worker = await nats.connect(stack.nats_url)
    frame = events_pb2.LiveFrame(camera_id="cam-1", t=to_timestamp(NOON), width=640, height=360)
    async with connected(stack) as one, connected(stack) as other:
        for socket in (one, other):
            await socket.send_json({"type": "subscribe", "channel": "live:cam-1"})

        async def both_have_one() -> bool:
            await worker.publish(bus.live_subject("cam-1"), frame.SerializeToString())
            await asyncio.sleep(0.1)
            return all(socket._reader._buffer for socket in (one, other))

        await until(both_have_one)
        expected = {"type": "live", "camera_id": "cam-1", "t": rfc3339(NOON), "size": [640, 360], "boxes": []}
        for socket in (one, other):
            assert await receive(socket) == expected
    await worker.close()


async def report(js: JetStreamContext, camera_id: str, state: cameras_pb2.ObservedState) -> None:
    """Publish a status, as a worker does."""
    status = cameras_pb2.CameraObservation(state=state, worker_id="worker-1")
    message = workers_pb2.CameraReport(camera_id=camera_id, epoch=1, observed=status)
    await js.publish(bus.status_subject(camera_id), message.SerializeToString())


async def test_the_last_status_of_a_camera_comes_at_once_and_each_new_one_after_it(stack: Stack) -> None:
    await add_camera(stack, "cam-1")
    worker = await nats.connect(stack.nats_url)
    js = worker.jetstream()
    await bus.ensure_streams(js)
    await report(js, "cam-1", cameras_pb2.OBSERVED_STATE_STARTING)
    async with connected(stack) as socket:
        await socket.send_json({"type": "subscribe", "channel": "status"})
        message = await receive(socket)
        assert (message["camera_id"], message["observed"]["state"]) == ("cam-1", "starting")
        await report(js, "cam-1", cameras_pb2.OBSERVED_STATE_RUNNING)
        assert (await receive(socket))["observed"]["state"] == "running"
    await worker.close()


async def _heard(stack: Stack, js: JetStreamContext, token: str) -> set[str]:
    """Cameras whose statuses a new client receives, up to two new ones of cam-0."""
    async with connected(stack, token=token) as socket:
        await socket.send_json({"type": "subscribe", "channel": "status"})
        await socket.send_json({"type": "ping"})
        heard = set()
        while (message := await receive(socket))["type"] != "pong":
            heard.add(message["camera_id"])
        for state in (cameras_pb2.OBSERVED_STATE_STARTING, cameras_pb2.OBSERVED_STATE_RUNNING):
            await report(js, "cam-1", state)
            await report(js, "cam-0", state)
            while (message := await receive(socket))["camera_id"] != "cam-0":
                heard.add(message["camera_id"])
        return heard


@pytest.mark.parametrize("scope", [EVERYTHING, Scope(site_id="demo")], ids=str)
async def test_no_status_of_a_deleted_camera_is_sent(stack: Stack, scope: Scope) -> None:
    """The stream keeps the last status of each camera for good, and a worker may report a camera after its deletion."""
    await add_places(stack)
    token = stack.token() if scope is EVERYTHING else stack.scoped_token(scope)
    worker = await nats.connect(stack.nats_url)
    js = worker.jetstream()
    await bus.ensure_streams(js)
    await report(js, "never-added", cameras_pb2.OBSERVED_STATE_RUNNING)
    assert await _heard(stack, js, token) - {"cam-0"} == {"cam-1"}
    status, _ = await stack.call("DELETE", "cameras/cam-1?revision=1")
    assert status == 200
    await js.publish(CAMERA_DELETED, cameras_pb2.Camera(camera_id="cam-1").SerializeToString())
    assert await _heard(stack, js, token) == {"cam-0"}
    await worker.close()


async def test_a_name_that_is_no_subject_is_refused_and_live_goes_on(stack: Stack) -> None:
    """NATS closed the connection of the API for good, and live stopped for everybody."""
    async with connected(stack) as socket:
        for name in ("x" * 5_000, "x" * 129, "a b", "a.b", "a>", "é", "\0", ""):
            await socket.send_json({"type": "subscribe", "channel": f"preview:{name}"})
            answer = await receive(socket)
            assert answer["type"] == "error"
            assert len(json.dumps(answer)) < 1_000
        await _sees_a_frame(stack, socket)


async def test_a_connection_that_nats_closes_for_good_is_made_anew(stack: Stack) -> None:
    async with connected(stack) as socket:
        await _sees_a_frame(stack, socket)
        client = await stack.live_bus.client()
        with contextlib.suppress(Exception):
            await client.subscribe("x" * 5_000)
            await client.flush()
        await until(lambda: client.is_closed)
        await _sees_a_frame(stack, socket)
    assert not faults()


async def _sees_a_frame(stack: Stack, socket: ClientWebSocketResponse) -> None:
    await socket.send_json({"type": "subscribe", "channel": "live:cam-1"})
    publisher = await nats.connect(stack.nats_url)
    frame = events_pb2.LiveFrame(camera_id="cam-1", width=4, height=3, t=to_timestamp(time.time()))

    async def publish_again() -> None:
        while True:
            await publisher.publish(bus.live_subject("cam-1"), frame.SerializeToString())
            await asyncio.sleep(0.1)

    publishing = asyncio.create_task(publish_again())
    try:
        while (await receive(socket))["type"] != "live":
            pass
    finally:
        publishing.cancel()
        await publisher.close()
    await socket.send_json({"type": "unsubscribe", "channel": "live:cam-1"})

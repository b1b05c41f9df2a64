"""Domain events on a real NATS: published if and only if the change was committed, also after NATS was away."""

import asyncio

import nats
from tests.fixtures.nats import NatsServer

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, Site


async def _events(server: NatsServer, number: int) -> list:
    """Wait for the first `number` events on the stream of domain events."""
    client = await nats.connect(server.url)
    try:
        deadline = asyncio.get_running_loop().time() + 20
        while True:
            try:
                subscription = await client.jetstream().subscribe("countline.domain.>", ordered_consumer=True)
                break
            except nats.js.errors.NotFoundError:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.1)
        return [await subscription.next_msg(timeout=20) for _ in range(number)]
    finally:
        await client.close()


async def test_events_are_published_in_order_without_passwords_also_after_nats_was_away(
    control_dsn: str, nats_server: NatsServer, start_control
) -> None:
    control = await start_control(control_dsn, nats_url=nats_server.url)
    admin = control.caller("admin").cameras
    await admin.CreateSite(cameras_pb2.CreateSiteRequest(site=Site(site_id="lab", time_zone="UTC")))
    await _events(nats_server, 1)
    await nats_server.kill()
    url = "rtsp://joe:s3cret@camera.invalid/live"
    camera = Camera(camera_id="door", site_id="lab", name="Door", stream_url=url)
    await admin.CreateCamera(cameras_pb2.CreateCameraRequest(camera=camera))
    await admin.DeleteCamera(cameras_pb2.DeleteCameraRequest(camera_id="door"))
    await nats_server.start()
    events = await _events(nats_server, 3)
    names = [event.headers["Countline-Event"] for event in events]
    assert names == ["site.created", "camera.created", "camera.deleted"]
    created = events[names.index("camera.created")]
    assert created.subject == "countline.domain.camera.created"
    assert created.headers["Countline-Actor"] == "admin"
    sent = Camera.FromString(created.data)
    assert sent.stream_url == "rtsp://joe:***@camera.invalid/live"

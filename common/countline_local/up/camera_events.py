"""What happens to cameras, told as it happens to whoever looks at `countline up`."""

import asyncio
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from countline.v1 import cameras_pb2
from countline_common.data.bus import connect, domain_subject
from countline_local.parts.part import PartEvent
from countline_local.supervision.supervisor import Supervisor
from countline_local.system import System
from countline_local.up import Display

TYPE_HEADER: Final = "Countline-Type"
KINDS: Final = ("created", "updated", "deleted")


async def tell_camera_events(system: System, supervisor: Supervisor, display: Display) -> None:
    """Tell of cameras that are created, updated and deleted, until cancelled."""

    async def on_message(message: Msg) -> None:
        if text := describe(message.subject, message.headers or {}, message.data):
            display.event(PartEvent("cameras", text, good=True))

    await supervisor.wait_ready()
    client = await connect(system.nats().url, "countline-up")
    try:
        for kind in KINDS:
            await client.subscribe(domain_subject("camera", kind), cb=on_message)
        await asyncio.Event().wait()
    finally:
        await client.close()


def describe(subject: str, headers: dict[str, str], payload: bytes) -> str:
    """A domain event in words; empty where it is of no camera."""
    if headers.get(TYPE_HEADER) != cameras_pb2.Camera.DESCRIPTOR.full_name:
        return ""
    try:
        camera = cameras_pb2.Camera.FromString(payload)
    except DecodeError:
        return ""
    return f"camera {camera.camera_id} was {subject.rpartition('.')[2]}"

"""Shows created, updated and deleted cameras in the output of `countline up`."""

import asyncio
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from countline.v1 import cameras_pb2
from countline_common.data.bus import connect, domain_subject
from countline_common.data.bus_users import UP
from countline_common.tls.authority import CLI
from countline_local.parts.nats import nats_server
from countline_local.parts.system import System
from countline_local.supervision.part import PartEvent
from countline_local.supervision.supervisor import Supervisor
from countline_local.up.display import Display

TYPE_HEADER: Final = "Countline-Type"
KINDS: Final = ("created", "updated", "deleted")


async def show_camera_events(system: System, supervisor: Supervisor, display: Display) -> None:
    """Show events of cameras until cancelled."""

    async def on_message(message: Msg) -> None:
        if text := describe(message.subject, message.headers or {}, message.data):
            display.event(PartEvent("cameras", text, good=True))

    await supervisor.wait_ready()
    client = await connect(nats_server(system).url_of(UP), "countline-up", system.tls(CLI), user=UP)
    try:
        for kind in KINDS:
            await client.subscribe(domain_subject("camera", kind), cb=on_message)
        await asyncio.Event().wait()
    finally:
        await client.close()


def describe(subject: str, headers: dict[str, str], payload: bytes) -> str:
    """A camera event in words; empty for any other event."""
    if headers.get(TYPE_HEADER) != cameras_pb2.Camera.DESCRIPTOR.full_name:
        return ""
    try:
        camera = cameras_pb2.Camera.FromString(payload)
    except DecodeError:
        return ""
    return f"camera {camera.camera_id} was {subject.rpartition('.')[2]}"

"""What the shell offers on Tab; asks the services briefly, and offers nothing where they do not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from countline.v1.cameras_pb2 import ListCamerasRequest
from countline_common.grpc.client import Client, connect

PATIENCE_S: Final = 1.5


def offered(question: Callable[[Client], Awaitable[Iterable[str]]], incomplete: str) -> list[str]:
    """Those of the answers to a question that begin so."""

    async def asked() -> Iterable[str]:
        async with asyncio.timeout(PATIENCE_S), connect() as client:
            return await question(client)

    try:
        return [answer for answer in asyncio.run(asked()) if answer.startswith(incomplete)]
    except Exception:  # noqa: BLE001  (a shell that waits for completion can show no error)
        return []


def complete_camera(incomplete: str) -> list[str]:
    """Ids of cameras that begin so."""
    return offered(_camera_ids, incomplete)


async def _camera_ids(client: Client) -> list[str]:
    answer = await client.cameras.ListCameras(ListCamerasRequest(page_size=1000))
    return [camera.camera_id for camera in answer.cameras]

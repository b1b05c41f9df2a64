"""What the shell offers on Tab; asks the services briefly, and offers nothing where they do not answer."""

import asyncio
from typing import Final

from countline.v1.cameras_pb2 import ListCamerasRequest
from countline_common.client import connect

PATIENCE_S: Final = 1.5


def complete_camera(incomplete: str) -> list[str]:
    """Ids of cameras that begin so."""
    try:
        return [camera_id for camera_id in asyncio.run(_camera_ids()) if camera_id.startswith(incomplete)]
    except Exception:  # noqa: BLE001  (a shell that waits for completion can show no error)
        return []


async def _camera_ids() -> list[str]:
    async with asyncio.timeout(PATIENCE_S), connect() as client:
        answer = await client.cameras.ListCameras(ListCamerasRequest(page_size=1000))
        return [camera.camera_id for camera in answer.cameras]

"""Trajectories of a camera of a running system, page by page over REST."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp

from countline.v1 import events_pb2
from countline_common.grpc.client import connect
from countline_common.grpc.discovery import ServerProfile
from countline_common.http.rest_client import get
from countline_common.http.site_times import read_times
from countline_pipelines.offline.trajectory_files import parse

PATH: Final = "/api/v1/analytics/trajectories"
TIMEOUT_S: Final = 30.0
PAGE: Final = 500
RUN_UP: Final = timedelta(seconds=60)
"""So much earlier than what is asked for, since a line must know where an object comes from."""


async def site_times(target: ServerProfile, camera_id: str, texts: Mapping[str, str | None]) -> dict[str, datetime]:
    """Read times as a user wrote them, by option; without an offset they are those of the camera's site.

    Raises:
        CountlineError: a text is not a time, or the system cannot be asked.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with connect(target) as client, aiohttp.ClientSession(timeout=timeout) as session:

        async def rest(path: str, query: Mapping[str, str]) -> dict[str, Any]:
            return await get(session, client.rest_base_url + path, query, await client.authorization())

        return await read_times(rest, texts, camera_id)


async def stored_trajectories(
    target: ServerProfile, camera_id: str, start: datetime, end: datetime
) -> AsyncIterator[events_pb2.Trajectory]:
    """Yield what a camera saw between two moments, oldest first, with a run-up before.

    Raises:
        CountlineError: the system cannot be asked, or refuses.
    """
    asked = {"camera_id": camera_id, "start": (start - RUN_UP).isoformat(), "end": end.isoformat()}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with connect(target) as client, aiohttp.ClientSession(timeout=timeout) as session:
        url, token = client.rest_base_url + PATH, ""
        while True:
            page = {**asked, "page_size": str(PAGE), "page_token": token}
            data = await get(session, url, page, await client.authorization())
            for found in data.get("trajectories", ()):
                yield parse(found, url)
            token = data.get("next_page_token", "")
            if not token:
                return

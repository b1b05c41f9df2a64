"""Trajectories of a camera of a running system, page by page over REST."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp

from countline.v1 import events_pb2
from countline_common.errors import InternalError, InvalidInputError, UnavailableError
from countline_common.grpc.client import Target, connect
from countline_pipelines.offline.trajectory_files import parse

PATH: Final = "/api/v1/analytics/trajectories"
TIMEOUT_S: Final = 30.0
PAGE: Final = 500
RUN_UP: Final = timedelta(seconds=60)
"""So much earlier than what is asked for, since a line must know where an object comes from."""


async def stored_trajectories(
    target: Target, camera_id: str, start: datetime, end: datetime
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
            data = await _get(session, url, page, await client.authorization())
            for found in data.get("trajectories", ()):
                yield parse(found, url)
            token = data.get("next_page_token", "")
            if not token:
                return


async def _get(
    session: aiohttp.ClientSession, url: str, asked: dict[str, str], headers: dict[str, str]
) -> dict[str, Any]:
    try:
        async with session.get(url, params=asked, headers=headers) as response:
            body = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise UnavailableError(
            f"{url} does not answer: {str(error) or type(error).__name__}", hint="see: countline status"
        ) from error
    if isinstance(body, dict) and body.get("success") is True:
        found: dict[str, Any] = body["data"]
        return found
    errors = body.get("errors") if isinstance(body, dict) else None
    if not errors:
        raise InternalError(f"{url} gave an answer that is none of ours")
    raise InvalidInputError("; ".join(each["message"] for each in errors))

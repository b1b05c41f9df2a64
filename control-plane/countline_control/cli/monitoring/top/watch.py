"""Asks the services for snapshots, again and again, and finds the server anew when it went away."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from countline.v1.cameras_pb2 import ListCamerasRequest
from countline.v1.workers_pb2 import ListWorkersRequest
from countline_common.errors import CountlineError
from countline_common.grpc.client import Client, connect
from countline_common.grpc.discovery import discover
from countline_common.grpc.paging import every_page
from countline_common.http.rest_client import get
from countline_common.times import rfc3339
from countline_control.cli.cameras import all_cameras
from countline_control.cli.monitoring.top.snapshot import TopSnapshot, snapshot_of

COUNTS: Final = "/api/v1/analytics/counts"
COUNTS_TIMEOUT_S: Final = 5.0
MINUTE_S: Final = 60


async def take_snapshot(server: str | None, data: Path | None, site: str) -> TopSnapshot:
    """Ask the services once. The server is looked for each time: after a restart it may have other ports.

    Raises:
        CountlineError: the services do not answer, or refuse.
    """
    async with connect(discover(server, data)) as client:
        cameras = await all_cameras(client, ListCamerasRequest(site_id=site))
        workers = await every_page(
            lambda token: client.workers.ListWorkers(ListWorkersRequest(page_token=token)),
            lambda answer: answer.workers,
        )
        counts, problem = await _counts(client)
        return snapshot_of(time.time(), cameras, workers, counts, problem)


async def _counts(client: Client) -> tuple[Mapping[str, int] | None, str]:
    """Crossings of each camera in the last full minute; None and the reason if analytics does not answer."""
    end = int(time.time()) // MINUTE_S * MINUTE_S
    query = {"bucket": "1m", "group_by": "line", "start": rfc3339(end - MINUTE_S), "end": rfc3339(end)}
    timeout = aiohttp.ClientTimeout(total=COUNTS_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            answer = await get(session, client.rest_base_url + COUNTS, query, await client.authorization())
    except CountlineError as error:
        return None, error.message
    return sums(answer.get("buckets", [])), ""


def sums(buckets: list[Mapping[str, Any]]) -> dict[str, int]:
    """Crossings of each camera, in both directions and over all lines."""
    found: dict[str, int] = {}
    for bucket in buckets:
        found[bucket["camera_id"]] = found.get(bucket["camera_id"], 0) + bucket["in"] + bucket["out"]
    return found

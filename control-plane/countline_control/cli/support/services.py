"""What the services know: health, parts, streams, cameras, workers, settings and recent log lines."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from countline.v1.administration_pb2 import ListSettingsRequest
from countline.v1.cameras_pb2 import ListCamerasRequest
from countline.v1.logs_pb2 import ListLogLinesRequest
from countline.v1.parts_pb2 import ListMessageStreamsRequest, ListMigrationsRequest, ListPartsRequest
from countline.v1.workers_pb2 import ListWorkersRequest
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json
from countline_control.cli.cameras import all_cameras
from countline_control.cli.monitoring.answers import answers_of_services
from countline_control.cli.sites import all_sites

MOST_LINES: Final = 1000
ANSWER_LIMIT_S: Final = 5.0


async def _health(client: Client) -> Any:
    return await answers_of_services(client, ANSWER_LIMIT_S, with_gateway=True)


async def _parts(client: Client) -> Any:
    return to_json(await client.parts.ListParts(ListPartsRequest()))


async def _migrations(client: Client) -> Any:
    return to_json(await client.parts.ListMigrations(ListMigrationsRequest()))


async def _streams(client: Client) -> Any:
    return to_json(await client.parts.ListMessageStreams(ListMessageStreamsRequest()))


async def _settings(client: Client) -> Any:
    return to_json(await client.administration.ListSettings(ListSettingsRequest()))


async def _sites(client: Client) -> Any:
    return [to_json(site) for site in await all_sites(client)]


async def _cameras(client: Client) -> Any:
    return [to_json(camera) for camera in await all_cameras(client, ListCamerasRequest())]


async def _workers(client: Client) -> Any:
    workers = await every_page(
        lambda token: client.workers.ListWorkers(ListWorkersRequest(page_token=token)), lambda answer: answer.workers
    )
    return [to_json(worker) for worker in workers]


async def _log_lines(client: Client) -> Any:
    answer = await client.logs.ListLogLines(ListLogLinesRequest(page_size=MOST_LINES))
    return to_json(answer)


QUESTIONS: Final[dict[str, Callable[[Client], Awaitable[Any]]]] = {
    "health/services.json": _health,
    "health/parts.json": _parts,
    "health/migrations.json": _migrations,
    "health/streams.json": _streams,
    "settings.json": _settings,
    "sites.json": _sites,
    "cameras.json": _cameras,
    "workers.json": _workers,
    "logs/recent.json": _log_lines,
}
"""Each file of the archive that a service answers, and how to ask for it."""

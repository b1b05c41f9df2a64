"""Shell completion. It asks the services with a short limit and offers nothing if they do not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import typer

from countline.v1.auth_pb2 import ListRolesRequest, ListUsersRequest
from countline.v1.cameras_pb2 import ListCamerasRequest, ListSitesRequest
from countline.v1.workers_pb2 import ListWorkersRequest
from countline_common.contexts.context import named_context
from countline_common.grpc.client import Client, connect
from countline_common.grpc.discovery import ServerProfile, discover

PATIENCE_S: Final = 1.5


def offered(ctx: typer.Context, question: Callable[[Client], Awaitable[Iterable[str]]], incomplete: str) -> list[str]:
    """The answers of the server that the typed command would ask, where they begin with the incomplete word."""

    async def asked() -> Iterable[str]:
        async with asyncio.timeout(PATIENCE_S), connect(_server(ctx)) as client:
            return await question(client)

    try:
        return [answer for answer in asyncio.run(asked()) if answer.startswith(incomplete)]
    except Exception:  # noqa: BLE001  (the shell cannot show an error during completion)
        return []


def _server(ctx: typer.Context) -> ServerProfile:
    """The server of the options that are typed so far. The callback of `countline` does not run during completion."""
    named_context.set(ctx.find_root().params.get("context") or "")
    data = ctx.params.get("data")
    return discover(ctx.params.get("server"), Path(data) if data else None)


def complete_camera(ctx: typer.Context, incomplete: str) -> list[str]:
    """Camera ids that begin with the incomplete word."""
    return offered(ctx, _camera_ids, incomplete)


async def _camera_ids(client: Client) -> list[str]:
    answer = await client.cameras.ListCameras(ListCamerasRequest(page_size=1000))
    return [camera.camera_id for camera in answer.cameras]


def complete_site(ctx: typer.Context, incomplete: str) -> list[str]:
    """Site ids that begin with the incomplete word."""
    return offered(ctx, _site_ids, incomplete)


async def _site_ids(client: Client) -> list[str]:
    answer = await client.cameras.ListSites(ListSitesRequest(page_size=1000))
    return [site.site_id for site in answer.sites]


def complete_worker(ctx: typer.Context, incomplete: str) -> list[str]:
    """Worker ids that begin with the incomplete word."""
    return offered(ctx, _worker_ids, incomplete)


async def _worker_ids(client: Client) -> list[str]:
    answer = await client.workers.ListWorkers(ListWorkersRequest(page_size=1000))
    return [worker.worker_id for worker in answer.workers]


def complete_user(ctx: typer.Context, incomplete: str) -> list[str]:
    """User names that begin with the incomplete word."""
    return offered(ctx, _usernames, incomplete)


async def _usernames(client: Client) -> list[str]:
    answer = await client.auth.ListUsers(ListUsersRequest(page_size=1000))
    return [user.username for user in answer.users]


def complete_role(ctx: typer.Context, incomplete: str) -> list[str]:
    """Role names that begin with the incomplete word."""
    return offered(ctx, _role_names, incomplete)


async def _role_names(client: Client) -> list[str]:
    answer = await client.auth.ListRoles(ListRolesRequest(page_size=1000))
    return [role.name for role in answer.roles]

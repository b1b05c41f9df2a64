"""Shell completion. It asks the services with a short limit and offers nothing if they do not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from countline.v1.auth_pb2 import ListRolesRequest, ListUsersRequest
from countline.v1.cameras_pb2 import ListCamerasRequest, ListSitesRequest
from countline_common.grpc.client import Client, connect

PATIENCE_S: Final = 1.5


def offered(question: Callable[[Client], Awaitable[Iterable[str]]], incomplete: str) -> list[str]:
    """The answers that begin with the incomplete word."""

    async def asked() -> Iterable[str]:
        async with asyncio.timeout(PATIENCE_S), connect() as client:
            return await question(client)

    try:
        return [answer for answer in asyncio.run(asked()) if answer.startswith(incomplete)]
    except Exception:  # noqa: BLE001  (the shell cannot show an error during completion)
        return []


def complete_camera(incomplete: str) -> list[str]:
    """Camera ids that begin with the incomplete word."""
    return offered(_camera_ids, incomplete)


async def _camera_ids(client: Client) -> list[str]:
    answer = await client.cameras.ListCameras(ListCamerasRequest(page_size=1000))
    return [camera.camera_id for camera in answer.cameras]


def complete_site(incomplete: str) -> list[str]:
    """Site ids that begin with the incomplete word."""
    return offered(_site_ids, incomplete)


async def _site_ids(client: Client) -> list[str]:
    answer = await client.cameras.ListSites(ListSitesRequest(page_size=1000))
    return [site.site_id for site in answer.sites]


def complete_user(incomplete: str) -> list[str]:
    """User names that begin with the incomplete word."""
    return offered(_usernames, incomplete)


async def _usernames(client: Client) -> list[str]:
    answer = await client.auth.ListUsers(ListUsersRequest(page_size=1000))
    return [user.username for user in answer.users]


def complete_role(incomplete: str) -> list[str]:
    """Role names that begin with the incomplete word."""
    return offered(_role_names, incomplete)


async def _role_names(client: Client) -> list[str]:
    answer = await client.auth.ListRoles(ListRolesRequest(page_size=1000))
    return [role.name for role in answer.roles]

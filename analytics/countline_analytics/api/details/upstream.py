"""The service of cameras as REST shows it: with details, if a request asks for them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from google.protobuf.message import Message
from sqlalchemy.exc import DBAPIError

from countline.v1.cameras_pb2 import CAMERA_VIEW_FULL, Camera
from countline_analytics.api.details.messages import shown_cameras
from countline_analytics.api.gateway import CallContext, Upstream
from countline_analytics.api.services import Method
from countline_analytics.questions.callers import Caller
from countline_common.access.vocabulary import Permission
from countline_common.errors import CountlineError
from countline_common.grpc.authorization import bearer_token
from countline_common.grpc.tokens import TokenVerifier
from countline_common.logs import get_logger

_log = get_logger(__name__)

_Add = Callable[[Sequence[Camera], Caller], Awaitable[None]]


class Details(Protocol):
    """Adds each kind of details to cameras; raises while it cannot be read."""

    async def add_workers(self, cameras: Sequence[Camera], caller: Caller) -> None: ...
    async def add_models(self, cameras: Sequence[Camera], caller: Caller) -> None: ...
    async def add_counts(self, cameras: Sequence[Camera], caller: Caller) -> None: ...
    async def add_events(self, cameras: Sequence[Camera], caller: Caller) -> None: ...


class DetailedCameras:
    """Adds details to the answers of the service of cameras.

    Args:
        upstream: the service of cameras.
        details: reads them.
        verifier: finds out what the caller may read.
    """

    def __init__(self, upstream: Upstream, details: Details, verifier: TokenVerifier) -> None:
        self._upstream = upstream
        self._details = details
        self._verifier = verifier

    async def call(self, method: Method, request: Message, context: CallContext) -> Message:
        """Answer a request.

        Raises:
            CountlineError: the service refuses or fails.
        """
        response = await self._upstream.call(method, request, context)
        cameras = shown_cameras(response)
        if cameras and getattr(request, "view", None) == CAMERA_VIEW_FULL:
            principal = await self._verifier.identify(bearer_token(context.authorization))
            caller = Caller(principal, context.authorization, principal.reach(Permission.ANALYTICS_READ))
            await self._add(cameras, caller)
        return response

    async def _add(self, cameras: Sequence[Camera], caller: Caller) -> None:
        for camera in cameras:
            camera.details.SetInParent()
        details = self._details
        kinds: dict[str, _Add] = {
            "worker": details.add_workers,
            "model": details.add_models,
            "counts": details.add_counts,
            "events": details.add_events,
        }
        read = await asyncio.gather(*(_was_read(kind, add, cameras, caller) for kind, add in kinds.items()))
        missing = [kind for kind, was_read in zip(kinds, read, strict=True) if not was_read]
        for camera in cameras:
            camera.details.missing.extend(missing)


async def _was_read(kind: str, add: _Add, cameras: Sequence[Camera], caller: Caller) -> bool:
    """Add one kind of details. A camera is better shown without one than not at all."""
    try:
        await add(cameras, caller)
    except (CountlineError, DBAPIError) as error:
        _log.warning("camera.details_missing", kind=kind, error=str(error))
        return False
    return True

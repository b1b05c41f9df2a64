"""The client of the control-plane for commands and tools.

`discovery` finds the server, `session` keeps the login fresh, and this module adds the login to each call.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import grpc

from countline.v1 import (
    act_pb2_grpc,
    administration_pb2_grpc,
    audit_pb2_grpc,
    auth_pb2_grpc,
    cameras_pb2_grpc,
    factor_pb2_grpc,
    keys_pb2_grpc,
    logs_pb2_grpc,
    models_pb2_grpc,
    oidc_pb2_grpc,
    parts_pb2_grpc,
    registration_pb2_grpc,
    secrets_pb2_grpc,
    workers_pb2_grpc,
)
from countline_common.errors import NotFoundError, UnavailableError
from countline_common.grpc.authorization import bearer
from countline_common.grpc.channels import open_channel
from countline_common.grpc.discovery import ServerProfile, discover
from countline_common.grpc.errors import translated
from countline_common.grpc.session import CALL_TIMEOUT_S, ActingSession, LoginSession
from countline_common.tls.diagnosis import diagnose


class _Authorizes(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    """Adds the access token or API key, and a deadline, to each call."""

    def __init__(self, session: LoginSession | ActingSession) -> None:
        self._session = session

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        token = await self._session.access_token()
        call = await continuation(_with_token(client_call_details, token), request)
        if self._session.has_key or await call.code() is not grpc.StatusCode.UNAUTHENTICATED:
            return call
        # What the login permits has changed: a new token says how.
        await self._session.renew(token)
        return await continuation(_with_token(client_call_details, await self._session.access_token()), request)


def _with_token(details: Any, token: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.add("authorization", bearer(token))
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=CALL_TIMEOUT_S if details.timeout is None else details.timeout,
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


class _AuthorizesStreams(grpc.aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    """Adds the access token to each stream. A stream has no deadline here: its caller decides."""

    def __init__(self, session: LoginSession | ActingSession) -> None:
        self._session = session

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        metadata.add("authorization", bearer(await self._session.access_token()))
        details = client_call_details._replace(metadata=metadata)
        return await continuation(details, request_iterator)


class Client:
    """Stubs of the services; each call carries the login. `connect` makes it."""

    def __init__(self, target: ServerProfile, channels: "_Channels") -> None:
        self._channels = channels
        self.endpoints = target.endpoints
        self.tls = target.tls
        self.session = channels.session
        self.caller = channels.caller
        """Gives the tokens of calls: those of the login, or those to act for a user."""
        auth = channels.open(target.endpoints.auth)
        self.auth: auth_pb2_grpc.AuthServiceAsyncStub = auth_pb2_grpc.AuthServiceStub(auth)
        self.audit: audit_pb2_grpc.AuditServiceAsyncStub = audit_pb2_grpc.AuditServiceStub(auth)
        self.keys: keys_pb2_grpc.KeyServiceAsyncStub = keys_pb2_grpc.KeyServiceStub(auth)
        self.factor: factor_pb2_grpc.FactorServiceAsyncStub = factor_pb2_grpc.FactorServiceStub(auth)
        self.logs: logs_pb2_grpc.LogServiceAsyncStub = logs_pb2_grpc.LogServiceStub(auth)
        self.oidc: oidc_pb2_grpc.OidcServiceAsyncStub = oidc_pb2_grpc.OidcServiceStub(auth)
        self.parts: parts_pb2_grpc.PartServiceAsyncStub = parts_pb2_grpc.PartServiceStub(auth)
        self.registration: registration_pb2_grpc.RegistrationServiceAsyncStub = (
            registration_pb2_grpc.RegistrationServiceStub(auth)
        )
        cameras = channels.open(target.endpoints.cameras)
        self.cameras: cameras_pb2_grpc.CameraServiceAsyncStub = cameras_pb2_grpc.CameraServiceStub(cameras)
        self.administration: administration_pb2_grpc.AdministrationServiceAsyncStub = (
            administration_pb2_grpc.AdministrationServiceStub(auth)
        )
        self.secrets: secrets_pb2_grpc.SecretServiceAsyncStub = secrets_pb2_grpc.SecretServiceStub(cameras)
        self.workers: workers_pb2_grpc.WorkerServiceAsyncStub = workers_pb2_grpc.WorkerServiceStub(
            channels.open(target.endpoints.workers)
        )

    @cached_property
    def models(self) -> "models_pb2_grpc.ModelServiceAsyncStub":
        """The models service.

        Raises:
            NotFoundError: its address is unknown.
        """
        if not self.endpoints.models:
            raise NotFoundError(
                "this server has no address for the models service",
                hint="name it: --server auth=HOST:PORT,cameras=…,workers=…,models=HOST:PORT,gateway=URL",
            )
        return models_pb2_grpc.ModelServiceStub(self._channels.open(self.endpoints.models))

    @property
    def rest_base_url(self) -> str:
        """Base URL of REST, such as `http://127.0.0.1:8080`; paths are `/api/v1/…`."""
        return self.endpoints.gateway.rstrip("/")

    async def authorization(self) -> dict[str, str]:
        """The header for a REST call."""
        return {"Authorization": bearer(await self.caller.access_token())}


class _Channels:
    """The gRPC connections of one client."""

    def __init__(self, target: ServerProfile) -> None:
        # The calls that log in must not themselves need a login.
        self._tls = target.tls
        self._plain = open_channel(target.endpoints.auth, self._tls)
        self.session = LoginSession(
            auth_pb2_grpc.AuthServiceStub(self._plain),
            factor_pb2_grpc.FactorServiceStub(self._plain),
            oidc_pb2_grpc.OidcServiceStub(self._plain),
            target,
        )
        self._open = [self._plain]
        self._interceptors = _interceptors(self.session)
        self.caller: LoginSession | ActingSession = self.session
        if target.acting_for is not None:
            own = self.open(target.endpoints.auth)
            acting, auth = act_pb2_grpc.ActingServiceStub(own), auth_pb2_grpc.AuthServiceStub(own)
            self.caller = ActingSession(acting, auth, target.acting_for, target.endpoints.auth)
            self._interceptors = _interceptors(self.caller)

    def open(self, address: str) -> grpc.aio.Channel:
        """A channel whose calls carry the login."""
        channel = open_channel(address, self._tls, interceptors=self._interceptors)
        self._open.append(channel)
        return channel

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._open:
            await channel.close(None)


def _interceptors(session: LoginSession | ActingSession) -> list[Any]:
    return [_Authorizes(session), _AuthorizesStreams(session)]


@asynccontextmanager
async def connect(target: ServerProfile | None = None) -> AsyncIterator[Client]:
    """A client of `target`, or of the server that `discover` finds.

    gRPC errors leave the block as `CountlineError`, with the fields and the hint from the server.

        async with connect() as client:
            await client.cameras.ListCameras(ListCamerasRequest())
    """
    found = target or discover()
    channels = _Channels(found)
    try:
        with translated(found.endpoints.auth):
            yield Client(found, channels)
    except UnavailableError:
        if cause := await asyncio.to_thread(diagnose, found.endpoints.auth, found.tls):
            raise cause from None
        raise
    finally:
        await channels.close()

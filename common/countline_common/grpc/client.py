"""A client of the control-plane for commands and tools: finds the servers, logs in, and keeps the login fresh.

Where no server is named, the one that was logged in to last is asked, or the one that runs from this machine's data
folder, whose credentials lie in that folder. Logins are kept in files of mode 0600.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self, cast

import grpc
import platformdirs

from countline.v1 import auth_pb2, auth_pb2_grpc, cameras_pb2_grpc, models_pb2_grpc, workers_pb2_grpc
from countline_common.errors import InvalidInputError, NotFoundError, UnauthenticatedError
from countline_common.grpc.errors import translated
from countline_common.settings import DATA_VARIABLE, DataFolder, host_port
from countline_common.times import from_timestamp

SERVER_VARIABLE: Final = "COUNTLINE_SERVER"
ADMIN: Final = "admin"
CALL_TIMEOUT_S: Final = 10.0
RENEWED_BEFORE_S: Final = 60.0
"""A token with less time left is renewed first."""
CHANNEL_OPTIONS: Final = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A server that was away and is back is found within a second, not after gRPC's own two minutes.
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the services listen: `host:port` for gRPC, an URL for the gateway."""

    auth: str
    cameras: str
    workers: str
    gateway: str
    models: str = ""
    """Empty where the server has no service of models, or nobody said where it is."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST` (the services on their usual ports), a file of endpoints, or `auth=HOST:PORT,cameras=…,…`.

        Raises:
            InvalidInputError: it is none of them.
        """
        if "=" in text:
            parts = dict(part.partition("=")[::2] for part in text.split(","))
            return cls._checked(parts, text)
        if text.endswith(".json"):
            return cls.from_file(Path(text))
        if not text or "/" in text or (":" in text.strip("[]").rpartition("]")[2] and not text.startswith("[")):
            raise InvalidInputError(
                f"{text!r} names no server",
                hint="give HOST, or auth=HOST:PORT,cameras=…,workers=…,models=…,gateway=URL",
            )
        return cls(f"{text}:3001", f"{text}:8000", f"{text}:8003", f"http://{text}:8080", f"{text}:8005")

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a file such as `run/endpoints.json` in the data folder.

        Raises:
            NotFoundError: it is not there.
            InvalidInputError: it is none.
        """
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise NotFoundError(
                f"there is no {path}: nothing runs from there", hint="start it: countline up"
            ) from error
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{path} cannot be read: {error}") from error
        return cls._checked(content, str(path))

    @classmethod
    def _checked(cls, parts: dict[str, Any], source: str) -> Self:
        names = ("auth", "cameras", "workers", "gateway")
        missing = [name for name in names if not isinstance(parts.get(name), str)]
        if missing:
            raise InvalidInputError(f"{source!r} does not say where {', '.join(missing)} is")
        models = parts.get("models", "")
        for address in (*(parts[name] for name in names[:3]), *([models] if models else [])):
            host_port(address)
        return cls(**{name: parts[name] for name in names}, models=models)


@dataclass(frozen=True, slots=True)
class Login:
    """Tokens as they are kept; times in Unix seconds."""

    username: str
    access_token: str
    access_expires_at: float
    refresh_token: str
    refresh_expires_at: float
    made_with: str = ""
    """Hash of the password that a login from the data folder was made with; another password ends it."""

    def is_fresh(self, now: float) -> bool:
        """Whether the access token can still be used for a while."""
        return now < self.access_expires_at - RENEWED_BEFORE_S


class LoginFile:
    """Where a login is kept between commands; several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Login | None:
        """What is kept; None where there is nothing that can be used."""
        try:
            return Login(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, login: Login) -> None:
        """Replace what is kept; another process sees the old or the new one, never half."""
        _write_private(self.path, json.dumps(asdict(login)))

    def delete(self) -> None:
        """Forget the login."""
        self.path.unlink(missing_ok=True)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the file, so that two processes do not renew one login at once; for ten seconds at most."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + CALL_TIMEOUT_S
        try:
            while not _flock(descriptor) and time.monotonic() < deadline:  # noqa: ASYNC110  (held by another process)
                await asyncio.sleep(0.02)
            yield
        finally:
            os.close(descriptor)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to talk to, and how to log in there."""

    endpoints: Endpoints
    login_file: LoginFile
    server: str = ""
    """As it was named; empty for this machine's data folder."""
    password_file: Path | None = None
    """The admin's password, on the machine that runs from a data folder."""


class Profiles:
    """Logins by server, in the user's own configuration folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or platformdirs.user_config_path("countline", appauthor=False)

    def login_file(self, server: str) -> LoginFile:
        """Where the login at a server is kept."""
        return LoginFile(self._folder / f"login-{hashlib.sha256(server.encode()).hexdigest()[:12]}.json")

    @property
    def current(self) -> str:
        """The server that was logged in to last; empty where there is none."""
        try:
            return (self._folder / "server").read_text().strip()
        except OSError:
            return ""

    def set_current(self, server: str) -> None:
        """Ask this server from now on; empty for none."""
        _write_private(self._folder / "server", server)


def discover(server: str | None = None, data: Path | None = None, profiles: Profiles | None = None) -> Target:
    """Whom to talk to.

    In this order: the server that is named, or COUNTLINE_SERVER; what runs from the data folder that is named, or
    COUNTLINE_DATA; the server that was logged in to last; what runs from this machine's usual data folder.

    Raises:
        NotFoundError: nothing runs from the data folder.
        InvalidInputError: the server's name cannot be understood.
    """
    profiles = profiles or Profiles()
    named = server or os.environ.get(SERVER_VARIABLE, "")
    if not named and data is None and not os.environ.get(DATA_VARIABLE):
        named = profiles.current
    if named and data is None:
        return Target(Endpoints.parse(named), profiles.login_file(named), named)
    folder = DataFolder.resolve(data)
    return Target(
        Endpoints.from_file(folder.run / "endpoints.json"),
        LoginFile(folder.run / "cli-login.json"),
        password_file=folder.credential("admin-password"),
    )


class Session:
    """A login that renews itself.

    Args:
        auth: the service of auth.
        target: where the login is kept, and how to make one.
        clock: Unix seconds.
    """

    def __init__(
        self, auth: "auth_pb2_grpc.AuthServiceAsyncStub", target: Target, clock: Callable[[], float] = time.time
    ) -> None:
        self._auth = auth
        self._target = target
        self._clock = clock
        self._login: Login | None = None
        self._renewing = asyncio.Lock()

    async def access_token(self) -> str:
        """An access token that is good for a minute at least.

        Raises:
            UnauthenticatedError: nobody is logged in, or the login has expired.
        """
        async with self._renewing:
            if self._login is None or not self._login.is_fresh(self._clock()):
                self._login = await self._kept_or_renewed()
            return self._login.access_token

    async def log_in(self, username: str, password: str) -> auth_pb2.User:
        """Log in and keep it.

        Raises:
            UnauthenticatedError: the name or the password is wrong.
        """
        response = await self._call_login(username, password)
        self._login = _login(response.tokens, response.user.username)
        self._target.login_file.save(self._login)
        return response.user

    async def log_out(self) -> None:
        """End the session and forget it; nothing happens where there is none."""
        login = self._target.login_file.load()
        if login is None:
            return
        with translated():
            request = auth_pb2.LogoutRequest(refresh_token=login.refresh_token)
            await self._auth.Logout(request, timeout=CALL_TIMEOUT_S)
        self._target.login_file.delete()
        self._login = None

    async def _kept_or_renewed(self) -> Login:
        async with self._target.login_file.locked():
            kept = self._kept()
            if kept is not None and kept.is_fresh(self._clock()):
                return kept  # another process has renewed it
            renewed = await self._renewed(kept)
            self._target.login_file.save(renewed)
            return renewed

    def _kept(self) -> Login | None:
        kept = self._target.login_file.load()
        if kept is not None and self._target.password_file is not None and kept.made_with != self._password_hash():
            return None
        return kept

    async def _renewed(self, kept: Login | None) -> Login:
        if kept is not None and kept.refresh_expires_at > self._clock():
            try:
                with translated():
                    request = auth_pb2.RefreshTokenRequest(refresh_token=kept.refresh_token)
                    response = await self._auth.RefreshToken(request, timeout=CALL_TIMEOUT_S)
                return replace(_login(response.tokens, kept.username), made_with=kept.made_with)
            except UnauthenticatedError:
                if self._target.password_file is None:
                    raise
        if self._target.password_file is None:
            problem = "your login has expired" if kept else "nobody is logged in"
            raise UnauthenticatedError(problem, hint=f"countline login --server {self._target.server}")
        response_to_password = await self._call_login(ADMIN, self._password())
        return replace(_login(response_to_password.tokens, ADMIN), made_with=self._password_hash())

    async def _call_login(self, username: str, password: str) -> auth_pb2.LoginResponse:
        request = auth_pb2.LoginRequest(username=username, password=password)
        with translated():
            return await self._auth.Login(request, timeout=CALL_TIMEOUT_S)

    def _password(self) -> str:
        path = self._target.password_file
        try:
            return path.read_text().strip() if path is not None else ""
        except OSError as error:
            raise UnauthenticatedError(
                f"the admin's password {path} cannot be read: {error.strerror}",
                hint="run this as the user that started Countline, or log in: countline login",
            ) from error

    def _password_hash(self) -> str:
        return hashlib.sha256(b"countline" + self._password().encode()).hexdigest()[:32]


def _login(tokens: auth_pb2.Tokens, username: str) -> Login:
    return Login(
        username=username,
        access_token=tokens.access_token,
        access_expires_at=from_timestamp(tokens.access_expires_at),
        refresh_token=tokens.refresh_token,
        refresh_expires_at=from_timestamp(tokens.refresh_expires_at),
    )


class _Authorizes(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    """Sends the access token with each call, and gives each call a deadline."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        metadata.add("authorization", f"Bearer {await self._session.access_token()}")
        details = grpc.aio.ClientCallDetails(
            method=client_call_details.method,
            timeout=CALL_TIMEOUT_S if client_call_details.timeout is None else client_call_details.timeout,
            metadata=metadata,
            credentials=client_call_details.credentials,
            wait_for_ready=client_call_details.wait_for_ready,
        )
        return await continuation(details, request)


class _AuthorizesStreams(grpc.aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    """Sends the access token with each stream; how long one may last is its caller's business."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        metadata.add("authorization", f"Bearer {await self._session.access_token()}")
        details = client_call_details._replace(metadata=metadata)
        return await continuation(details, request_iterator)


class Client:
    """The services, with the login sent along.

    Made by `connect`.
    """

    def __init__(self, target: Target, channels: "_Channels") -> None:
        self._channels = channels
        self.endpoints = target.endpoints
        self.session = channels.session
        self.auth: auth_pb2_grpc.AuthServiceAsyncStub = auth_pb2_grpc.AuthServiceStub(
            channels.open(target.endpoints.auth)
        )
        self.cameras: cameras_pb2_grpc.CameraServiceAsyncStub = cameras_pb2_grpc.CameraServiceStub(
            channels.open(target.endpoints.cameras)
        )
        self.workers: workers_pb2_grpc.WorkerServiceAsyncStub = workers_pb2_grpc.WorkerServiceStub(
            channels.open(target.endpoints.workers)
        )

    @cached_property
    def models(self) -> "models_pb2_grpc.ModelServiceAsyncStub":
        """The service of models.

        Raises:
            NotFoundError: the server has none.
        """
        if not self.endpoints.models:
            raise NotFoundError(
                "it is not known where this server's service of models is",
                hint="name it: --server auth=HOST:PORT,cameras=…,workers=…,models=HOST:PORT,gateway=URL",
            )
        return models_pb2_grpc.ModelServiceStub(self._channels.open(self.endpoints.models))

    @property
    def rest_base_url(self) -> str:
        """Where REST begins, such as `http://127.0.0.1:8080`; paths are `/api/v1/…`."""
        return self.endpoints.gateway.rstrip("/")

    async def authorization(self) -> dict[str, str]:
        """The header for a REST call."""
        return {"Authorization": f"Bearer {await self.session.access_token()}"}


class _Channels:
    """The gRPC connections of one client."""

    def __init__(self, target: Target) -> None:
        # Logging in must not ask for a login.
        self._plain = grpc.aio.insecure_channel(target.endpoints.auth, options=CHANNEL_OPTIONS)
        self.session = Session(auth_pb2_grpc.AuthServiceStub(self._plain), target)
        self._open = [self._plain]
        self._interceptors = [cast("Any", _Authorizes(self.session)), cast("Any", _AuthorizesStreams(self.session))]

    def open(self, address: str) -> grpc.aio.Channel:
        """A connection that sends the login along."""
        channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS, interceptors=self._interceptors)
        self._open.append(channel)
        return channel

    async def close(self) -> None:
        """Close every connection."""
        for channel in self._open:
            await channel.close(None)


@asynccontextmanager
async def connect(target: Target | None = None) -> AsyncIterator[Client]:
    """A client of the servers that `discover` finds, or of a target.

    Errors of gRPC leave the block as `CountlineError`, with the fields and the hint that the server gave.

        async with connect() as client:
            await client.cameras.ListCameras(ListCamerasRequest())
    """
    found = target or discover()
    channels = _Channels(found)
    try:
        with translated():
            yield Client(found, channels)
    finally:
        await channels.close()

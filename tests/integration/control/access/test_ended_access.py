"""Access that ends in auth ends within 5 s on streams of other services and in commands, over a real NATS."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell
from tests.fixtures.nats import NatsServer

from countline.v1 import (
    auth_pb2,
    keys_pb2,
    models_pb2,
    workers_pb2,
)
from countline.v1.auth_pb2 import User
from countline_common.waiting import happens

OF_USERS = "three uncommon turnips"
LIMIT_S = 5.0
OPEN_WITHIN_S = 20.0


@pytest.fixture
async def control(control_dsn: str, nats_server: NatsServer, start_control: Callable, tmp_path: Path) -> Any:
    """Auth in one control-plane, the other services in another: what ends in auth reaches them over NATS alone."""
    (tmp_path / "password").write_text(PASSWORD)
    shared = {"nats_url": nats_server.url, "admin_password_file": tmp_path / "password"}
    auth = await start_control(control_dsn, ("auth",), **shared)
    others = ("cameras", "models", "workers")
    control = await start_control(control_dsn, others, auth_address=auth.plane.addresses["auth"], **shared)
    control.channels |= auth.channels
    control.addresses = {**control.plane.addresses, **auth.plane.addresses}
    return control


async def token_of(control: Any, username: str, password: str) -> str:
    """The access token of a new login."""
    request = auth_pb2.LoginRequest(username=username, password=password)
    return str((await control.caller(None).auth.Login(request)).tokens.access_token)


class OpenStream:
    """A stream that its caller keeps open, and how it ended."""

    def __init__(self, method: Any, first: Any) -> None:
        self._leaving = asyncio.Event()
        self._first = first
        self._call = method(self._requests())
        self._answered = asyncio.Event()
        self.error: grpc.aio.AioRpcError | None = None
        self._reader = asyncio.create_task(self._read())

    async def is_open(self) -> None:
        """Wait for the first answer."""
        assert await happens(self._answered, OPEN_WITHIN_S), "the stream answers nothing"
        assert not self._reader.done(), self.error

    async def ended(self) -> grpc.StatusCode:
        """Wait for the end of the stream."""
        async with asyncio.timeout(LIMIT_S):
            await asyncio.shield(self._reader)
        assert self.error is not None, "the service ended the stream without an error"
        return self.error.code()

    async def close(self) -> None:
        self._leaving.set()
        self._call.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _requests(self) -> AsyncIterator[Any]:
        yield self._first
        await self._leaving.wait()

    async def _read(self) -> None:
        try:
            async for _ in self._call:
                self._answered.set()
        except grpc.aio.AioRpcError as error:
            self.error = error
            self._answered.set()


@asynccontextmanager
async def upload(control: Any, token: str, name: str) -> AsyncIterator[OpenStream]:
    """A deployment of a model whose bytes do not come."""
    header = models_pb2.DeployHeader(name=name, size_bytes=1000, digest="0" * 64)
    request = models_pb2.DeployModelRequest(header=header)
    async with _open(control.holder(token).models.DeployModel, request) as stream:
        yield stream


@asynccontextmanager
async def worker(control: Any, key: str, worker_id: str) -> AsyncIterator[OpenStream]:
    """A worker that is connected with a key."""
    report = workers_pb2.ConnectRequest(worker_id=worker_id, instance="a", backend="software", capacity=1)
    async with _open(control.holder(key).workers.Connect, report) as stream:
        yield stream


@asynccontextmanager
async def _open(method: Any, first: Any) -> AsyncIterator[OpenStream]:
    stream = OpenStream(method, first)
    try:
        await stream.is_open()
        yield stream
    finally:
        await stream.close()


async def end_session(admin: Any, user: User, _: Any) -> None:
    (session,) = (await admin.auth.ListUserSessions(auth_pb2.ListUserSessionsRequest(user_id=user.user_id))).sessions
    request = auth_pb2.EndUserSessionRequest(user_id=user.user_id, session_id=session.session_id)
    await admin.auth.EndUserSession(request)


async def disable(admin: Any, user: User, _: Any) -> None:
    await admin.auth.DisableUser(auth_pb2.DisableUserRequest(user_id=user.user_id))


async def delete(admin: Any, user: User, _: Any) -> None:
    await admin.auth.DeleteUser(auth_pb2.DeleteUserRequest(user_id=user.user_id))


async def reset_password(admin: Any, user: User, _: Any) -> None:
    await admin.auth.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user.user_id))


async def change_role(admin: Any, user: User, _: Any) -> None:
    await admin.auth.UpdateUser(auth_pb2.UpdateUserRequest(user=User(user_id=user.user_id, roles=["viewer"])))


async def log_out_everywhere(_: Any, __: User, own: Any) -> None:
    await own.auth.LogoutEverywhere(auth_pb2.LogoutEverywhereRequest())


ENDS: list[Callable[[Any, User, Any], Awaitable[None]]] = [
    end_session, disable, delete, reset_password, change_role, log_out_everywhere,
]  # fmt: skip


async def test_what_ends_in_auth_ends_the_open_streams_of_users_elsewhere(control: Any) -> None:
    admin = control.holder(await token_of(control, "admin", PASSWORD))

    async def user_of(name: str) -> tuple[User, str]:
        new = auth_pb2.CreateUserRequest(username=name, password=OF_USERS, roles=["admin"])
        user = (await admin.auth.CreateUser(new)).user
        return user, await token_of(control, name, OF_USERS)

    _, token = await user_of("bystander")
    async with upload(control, token, "bystander") as other:
        for end in ENDS:
            name = end.__name__.replace("_", "-")
            user, token = await user_of(name)
            async with upload(control, token, name) as stream:
                await end(admin, user, control.holder(token))
                assert await stream.ended() is grpc.StatusCode.UNAUTHENTICATED, name
        await other.is_open()


async def test_what_ends_in_auth_ends_the_streams_of_workers_elsewhere(control: Any) -> None:
    admin = control.holder(await token_of(control, "admin", PASSWORD))
    for name in ("revoke-key", "disable", "delete"):
        account = keys_pb2.CreateServiceAccountRequest(username=f"worker-{name}", roles=["worker"])
        user = (await admin.keys.CreateServiceAccount(account)).user
        new = keys_pb2.ApiKey(name="here")
        key = (await admin.keys.CreateUserKey(keys_pb2.CreateUserKeyRequest(user_id=user.user_id, api_key=new))).api_key
        async with worker(control, key.key, user.username) as stream:
            if name == "revoke-key":
                await admin.keys.RevokeUserKey(keys_pb2.RevokeUserKeyRequest(user_id=user.user_id, key_id=key.key_id))
            else:
                await {"disable": disable, "delete": delete}[name](admin, user, admin)
            assert await stream.ended() is grpc.StatusCode.UNAUTHENTICATED, name


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        (("sessions", "end", "--all", "--user", "vera", "--yes"), "log"),
        (("users", "disable", "vera"), "log"),
        (("users", "set", "vera", "--role", "guest"), "the permission 'camera:write' is missing"),
    ],
    ids=["session ended", "disabled", "role changed"],
)
async def test_a_stored_login_of_the_command_line_is_refused_once_it_has_ended(
    control: Any, tmp_path: Path, end: tuple[str, ...], problem: str
) -> None:
    """Another service than auth refuses it, and a command that renews it gets what the user may do now."""
    admin = Shell(control.addresses, tmp_path)
    await admin.ok("users", "add", "vera", "--role", "operator", "--password-stdin", stdin=f"{OF_USERS}\n")
    away = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "vera")}
    login = ("login", "--server", admin.server, "--username", "vera", "--password-stdin")
    await admin.ok(*login, stdin=f"{OF_USERS}\n", environment=away)
    await admin.ok("sites", "add", "site-0", environment=away)
    await admin.ok(*end)
    ended, number = time.monotonic(), 0
    while True:
        number, began = number + 1, time.monotonic()
        code, _, err = await admin.run("sites", "add", f"site-{number}", environment=away)
        if code:
            break
        assert began - ended < LIMIT_S, "a command that began later still succeeds"
    assert "error: " in err
    assert problem in err
    assert "hint: " in err

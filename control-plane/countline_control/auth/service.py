"""The gRPC service of auth: login, refresh, logout, and users.

A refresh token can be used once. If it is used again after the grace period for lost answers, it was stolen: its whole
session ends.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import hashlib
import secrets
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import auth_pb2, auth_pb2_grpc
from countline_common.errors import ConflictError, NotFoundError, UnauthenticatedError
from countline_common.grpc.calls import Context, current_principal, current_request_id
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.server import Service
from countline_common.grpc.tokens import TokenSigner
from countline_common.http.client_address import Network
from countline_common.logs import get_logger
from countline_common.times import to_datetime
from countline_control.auth import domain, store
from countline_control.auth.domain import IssuedTokens, StoredUser
from countline_control.auth.limiter import LoginLimiter
from countline_control.auth.messages import tokens_message, user_message
from countline_control.auth.passwords import Passwords
from countline_control.auth.tables import outbox as outbox_rows
from countline_control.database import Database
from countline_control.outbox import Outbox

NAME: Final = "countline.v1.AuthService"
ACCESS_LIFETIME_S: Final = 15 * 60
REFRESH_LIFETIME_S: Final = 30 * 24 * 3600

_log = get_logger(__name__)


class AuthService(auth_pb2_grpc.AuthServiceServicer):
    """Answers `countline.v1.AuthService`.

    Args:
        database: holds the schema `auth`.
        signer: signs access tokens.
        passwords: hashes passwords.
        clock: returns Unix seconds.
        trusted_proxies: proxies whose header for a caller's address is used.
    """

    def __init__(
        self,
        database: Database,
        signer: TokenSigner,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
        trusted_proxies: Collection[Network] = (),
    ) -> None:
        self._trusted_proxies = trusted_proxies
        self._database = database
        self._signer = signer
        self._passwords = passwords or Passwords()
        self._clock = clock
        self._limiter = LoginLimiter(database, clock)
        self.outbox = Outbox(outbox_rows)

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(
            NAME,
            lambda server: auth_pb2_grpc.add_AuthServiceServicer_to_server(self, server),
            self._database.check,
        )

    async def has_users(self) -> bool:
        """Whether there is a user who can log in."""
        return await self._database.read(store.has_users)

    async def create_first_admin(self, password: str) -> bool:
        """Create the user `admin` if there is no user yet; return whether it was created."""
        if await self.has_users():  # a hash costs a quarter of a second of processor time, at each start
            return False
        hashed = await self._passwords.hash(password)
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            if await store.has_users(connection):
                return False
            user = self._new_user("admin", hashed, (domain.ADMIN,))
            await store.insert_user(connection, user)
            await self._record(connection, "created", user, actor="system")
        return True

    async def Login(self, request: auth_pb2.LoginRequest, context: Context) -> auth_pb2.LoginResponse:
        address = domain.caller_address(context.peer(), _forwarded_for(context), self._trusted_proxies)
        await self._limiter.count(request.username, address)
        user = await self._database.read(lambda connection: store.find_user(connection, request.username))
        if not await self._passwords.matches(user.password_hash if user else None, request.password) or user is None:
            await self._audit_failed_login(request.username, address)
            raise UnauthenticatedError("the user name or the password is wrong", hint="try again")
        async with self._database.begin() as connection:
            await self._limiter.clear(connection, request.username, address)
            session_id = uuid4().hex
            await store.forget_sessions(connection, self._now())
            await store.insert_session(connection, session_id, user.user_id, self._now())
            tokens = await self._issue(connection, session_id, user)
            await self._audit(connection, user.username, "login", user.username)
        return auth_pb2.LoginResponse(tokens=tokens_message(tokens), user=user_message(user))

    async def RefreshToken(
        self, request: auth_pb2.RefreshTokenRequest, context: Context
    ) -> auth_pb2.RefreshTokenResponse:
        stolen = False
        tokens = None
        async with self._database.begin() as connection:
            hashed = _hash(request.refresh_token)
            token = await store.lock_token(connection, hashed)
            if token is not None and token.revoked_at is None and token.expires_at > self._now():
                stolen = self._is_reused(token.used_at)
                if stolen:
                    await store.revoke_session(connection, token.session_id, self._now())
                    await self._audit(connection, token.user.username, "refresh_token_reused", token.session_id)
                else:
                    await store.use_token(connection, hashed, self._now())
                    tokens = await self._issue(connection, token.session_id, token.user)
        if tokens is None:
            problem = "was used before, so its session was ended" if stolen else "is not valid any more"
            raise UnauthenticatedError(f"the refresh token {problem}", hint="log in again: countline login")
        return auth_pb2.RefreshTokenResponse(tokens=tokens_message(tokens))

    async def Logout(self, request: auth_pb2.LogoutRequest, context: Context) -> auth_pb2.LogoutResponse:
        async with self._database.begin() as connection:
            token = await store.lock_token(connection, _hash(request.refresh_token))
            if token is not None:
                await store.revoke_session(connection, token.session_id, self._now())
                await self._audit(connection, token.user.username, "logout", token.user.username)
        return auth_pb2.LogoutResponse()

    async def GetCurrentUser(
        self, request: auth_pb2.GetCurrentUserRequest, context: Context
    ) -> auth_pb2.GetCurrentUserResponse:
        principal = current_principal()
        user = await self._database.read(lambda connection: store.get_user(connection, principal.subject))
        if user is None:
            raise UnauthenticatedError(f"user {principal.name!r} no longer exists", hint="log in as another user")
        permissions = sorted(domain.permissions_of(user.roles))
        return auth_pb2.GetCurrentUserResponse(user=user_message(user), permissions=permissions)

    async def CreateUser(self, request: auth_pb2.CreateUserRequest, context: Context) -> auth_pb2.CreateUserResponse:
        roles = tuple(dict.fromkeys(request.roles))
        domain.check_new_user(request.username, request.password, roles)
        user = self._new_user(request.username, await self._passwords.hash(request.password), roles)
        async with self._database.begin() as connection:
            await store.insert_user(connection, user)
            await self._record(connection, "created", user, actor=current_principal().name)
        return auth_pb2.CreateUserResponse(user=user_message(user))

    async def GetUser(self, request: auth_pb2.GetUserRequest, context: Context) -> auth_pb2.GetUserResponse:
        user = await self._database.read(lambda connection: store.get_user(connection, request.user_id))
        if user is None:
            raise _no_user(request.user_id)
        return auth_pb2.GetUserResponse(user=user_message(user))

    async def ListUsers(self, request: auth_pb2.ListUsersRequest, context: Context) -> auth_pb2.ListUsersResponse:
        wanted = page(request.page_size, request.page_token)
        found = await self._database.read(
            lambda connection: store.list_users(connection, wanted.after, wanted.size + 1)
        )
        shown = found[: wanted.size]
        token = next_token(domain.username_key(shown[-1].username)) if len(found) > wanted.size else ""
        return auth_pb2.ListUsersResponse(users=[user_message(user) for user in shown], next_page_token=token)

    async def DeleteUser(self, request: auth_pb2.DeleteUserRequest, context: Context) -> auth_pb2.DeleteUserResponse:
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            user = await store.get_user(connection, request.user_id)
            if user is None:
                raise _no_user(request.user_id)
            if domain.ADMIN in user.roles and not await store.count_other_admins(connection, user.user_id):
                raise ConflictError(
                    f"{user.username!r} is the last admin and cannot be deleted", hint="create another admin first"
                )
            await store.delete_user(connection, user.user_id)
            await self._record(connection, "deleted", user, actor=current_principal().name)
        return auth_pb2.DeleteUserResponse()

    def _now(self) -> datetime:
        return to_datetime(self._clock())

    def _new_user(self, username: str, password_hash: str, roles: tuple[str, ...]) -> StoredUser:
        return StoredUser(uuid4().hex, username, password_hash, roles, self._now())

    async def _issue(self, connection: AsyncConnection, session_id: str, user: StoredUser) -> IssuedTokens:
        refresh = secrets.token_urlsafe(32)
        now = self._clock()
        refresh_until = now + REFRESH_LIFETIME_S
        await store.insert_token(connection, _hash(refresh), session_id, to_datetime(now), to_datetime(refresh_until))
        access = self._signer.sign(
            user.user_id,
            user.username,
            roles=user.roles,
            permissions=domain.permissions_of(user.roles),
            lifetime_s=ACCESS_LIFETIME_S,
        )
        return IssuedTokens(access, refresh, now + ACCESS_LIFETIME_S, refresh_until)

    def _is_reused(self, used_at: datetime | None) -> bool:
        return used_at is not None and self._now() - used_at > timedelta(seconds=domain.REUSE_GRACE_S)

    async def _record(self, connection: AsyncConnection, event: str, user: StoredUser, actor: str) -> None:
        """Add a change of a user to the outbox and to the audit."""
        await self.outbox.add(connection, "user", event, actor, user_message(user))
        await self._audit(connection, actor, f"user.{event}", user.username, roles=list(user.roles))

    async def _audit(self, connection: AsyncConnection, actor: str, action: str, subject: str, **detail: Any) -> None:
        _log.info("auth.audit", actor=actor, action=action, subject=subject, **detail)
        await store.write_audit(
            connection,
            at=self._now(),
            actor=actor,
            action=action,
            subject=subject,
            request_id=current_request_id(),
            detail=detail,
        )

    async def _audit_failed_login(self, username: str, address: str) -> None:
        async with self._database.begin() as connection:
            # People type passwords into the wrong field: store only names of users that exist.
            shown = username[:64] if await store.find_user(connection, username) else "(unknown)"
            await self._audit(connection, shown, "login_failed", shown, address=address)


def _no_user(user_id: str) -> NotFoundError:
    return NotFoundError(f"there is no user with the id {user_id!r}", hint="list the users: countline users list")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _forwarded_for(context: Context) -> str:
    metadata = dict(context.invocation_metadata() or ())
    return str(metadata.get("x-forwarded-for", ""))

"""Login, refresh and logout.

A refresh token can be used once. If it is used again after the grace period for lost answers, it was stolen: its whole
session ends.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from countline.v1 import auth_pb2
from countline_common.errors import UnauthenticatedError
from countline_common.grpc.calls import Context, current_principal
from countline_control.auth import domain, store
from countline_control.auth.base import AuthBase, hash_of
from countline_control.auth.domain import IssuedTokens, StoredToken
from countline_control.auth.limiter import LoginLimiter
from countline_control.auth.messages import tokens_message, user_message

LONGEST_CLIENT = 200
"""Characters of what a client calls itself that are stored."""


class SessionMethods(AuthBase):
    """The methods of sessions."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limiter = LoginLimiter(self._database, self._clock)

    async def Login(self, request: auth_pb2.LoginRequest, context: Context) -> auth_pb2.LoginResponse:
        metadata = dict(context.invocation_metadata() or ())
        forwarded_for = str(metadata.get("x-forwarded-for", ""))
        address = domain.caller_address(context.peer(), forwarded_for, self._trusted_proxies)
        await self._limiter.count(request.username, address)
        user = await self._database.read(lambda connection: store.find_user(connection, request.username))
        right = await self._passwords.matches(user.password_hash if user else None, request.password)
        if not right or user is None or user.disabled_at is not None:
            await self._audit_failed_login(request.username, address)
            raise UnauthenticatedError("the user name or the password is wrong", hint="try again")
        async with self._database.begin() as connection:
            await self._limiter.clear(connection, request.username, address)
            session_id, client = uuid4().hex, str(metadata.get("user-agent", ""))[:LONGEST_CLIENT]
            await store.forget_sessions(connection, self._now())
            await store.insert_session(connection, session_id, user.user_id, self._now(), address, client)
            tokens = await self._issue(connection, session_id, user)
            await self._audit(connection, user.username, "login", user.username)
        return auth_pb2.LoginResponse(tokens=tokens_message(tokens), user=user_message(user))

    async def RefreshToken(
        self, request: auth_pb2.RefreshTokenRequest, context: Context
    ) -> auth_pb2.RefreshTokenResponse:
        stolen = False
        tokens: IssuedTokens | None = None
        async with self._database.begin() as connection:
            hashed = hash_of(request.refresh_token)
            token = await store.lock_token(connection, hashed)
            if token is not None and self._is_good(token):
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
            token = await store.lock_token(connection, hash_of(request.refresh_token))
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
        permissions = sorted(frozenset[str]().union(*(held.permissions for held in user.held)))
        return auth_pb2.GetCurrentUserResponse(user=user_message(user), permissions=permissions)

    def _is_good(self, token: StoredToken) -> bool:
        return token.revoked_at is None and token.expires_at > self._now() and token.user.disabled_at is None

    def _is_reused(self, used_at: datetime | None) -> bool:
        return used_at is not None and self._now() - used_at > timedelta(seconds=domain.REUSE_GRACE_S)

    async def _audit_failed_login(self, username: str, address: str) -> None:
        async with self._database.begin() as connection:
            # People type passwords into the wrong field: store only names of users that exist.
            shown = username[:64] if await store.find_user(connection, username) else "(unknown)"
            await self._audit(connection, shown, "login_failed", shown, address=address)

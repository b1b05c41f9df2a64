"""What administrators do with accounts of others: password resets, disabling, unlocking, and sessions."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Final

from countline.v1 import auth_pb2
from countline_common.errors import ConflictError
from countline_common.grpc.calls import Context, current_principal
from countline_common.times import to_timestamp
from countline_control.auth import domain, store
from countline_control.auth.base import place_of
from countline_control.auth.limiter import forget_user
from countline_control.auth.messages import session_message, user_message
from countline_control.auth.oidc import store as oidc_store
from countline_control.auth.oidc.people import PersonMethods
from countline_control.auth.profiles import no_session
from countline_control.auth.users import no_user

ONE_TIME_BYTES: Final = 15
"""Random bytes of a one-time password: 20 characters."""


class AccountMethods(PersonMethods):
    """The methods of accounts of others."""

    async def ResetPassword(
        self, request: auth_pb2.ResetPasswordRequest, context: Context
    ) -> auth_pb2.ResetPasswordResponse:
        password = secrets.token_urlsafe(ONE_TIME_BYTES)
        hashed = await self._passwords.hash(password)
        until = self._now() + timedelta(seconds=domain.ONE_TIME_S)
        async with self._database.begin() as connection:
            holder, before = await self._changed(connection, request.user_id, "reset the password of")
            if before.service_account:
                raise ConflictError(
                    f"{before.username!r} is a service account and has no password",
                    hint="make a key: countline keys create NAME --for USER",
                )
            await self._check_remains(connection, before, "given a one-time password")
            if before.user_id == holder.subject:
                raise ConflictError(
                    "no user resets its own password: a stolen login would take the account over",
                    hint="change it: countline password",
                )
            if self.oidc is not None and await oidc_store.identities_of(connection, before.user_id):
                action = f"reset the password of user {before.username}, who is linked to the identity provider"
                await self._check_may_log_in_as(connection, holder, action)
            user = replace(before, password_hash=hashed, former_hashes=before.used_hashes)
            user = replace(user, must_change_password=True, password_expires_at=until)
            user = await self._update_ending_sessions(connection, user)
            await self._record_user(connection, "password_reset", user, holder.name, before=before)
        self.password_changed(user.username)
        return auth_pb2.ResetPasswordResponse(password=password, expires_at=to_timestamp(until.timestamp()))

    async def DisableUser(self, request: auth_pb2.DisableUserRequest, context: Context) -> auth_pb2.DisableUserResponse:
        async with self._database.begin() as connection:
            holder, user = await self._changed(connection, request.user_id, "disable")
            if user.disabled_at is None:
                await self._check_remains(connection, user, "disabled")
                before, user = user, replace(user, disabled_at=self._now())
                user = await self._update_ending_sessions(connection, user)
                await self._record_user(connection, "disabled", user, holder.name, before=before)
        return auth_pb2.DisableUserResponse(user=user_message(user))

    async def EnableUser(self, request: auth_pb2.EnableUserRequest, context: Context) -> auth_pb2.EnableUserResponse:
        async with self._database.begin() as connection:
            holder, user = await self._changed(connection, request.user_id, "enable")
            if user.disabled_at is not None:
                before, user = user, replace(user.revised(), disabled_at=None)
                await store.update_user(connection, user)
                await self._record_user(connection, "enabled", user, holder.name, before=before)
        return auth_pb2.EnableUserResponse(user=user_message(user))

    async def UnlockUser(self, request: auth_pb2.UnlockUserRequest, context: Context) -> auth_pb2.UnlockUserResponse:
        async with self._database.begin() as connection:
            _, user = await self._changed(connection, request.user_id, "unlock")
            await forget_user(connection, user.username)
            await self.outbox.record(connection, place_of(user))
        return auth_pb2.UnlockUserResponse(user=user_message(user))

    async def ListUserSessions(
        self, request: auth_pb2.ListUserSessionsRequest, context: Context
    ) -> auth_pb2.ListUserSessionsResponse:
        async with self._database.begin() as connection:
            if await store.get_user(connection, request.user_id) is None:
                raise no_user(request.user_id)
            found = await store.sessions_of(connection, request.user_id, self._now())
        shown = [session_message(session, current_principal().session_id) for session in found]
        return auth_pb2.ListUserSessionsResponse(sessions=shown)

    async def EndUserSession(
        self, request: auth_pb2.EndUserSessionRequest, context: Context
    ) -> auth_pb2.EndUserSessionResponse:
        async with self._database.begin() as connection:
            _, user = await self._changed(connection, request.user_id, "end sessions of")
            ended = await store.end_sessions(connection, user.user_id, self._now(), only=request.session_id)
            if not ended:
                raise no_session(request.session_id)
            await self._end_access(connection, user.user_id, session_ids=ended)
            session = auth_pb2.Session(session_id=request.session_id)
            await self.outbox.record(connection, place_of(user), before=session)
        return auth_pb2.EndUserSessionResponse()

    async def LogoutUser(self, request: auth_pb2.LogoutUserRequest, context: Context) -> auth_pb2.LogoutUserResponse:
        async with self._database.begin() as connection:
            _, user = await self._changed(connection, request.user_id, "log out")
            await self._logout_everywhere(connection, user.user_id)
            await self.outbox.record(connection, place_of(user))
        return auth_pb2.LogoutUserResponse()

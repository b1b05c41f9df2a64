"""What users do with their own account: profile, password and sessions."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
from dataclasses import replace

from countline.v1 import auth_pb2
from countline_common.access.vocabulary import Permission
from countline_common.errors import FieldProblem, InvalidInputError, NotFoundError
from countline_common.grpc.calls import Context, current_principal
from countline_control.auth import domain, store
from countline_control.auth.base import place_of
from countline_control.auth.domain import StoredUser
from countline_control.auth.messages import session_message, user_message
from countline_control.auth.sessions import SessionMethods
from countline_control.auth.users import changed_fields, with_profile


class ProfileMethods(SessionMethods):
    """The methods of the caller's own account."""

    async def GetCurrentUser(
        self, request: auth_pb2.GetCurrentUserRequest, context: Context
    ) -> auth_pb2.GetCurrentUserResponse:
        user = await self._database.read(lambda connection: self._self(connection, Permission.SELF_READ))
        held = await self._database.read(lambda connection: self._held(connection, user))
        permissions = sorted(frozenset[str]().union(*(each.permissions for each in held)))
        actor = current_principal().actor
        return auth_pb2.GetCurrentUserResponse(
            user=self._own_message(user), permissions=permissions, actor_name=actor.name if actor is not None else ""
        )

    async def UpdateCurrentUser(
        self, request: auth_pb2.UpdateCurrentUserRequest, context: Context
    ) -> auth_pb2.UpdateCurrentUserResponse:
        paths = changed_fields(request.update_mask.paths, request.user, ("display_name", "email"))
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            stored = await self._self(connection, Permission.SELF_WRITE)
            user = with_profile(stored, request.user, paths)
            if user != stored:
                user = replace(user, revision=stored.revision + 1)
                await store.update_user(connection, user)
                await self._record_user(connection, "updated", user, user.username, before=stored)
        return auth_pb2.UpdateCurrentUserResponse(user=self._own_message(user))

    async def ChangePassword(
        self, request: auth_pb2.ChangePasswordRequest, context: Context
    ) -> auth_pb2.ChangePasswordResponse:
        user = await self._database.read(lambda connection: self._self(connection, Permission.SELF_WRITE))
        if not user.must_change_password:
            await self._check_current(user, request.current_password, context)
        names = (user.username, user.display_name, user.email.partition("@")[0])
        problems = await asyncio.to_thread(domain.password_problems, request.new_password, names, "new_password")
        if problems := problems or await self._reuse_problems(user, request.new_password):
            raise InvalidInputError("the password cannot be changed", fields=problems)
        hashed = await self._passwords.hash(request.new_password)
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            current = await self._self(connection, Permission.SELF_WRITE)
            if current.password_hash != user.password_hash:
                raise InvalidInputError("the password was changed meanwhile", hint="log in again: countline login")
            changed = replace(current, password_hash=hashed, former_hashes=current.used_hashes)
            changed = replace(changed, must_change_password=False, password_expires_at=None)
            keep = current_principal().session_id
            changed = await self._update_ending_sessions(connection, changed, keep=keep)
            before, after = user_message(current), user_message(changed)
            await self.outbox.record(connection, place_of(user), before=before, after=after)
        self.password_changed(user.username)
        return auth_pb2.ChangePasswordResponse()

    async def ListOwnSessions(
        self, request: auth_pb2.ListOwnSessionsRequest, context: Context
    ) -> auth_pb2.ListOwnSessionsResponse:
        current = current_principal()
        found = await self._database.read(
            lambda connection: store.sessions_of(connection, current.subject, self._now())
        )
        shown = [session_message(session, current.session_id) for session in found]
        return auth_pb2.ListOwnSessionsResponse(sessions=shown)

    async def EndOwnSession(
        self, request: auth_pb2.EndOwnSessionRequest, context: Context
    ) -> auth_pb2.EndOwnSessionResponse:
        async with self._database.begin() as connection:
            user = await self._self(connection, Permission.SELF_WRITE)
            ended = await store.end_sessions(connection, user.user_id, self._now(), only=request.session_id)
            if not ended:
                raise no_session(request.session_id)
            await self._end_access(connection, user.user_id, session_ids=ended)
            session = auth_pb2.Session(session_id=request.session_id)
            await self.outbox.record(connection, place_of(user), before=session)
        return auth_pb2.EndOwnSessionResponse()

    async def LogoutEverywhere(
        self, request: auth_pb2.LogoutEverywhereRequest, context: Context
    ) -> auth_pb2.LogoutEverywhereResponse:
        async with self._database.begin() as connection:
            user = await self._self(connection, Permission.SELF_WRITE)
            await self._logout_everywhere(connection, user.user_id)
            await self.outbox.record(connection, place_of(user))
        return auth_pb2.LogoutEverywhereResponse()

    async def _reuse_problems(self, user: StoredUser, password: str) -> tuple[FieldProblem, ...]:
        if await self._passwords.matches(user.password_hash, password):
            return (FieldProblem("new_password", "is the current one"),)
        for former in user.former_hashes:
            if await self._passwords.matches(former, password):
                return (FieldProblem("new_password", "was used before; choose one that you have not had"),)
        return ()

    async def _check_current(self, user: StoredUser, password: str, context: Context) -> None:
        """Check the current password; wrong ones count as failed logins, so that a stolen token cannot guess it."""
        address = self._address_of(context)
        known = await self._limiter.knows(user.username, address)
        attempt = await self._limiter.count(user.username, address, known=known)
        if not await self._passwords.matches(user.password_hash, password):
            problem = FieldProblem("current_password", "is wrong")
            raise InvalidInputError("the password cannot be changed", fields=(problem,))
        async with self._database.begin() as connection:
            if user.second_factor:  # the password alone must not give new attempts to guess a code
                await self._limiter.take_back(connection, attempt)
            else:
                await self._limiter.clear(connection, attempt)


def no_session(session_id: str) -> NotFoundError:
    """Return the error for a session that does not exist, or has ended."""
    return NotFoundError(f"there is no open session {session_id[:80]!r}", hint="list the sessions: countline sessions")

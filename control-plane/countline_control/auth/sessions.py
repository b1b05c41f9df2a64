"""Login, refresh and logout. A login of a user with a second factor ends in `factor.service`.

A refresh token can be used once. If it is used again after the grace period for lost answers, it was stolen: its whole
session ends.
"""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
import math
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import auth_pb2
from countline_common.audit.calls import about
from countline_common.errors import PermissionDeniedError, UnauthenticatedError
from countline_common.grpc.calls import Context
from countline_common.http.client_address import caller_address
from countline_common.times import to_datetime, to_timestamp
from countline_control.auth import domain, store
from countline_control.auth.access.roles import SUPER_ADMIN
from countline_control.auth.base import ACCESS_LIFETIME_S, AuthBase, hash_of, place_of
from countline_control.auth.domain import IssuedTokens, PasswordLogins, StoredToken, StoredUser
from countline_control.auth.factor.domain import CHALLENGE
from countline_control.auth.factor.store import StoredChallenge, insert_challenge
from countline_control.auth.limiter import LoginLimiter
from countline_control.auth.messages import tokens_message
from countline_control.auth.oidc.store import start_of_linked_session

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
LONGEST_CLIENT: Final = 200
"""Characters of what a client calls itself that are stored."""


class SessionMethods(AuthBase):
    """The methods of sessions."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limiter = LoginLimiter(self._database, self._clock)
        self.passwords_for = PasswordLogins.EVERYONE
        self._refreshes = WeakValueDictionary[bytes, asyncio.Lock]()
        """Held by the refresh of a token; the others that bring the same token wait for it."""

    async def Login(self, request: auth_pb2.LoginRequest, context: Context) -> auth_pb2.LoginResponse:
        self._check_password_login()
        address = self._address_of(context)
        known = await self._limiter.knows(request.username, address)
        # The turn comes first: a flood of logins is refused before it costs more than one look-up.
        async with self._passwords.turn(known=known):
            attempt = await self._limiter.count(request.username, address, known=known)
            user = await self._database.read(lambda connection: store.find_user(connection, request.username))
            if user is not None:  # people type passwords into the wrong field: the audit names only users that exist
                about(place_of(user))
            right = await self._passwords.verify(user.password_hash if user else None, request.password)
        if not right or user is None or not user.may_log_in(self._now()):
            raise UnauthenticatedError("the user name or the password is wrong", hint="try again")
        self._check_password_login(user)
        async with self._database.begin() as connection:
            if user.second_factor:
                await self._limiter.take_back(connection, attempt)
                return auth_pb2.LoginResponse(second_factor=await self._challenge(connection, user))
            user = await self._logged_in(connection, user)
            await self._limiter.clear(connection, attempt)
            session, tokens = await self._open_session(connection, user, context)
            await self.outbox.record(connection, place_of(user), after=session)
        return auth_pb2.LoginResponse(tokens=tokens_message(tokens), user=self._own_message(user))

    async def RefreshToken(
        self, request: auth_pb2.RefreshTokenRequest, context: Context
    ) -> auth_pb2.RefreshTokenResponse:
        stolen = False
        tokens: IssuedTokens | None = None
        hashed = hash_of(request.refresh_token)
        # The tabs of a browser refresh one token at once. They wait for its row here, without a connection each: a
        # hundred would hold all connections of the service.
        turn = self._refreshes.setdefault(hashed, asyncio.Lock())
        async with turn, self._database.begin() as connection:
            token = await store.lock_token(connection, hashed)
            if token is not None and self._is_good(token):
                stolen = self._is_reused(token.used_at)
                about(place_of(token.user), token.user.user_id, token.user.username)
                if stolen:
                    await self._end_session(connection, token)
                else:
                    await store.use_token(connection, hashed, self._now())
                    tokens = await self._issue(connection, token.session_id, token.user)
                # The call of a stolen token is refused below, which completes the row.
                await self.outbox.record(connection, place_of(token.user), finished=not stolen)
        if tokens is None:
            problem = "was used before, so its session was ended" if stolen else "is not valid any more"
            raise UnauthenticatedError(f"the refresh token {problem}", hint="log in again: countline login")
        return auth_pb2.RefreshTokenResponse(tokens=tokens_message(tokens))

    async def Logout(self, request: auth_pb2.LogoutRequest, context: Context) -> auth_pb2.LogoutResponse:
        async with self._database.begin() as connection:
            token = await store.lock_token(connection, hash_of(request.refresh_token))
            if token is not None:
                await self._end_session(connection, token)
                about(place_of(token.user), token.user.user_id, token.user.username)
                session = auth_pb2.Session(session_id=token.session_id)
                await self.outbox.record(connection, place_of(token.user), before=session)
        return auth_pb2.LogoutResponse()

    def _check_password_login(self, user: StoredUser | None = None) -> None:
        """Check that a password may open a session.

        Args:
            user: whose password is right; None before the password is checked. Only a caller who knows the password
                learns that it is of no use: the answer shows to nobody else who is a super-admin.

        Raises:
            PermissionDeniedError: it may not.
        """
        if self.passwords_for is PasswordLogins.NOBODY or (
            self.passwords_for is PasswordLogins.SUPER_ADMINS and user is not None and SUPER_ADMIN not in user.roles
        ):
            raise PermissionDeniedError(
                f"passwords open a session for {self.passwords_for.value} here".replace("-", " "),
                hint="log in through the identity provider: countline login --oidc; programs use an API key",
            )

    async def _open_session(
        self, connection: AsyncConnection, user: StoredUser, context: Context
    ) -> tuple[auth_pb2.Session, IssuedTokens]:
        """Store a session of a user who has logged in, and name the user in the audit."""
        session_id, address = uuid4().hex, self._address_of(context)
        client = _metadata(context, "user-agent")[:LONGEST_CLIENT]
        await store.forget_sessions(connection, self._now())
        await store.insert_session(connection, session_id, user.user_id, self._now(), address, client)
        tokens = await self._issue(connection, session_id, user)
        about(place_of(user), user.user_id, user.username)
        return auth_pb2.Session(session_id=session_id, address=address, client=client), tokens

    async def _issue(self, connection: AsyncConnection, session_id: str, user: StoredUser) -> IssuedTokens:
        refresh = secrets.token_urlsafe(32)
        now, latest = self._clock(), await self._end_of_linked(connection, session_id)
        until = min(now + self.current.number("session.days") * DAY_S, latest)
        await store.insert_token(connection, hash_of(refresh), session_id, to_datetime(now), to_datetime(until))
        required = self._factor_roles()
        held, pending = user.usable_in_session(required), user.pending(required)
        access = self._signed(user, held, session_id, until=until, pending=pending)
        return IssuedTokens(access, refresh, min(now + ACCESS_LIFETIME_S, until), until)

    async def _end_of_linked(self, connection: AsyncConnection, session_id: str) -> float:
        """Return when a session ends because its user has to log in at the identity provider again, in Unix seconds.

        Countline learns the groups of a person at a login only. So a session ends even if it is in use.

        Raises:
            UnauthenticatedError: the session has lasted that long.
        """
        hours = self.current.number("session.oidc_hours")
        began = await start_of_linked_session(connection, session_id) if hours else None
        if began is None:
            return math.inf
        end = began.timestamp() + hours * HOUR_S
        if end <= self._clock():
            raise UnauthenticatedError(f"this session has ended after {hours} hours", hint="log in again")
        return end

    async def _challenge(self, connection: AsyncConnection, user: StoredUser) -> auth_pb2.LoginChallenge:
        """Let a login wait for a code, and name in the audit the user whose password was right."""
        text, until = secrets.token_urlsafe(32), self._now() + CHALLENGE
        waiting = StoredChallenge(user.user_id, user.access_revision, until)
        await insert_challenge(connection, hash_of(text), waiting, self._now())
        about(place_of(user), user.user_id, user.username)
        await self.outbox.record(connection, place_of(user))
        return auth_pb2.LoginChallenge(challenge=text, expires_at=to_timestamp(until.timestamp()))

    async def _end_session(self, connection: AsyncConnection, token: StoredToken) -> None:
        await store.revoke_session(connection, token.session_id, self._now())
        await self._end_access(connection, token.user.user_id, session_ids=[token.session_id])

    async def _logged_in(self, connection: AsyncConnection, user: StoredUser) -> StoredUser:
        """Note a login; a one-time password is good for one. Its hash stays, so that it cannot become the next one.

        Raises:
            UnauthenticatedError: the user has changed since the password was checked.
        """
        await store.lock_users(connection)
        current = await store.get_user(connection, user.user_id)
        if current is None or not _proves_the_same(user, current) or not current.may_log_in(self._now()):
            raise UnauthenticatedError("the user name or the password is wrong", hint="try again")
        current = replace(current, last_login_at=self._now())
        if current.must_change_password:
            current = replace(current, password_expires_at=domain.LONG_AGO)
        await store.update_user(connection, current)
        return current

    def _address_of(self, context: Context) -> str:
        forwarded_for = _metadata(context, "x-forwarded-for")
        return caller_address(context.peer(), forwarded_for, self._trusted_proxies)

    def _is_good(self, token: StoredToken) -> bool:
        return token.revoked_at is None and token.expires_at > self._now() and token.user.disabled_at is None

    def _is_reused(self, used_at: datetime | None) -> bool:
        return used_at is not None and self._now() - used_at > timedelta(seconds=domain.REUSE_GRACE_S)


def _proves_the_same(checked: StoredUser, current: StoredUser) -> bool:
    """Whether what was checked at the beginning of a login still has to be checked, and nothing more."""
    return (checked.password_hash, checked.second_factor) == (current.password_hash, current.second_factor)


def _metadata(context: Context, name: str) -> str:
    return str(dict(context.invocation_metadata() or ()).get(name, ""))

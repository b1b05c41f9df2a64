"""The methods of registration and invites."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import registration_pb2
from countline_common.access.scopes import EVERYTHING, Held, Scope
from countline_common.access.vocabulary import Permission
from countline_common.audit.calls import about
from countline_common.errors import NotFoundError, PermissionDeniedError, ResourceExhaustedError
from countline_common.grpc.calls import Context
from countline_common.times import from_timestamp, to_datetime
from countline_control.auth import domain as auth_domain
from countline_control.auth import store as auth_store
from countline_control.auth.access.holding import Grantor, check_may_give
from countline_control.auth.access.store import roles_by_name
from countline_control.auth.base import hash_of, place_of
from countline_control.auth.domain import Grant, held_of
from countline_control.auth.messages import user_message
from countline_control.auth.registration import domain, store
from countline_control.auth.registration.domain import MOST_INVITES, OPEN_ROLE, StoredInvite, unusable_invite
from countline_control.auth.registration.messages import invite_message
from countline_control.auth.sessions import SessionMethods
from countline_control.auth.users import UserMethods

TOKEN_BYTES: Final = 24


class RegistrationMethods(SessionMethods, UserMethods):
    """The methods of registration and invites."""

    async def Register(
        self, request: registration_pb2.RegisterRequest, context: Context
    ) -> registration_pb2.RegisterResponse:
        domain.check_mode(self.current.word("registration"), with_invite=bool(request.invite_token))
        # Each attempt counts, also a successful one: an address gets some accounts, and has to wait for more.
        await self._limiter.count_registration(self._address_of(context), context.peer().rpartition(":")[0])
        hashed = hash_of(request.invite_token) if request.invite_token else b""
        # The invite comes first: without one, no answer shows which names are taken.
        await self._database.read(lambda connection: self._offered(connection, hashed))
        await asyncio.to_thread(auth_domain.check_new_user, request.username, request.password)
        password_hash = await self._passwords.hash(request.password, known=False)
        user = self._new_user(request.username, password_hash)
        async with self._database.begin() as connection:
            await auth_store.lock_users(connection)
            grants, invite = await self._offered(connection, hashed)
            if invite is not None and await store.take_invite(connection, invite.invite_id, self._now()) is None:
                raise unusable_invite()
            user = replace(user, grants=grants)
            about(place_of(user), user.user_id, user.username)
            await self._insert(connection, user, user.username)
        return registration_pb2.RegisterResponse(user=user_message(user))

    async def CreateInvite(
        self, request: registration_pb2.CreateInviteRequest, context: Context
    ) -> registration_pb2.CreateInviteResponse:
        domain.check_invites_work(self.current.word("registration"))
        wanted, now, token = request.invite, self._now(), secrets.token_urlsafe(TOKEN_BYTES)
        given = to_datetime(from_timestamp(wanted.expires_at)) if wanted.HasField("expires_at") else None
        until = domain.invite_expiry(given, now)
        async with self._database.begin() as connection:
            holder = await self._changer(connection, "invite users")
            grants = await self._granted(connection, wanted.roles, wanted.grants)
            check_may_give(holder, held_of(grants), "invite a user with these roles")
            scopes = tuple((grant.role, grant.scope) for grant in grants)
            invite = StoredInvite(uuid4().hex, hash_of(token), scopes, holder.subject, holder.name, now, until)
            await store.insert_invite(connection, invite)
            if await store.count_invites(connection) > MOST_INVITES:
                raise ResourceExhaustedError(
                    f"there are {MOST_INVITES} invites", hint="revoke some: countline invites list"
                )
            await self.outbox.record(connection, _place(invite), after=invite_message(invite))
        return registration_pb2.CreateInviteResponse(invite=invite_message(invite, token))

    async def ListInvites(
        self, request: registration_pb2.ListInvitesRequest, context: Context
    ) -> registration_pb2.ListInvitesResponse:
        found = await self._database.read(lambda connection: store.list_invites(connection, self._now()))
        return registration_pb2.ListInvitesResponse(invites=map(invite_message, found))

    async def RevokeInvite(
        self, request: registration_pb2.RevokeInviteRequest, context: Context
    ) -> registration_pb2.RevokeInviteResponse:
        async with self._database.begin() as connection:
            await self._holder(connection, Permission.USER_WRITE, "revoke invites")
            invite = await store.take_invite(connection, request.invite_id, self._now())
            if invite is None:
                raise NotFoundError(
                    f"there is no invite {request.invite_id[:80]!r}", hint="list the invites: countline invites list"
                )
            await self.outbox.record(connection, _place(invite), before=invite_message(invite))
        return registration_pb2.RevokeInviteResponse()

    async def _offered(
        self, connection: AsyncConnection, token_hash: bytes
    ) -> tuple[tuple[Grant, ...], StoredInvite | None]:
        """Return what a new account may do, and the invite; without a token, what open registration gives.

        Raises:
            UnauthenticatedError: the invite cannot be used.
        """
        if not token_hash:
            return await self._grants_of(connection, ((OPEN_ROLE, EVERYTHING),)), None
        invite = await store.find_invite(connection, token_hash, self._now())
        creator = await auth_store.get_user(connection, invite.creator_id) if invite is not None else None
        if invite is None or creator is None or creator.disabled_at is not None:
            raise unusable_invite()
        grants = await self._grants_of(connection, invite.grants)
        try:
            maker = Grantor(creator.user_id, creator.username, creator.held)
            check_may_give(maker, (Held(frozenset({Permission.USER_WRITE})), *held_of(grants)), "invite users")
        except PermissionDeniedError as error:  # its maker may do less than before
            raise unusable_invite() from error
        return grants, invite

    async def _grants_of(self, connection: AsyncConnection, wanted: Sequence[tuple[str, Scope]]) -> tuple[Grant, ...]:
        """Return roles as grants.

        Raises:
            UnauthenticatedError: a role was deleted.
        """
        known = await roles_by_name(connection)
        if any(role not in known for role, _ in wanted):
            raise unusable_invite()
        return tuple(Grant(role, known[role].permissions, scope) for role, scope in wanted)


def _place(invite: StoredInvite) -> str:
    return f"invites/{invite.invite_id}"

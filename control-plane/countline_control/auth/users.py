"""Users: created, changed and deleted by callers who hold at least as much."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import auth_pb2
from countline_common.access.scopes import EVERYTHING, Scope
from countline_common.access.vocabulary import Permission
from countline_common.audit.calls import about
from countline_common.errors import FieldProblem, InvalidInputError, NotFoundError
from countline_common.grpc.calls import Context
from countline_common.grpc.paging import next_token, page
from countline_control.auth import domain, store
from countline_control.auth.access import store as access_store
from countline_control.auth.access.holding import Grantor, check_may_give, check_remains, grant_problems
from countline_control.auth.access.places import missing_places
from countline_control.auth.access.roles import SUPER_ADMIN
from countline_control.auth.base import AuthBase, check_no_key, place_of
from countline_control.auth.domain import Grant, StoredUser
from countline_control.auth.messages import user_message
from countline_control.revisions import check_revision

NO_REVISION: Final = 2**31 - 1
"""Later than the revision of any token."""
CHANGEABLE = ("roles", "grants", "display_name", "email")


class UserMethods(AuthBase):
    """The methods of users."""

    async def CreateUser(self, request: auth_pb2.CreateUserRequest, context: Context) -> auth_pb2.CreateUserResponse:
        await asyncio.to_thread(domain.check_new_user, request.username, request.password)
        user = self._new_user(request.username, await self._passwords.hash(request.password))
        async with self._database.begin() as connection:
            holder = await self._changer(connection, f"create user {user.username}")
            user = replace(user, grants=await self._granted(connection, request.roles, request.grants))
            check_may_give(holder, user.held, f"create user {user.username}")
            await self._insert(connection, user, holder.name)
        return auth_pb2.CreateUserResponse(user=user_message(user))

    async def GetUser(self, request: auth_pb2.GetUserRequest, context: Context) -> auth_pb2.GetUserResponse:
        user = await self._database.read(lambda connection: store.get_user(connection, request.user_id))
        if user is None:
            raise no_user(request.user_id)
        return auth_pb2.GetUserResponse(user=user_message(user))

    async def ListUsers(self, request: auth_pb2.ListUsersRequest, context: Context) -> auth_pb2.ListUsersResponse:
        wanted = page(request.page_size, request.page_token)
        found = await self._database.read(
            lambda connection: store.list_users(connection, wanted.after, wanted.size + 1)
        )
        shown = found[: wanted.size]
        token = next_token(domain.username_key(shown[-1].username)) if len(found) > wanted.size else ""
        return auth_pb2.ListUsersResponse(users=[user_message(user) for user in shown], next_page_token=token)

    async def UpdateUser(self, request: auth_pb2.UpdateUserRequest, context: Context) -> auth_pb2.UpdateUserResponse:
        wanted = request.user
        paths = changed_fields(request.update_mask.paths, wanted, CHANGEABLE)
        async with self._database.begin() as connection:
            holder, stored = await self._changed(connection, wanted.user_id, "change")
            check_revision(f"user {stored.username!r}", stored.revision, wanted.revision)
            user = with_profile(stored, wanted, paths)
            if {"roles", "grants"} & paths:
                current = user_message(stored)
                roles = wanted.roles if "roles" in paths else current.roles
                grants = wanted.grants if "grants" in paths else current.grants
                granted = await self._granted(
                    connection, roles, grants, service_account=stored.service_account, kept=stored.grants
                )
                user = replace(user, grants=domain.with_origins(granted, stored.grants))
            if user == stored:
                return auth_pb2.UpdateUserResponse(user=user_message(stored))
            user = replace(user, revision=stored.revision + 1)
            if user.grants != stored.grants:
                user = await self._regranted(connection, holder, stored, user)
            await store.update_user(connection, user)
            await self._record_user(connection, "updated", user, holder.name, before=stored)
        return auth_pb2.UpdateUserResponse(user=user_message(user))

    async def DeleteUser(self, request: auth_pb2.DeleteUserRequest, context: Context) -> auth_pb2.DeleteUserResponse:
        async with self._database.begin() as connection:
            holder, user = await self._changed(connection, request.user_id, "delete")
            await self._check_remains(connection, user, "deleted")
            await store.delete_user(connection, user.user_id)
            await self._end_access(connection, user.user_id, access_revision=NO_REVISION)
            await self._record_user(connection, "deleted", user, holder.name)
        return auth_pb2.DeleteUserResponse()

    def _new_user(self, username: str, password_hash: str) -> StoredUser:
        return StoredUser(uuid4().hex, username, password_hash, self._now())

    async def _insert(self, connection: AsyncConnection, user: StoredUser, actor: str) -> None:
        await store.insert_user(connection, user)
        await access_store.set_grants(connection, user.user_id, user.grants, actor, self._now())
        await self._record_user(connection, "created", user, actor)

    async def _changer(self, connection: AsyncConnection, action: str) -> Grantor:
        """Lock users and roles, and return the caller, who may change users."""
        await store.lock_users(connection)
        return await self._holder(connection, Permission.USER_WRITE, action)

    async def _changed(self, connection: AsyncConnection, user_id: str, action: str) -> tuple[Grantor, StoredUser]:
        """Return the caller and a user whom the caller may change.

        Raises:
            NotFoundError: there is no such user.
            PermissionDeniedError: the user holds what the caller does not hold, or the caller uses a key of the user.
        """
        holder = await self._changer(connection, f"{action} users")
        user = await store.get_user(connection, user_id)
        if user is None:
            raise no_user(user_id)
        about(place_of(user))
        if holder.subject == user_id:
            check_no_key(f"{action} its owner")
        check_may_give(holder, user.held, f"{action} user {user.username}")
        return holder, user

    async def _granted(
        self,
        connection: AsyncConnection,
        roles: Collection[str],
        scoped: Collection[auth_pb2.Grant],
        *,
        service_account: bool = False,
        kept: Collection[Grant] = (),
    ) -> tuple[Grant, ...]:
        """Return grants of roles over everything, and over scopes.

        Args:
            connection: of the transaction of the change.
            roles: names, over everything.
            scoped: over a site or cameras.
            service_account: whether they are for one.
            kept: grants so far; their places may have been deleted meanwhile.

        Raises:
            InvalidInputError: there are none, a name is no role, a scope is none, or its site or camera does not exist.
            CountlineError: the service of cameras does not answer.
        """
        wanted = [(name, EVERYTHING) for name in roles]
        wanted += [(each.role, Scope(each.site_id, frozenset(each.camera_ids))) for each in scoped]
        known = await access_store.roles_by_name(connection)
        if problems := grant_problems(wanted, known, len(roles), service_account=service_account):
            raise InvalidInputError("the roles cannot be granted", fields=tuple(problems))
        await self._check_places([scope for _, scope in wanted[len(roles) :]], {grant.scope for grant in kept})
        return tuple(Grant(name, known[name].permissions, scope) for name, scope in dict.fromkeys(wanted))

    async def _check_places(self, scopes: Sequence[Scope], kept: Collection[Scope]) -> None:
        """Check that the scopes that are not kept exist."""
        new = [scope for scope in dict.fromkeys(scopes) if scope not in kept]
        if not new or self.place_source is None:
            return
        if problems := list(missing_places(await self.place_source.places(), new, scopes)):
            raise InvalidInputError("the roles cannot be granted", fields=tuple(problems))

    async def _regranted(
        self, connection: AsyncConnection, holder: Grantor, stored: StoredUser, user: StoredUser
    ) -> StoredUser:
        """Store changed grants; return the user, whose older access tokens end."""
        check_may_give(holder, user.held, f"grant these roles to {user.username}")
        if SUPER_ADMIN not in user.roles:
            await self._check_remains(connection, stored, "demoted")
        await access_store.set_grants(connection, user.user_id, user.grants, holder.name, self._now())
        user = replace(user, access_revision=stored.access_revision + 1)
        await self._end_access(connection, user.user_id, access_revision=user.access_revision)
        return user

    async def _check_remains(self, connection: AsyncConnection, user: StoredUser, action: str) -> None:
        if SUPER_ADMIN in user.roles and user.disabled_at is None:
            others = await access_store.count_other_super_admins(connection, user.user_id)
            check_remains(others, user.username, action)


def changed_fields(mask: Sequence[str], message: object, known: Sequence[str]) -> set[str]:
    """Return the fields to change; an empty mask stands for those that the message sets, `*` for all.

    Raises:
        InvalidInputError: the mask names a field that cannot be changed.
    """
    wrong = [
        FieldProblem("update_mask", f"{path!r} cannot be changed") for path in mask if path not in _MASK | {*known}
    ]
    if wrong:
        raise InvalidInputError("the change cannot be made", fields=tuple(wrong))
    if "*" in mask:
        return set(known)
    return set(mask) & set(known) if mask else {name for name in known if getattr(message, name)}


_MASK = frozenset({"*", "revision"})
"""`revision` is compared and not changed."""


def no_user(user_id: str) -> NotFoundError:
    """Return the error for a user that does not exist."""
    return NotFoundError(f"there is no user with the id {user_id!r}", hint="list the users: countline users list")


def with_profile(user: StoredUser, wanted: auth_pb2.User, paths: Collection[str]) -> StoredUser:
    """Return a user with the fields of the profile that a caller changes.

    Raises:
        InvalidInputError: a field cannot be used.
    """
    display_name = wanted.display_name if "display_name" in paths else user.display_name
    email = wanted.email if "email" in paths else user.email
    domain.check_profile(display_name, email)
    return replace(user, display_name=display_name, email=email)

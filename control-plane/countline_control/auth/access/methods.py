"""Roles and permissions: the methods of the auth service."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import auth_pb2
from countline_common.access.scopes import Held
from countline_common.access.vocabulary import MEANINGS, PEOPLE, Permission, unknown
from countline_common.errors import (
    ConflictError,
    FieldProblem,
    InvalidInputError,
    NotFoundError,
    ResourceExhaustedError,
)
from countline_common.grpc.calls import Context, current_principal
from countline_common.grpc.paging import next_token, page
from countline_control.auth import store as user_store
from countline_control.auth.access import store
from countline_control.auth.access.explaining import explain
from countline_control.auth.access.holding import check_may_give
from countline_control.auth.access.places import site_of
from countline_control.auth.access.roles import BUILT_IN, MOST_ROLES, Role, check_custom
from countline_control.auth.messages import role_message
from countline_control.auth.users import UserMethods, changed_fields, no_user
from countline_control.revisions import check_revision


class RoleMethods(UserMethods):
    """The methods of roles and permissions."""

    async def ListRoles(self, request: auth_pb2.ListRolesRequest, context: Context) -> auth_pb2.ListRolesResponse:
        wanted = page(request.page_size, request.page_token)
        found = await self._database.read(
            lambda connection: store.list_roles(connection, wanted.after, wanted.size + 1)
        )
        token = next_token(found[wanted.size - 1].name) if len(found) > wanted.size else ""
        shown = [role_message(role) for role in found[: wanted.size]]
        return auth_pb2.ListRolesResponse(roles=shown, next_page_token=token)

    async def GetRole(self, request: auth_pb2.GetRoleRequest, context: Context) -> auth_pb2.GetRoleResponse:
        role = (await self._database.read(store.roles_by_name)).get(request.name)
        if role is None:
            raise _no_role(request.name)
        return auth_pb2.GetRoleResponse(role=role_message(role))

    async def CreateRole(self, request: auth_pb2.CreateRoleRequest, context: Context) -> auth_pb2.CreateRoleResponse:
        role = Role(request.role.name, request.role.title, frozenset(request.role.permissions))
        check_custom(role)
        async with self._database.begin() as connection:
            holder = await self._changer(connection, f"create role {role.name}")
            check_may_give(holder, (Held(role.permissions),), f"create role {role.name}")
            if len(await store.roles_by_name(connection)) >= MOST_ROLES + len(BUILT_IN):
                raise ResourceExhaustedError(
                    f"there are {MOST_ROLES} custom roles", hint="delete roles that are not used"
                )
            await store.insert_role(connection, role)
            await self._record_role(connection, "created", None, role)
        return auth_pb2.CreateRoleResponse(role=role_message(role))

    async def UpdateRole(self, request: auth_pb2.UpdateRoleRequest, context: Context) -> auth_pb2.UpdateRoleResponse:
        wanted = request.role
        paths = changed_fields(request.update_mask.paths, wanted, ("title", "permissions"))
        async with self._database.begin() as connection:
            holder = await self._changer(connection, f"change role {wanted.name}")
            stored = await _custom(connection, wanted.name, "changed")
            check_revision(f"role {stored.name!r}", stored.revision, wanted.revision)
            role = replace(
                stored,
                title=wanted.title if "title" in paths else stored.title,
                permissions=frozenset(wanted.permissions) if "permissions" in paths else stored.permissions,
            )
            check_custom(role)
            # Also what the role has permitted so far: those who hold it lose it, or keep it.
            check_may_give(holder, (Held(role.permissions | stored.permissions),), f"change role {role.name}")
            if role == stored:
                return auth_pb2.UpdateRoleResponse(role=role_message(role))
            role = replace(role, revision=stored.revision + 1)
            await store.update_role(connection, role)
            revisions = await user_store.end_access(connection, await store.holders(connection, role.name, self._now()))
            for user_id, revision in revisions.items():
                await self._end_access(connection, user_id, access_revision=revision)
            await self._record_role(connection, "updated", stored, role)
        return auth_pb2.UpdateRoleResponse(role=role_message(role))

    async def DeleteRole(self, request: auth_pb2.DeleteRoleRequest, context: Context) -> auth_pb2.DeleteRoleResponse:
        async with self._database.begin() as connection:
            holder = await self._changer(connection, f"delete role {request.name}")
            role = await _custom(connection, request.name, "deleted")
            check_may_give(holder, (Held(role.permissions),), f"delete role {role.name}")
            if held_by := await store.holders(connection, role.name, self._now()):
                raise ConflictError(
                    f"role {role.name!r} is still held; users: {len(held_by)}",
                    hint="give them other roles first, and revoke their keys that name it",
                )
            await store.delete_role(connection, role.name)
            await self._record_role(connection, "deleted", role, None)
        return auth_pb2.DeleteRoleResponse()

    async def ListPermissions(
        self, request: auth_pb2.ListPermissionsRequest, context: Context
    ) -> auth_pb2.ListPermissionsResponse:
        shown = [auth_pb2.Permission(name=name, meaning=MEANINGS[name]) for name in Permission if name in PEOPLE]
        return auth_pb2.ListPermissionsResponse(permissions=shown)

    async def CheckAccess(self, request: auth_pb2.CheckAccessRequest, context: Context) -> auth_pb2.CheckAccessResponse:
        if unknown([request.permission]):
            problem = f"{request.permission[:80]!r} is not a permission; list them: countline roles permissions"
            raise InvalidInputError("the question cannot be answered", fields=(FieldProblem("permission", problem),))
        user = await self._database.read(lambda connection: user_store.get_user(connection, request.user_id))
        if user is None:
            raise no_user(request.user_id)
        site_id, camera_id = request.site_id, request.camera_id
        if camera_id:
            places = await self.place_source.places() if self.place_source is not None else None
            site_id = site_of(places, camera_id, site_id)
        required = self._factor_roles()
        found = explain(user, request.permission, site_id=site_id, camera_id=camera_id, required=required)
        return auth_pb2.CheckAccessResponse(allowed=found.allowed, reasons=found.reasons)

    async def _record_role(
        self, connection: AsyncConnection, event: str, before: Role | None, after: Role | None
    ) -> None:
        """Add a change of a role to the outbox and to the audit."""
        old, new = (role_message(role) if role is not None else None for role in (before, after))
        message = new or old
        assert message is not None, "a change has a state before or after"
        await self.outbox.add(connection, "role", event, current_principal().real_name, message)
        await self.outbox.record(connection, f"roles/{message.name}", before=old, after=new)


async def _custom(connection: AsyncConnection, name: str, action: str) -> Role:
    """Return a custom role.

    Raises:
        NotFoundError: there is no such role.
        ConflictError: the role is built in.
    """
    role = (await store.roles_by_name(connection)).get(name)
    if role is None:
        raise _no_role(name)
    if role.built_in:
        hint = "create a role of your own: countline roles add NAME"
        raise ConflictError(f"{name!r} is a built-in role and cannot be {action}", hint=hint)
    return role


def _no_role(name: str) -> NotFoundError:
    return NotFoundError(f"there is no role {name!r}", hint="list the roles: countline roles list")

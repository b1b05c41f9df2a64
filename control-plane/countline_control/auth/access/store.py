"""SQL of roles and grants. Each function works inside the caller's transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.access.scopes import Scope
from countline_common.access.vocabulary import MEANINGS
from countline_common.errors import AlreadyExistsError
from countline_control.auth.access.roles import BUILT_IN, MACHINE_ROLES, SUPER_ADMIN, Role
from countline_control.auth.domain import Grant
from countline_control.auth.tables import api_keys, grants, key_grants, permissions, role_permissions, roles, users


async def write_vocabulary(connection: AsyncConnection) -> None:
    """Store the permissions and the built-in roles of this version; custom roles lose permissions that are gone."""
    if await _is_vocabulary_stored(connection):
        return
    statement = upsert(permissions).values(
        [{"permission": str(name), "meaning": text} for name, text in MEANINGS.items()]
    )
    meaning = {"meaning": statement.excluded.meaning}
    await connection.execute(statement.on_conflict_do_update(index_elements=["permission"], set_=meaning))
    await connection.execute(
        delete(permissions).where(permissions.c.permission.not_in([str(name) for name in MEANINGS]))
    )
    for role in (*BUILT_IN.values(), *MACHINE_ROLES.values()):
        values = {"title": role.title, "built_in": True, "revision": 1}
        stored = upsert(roles).values(role=role.name, **values)
        await connection.execute(stored.on_conflict_do_update(index_elements=["role"], set_=values))
        await set_permissions(connection, role)


async def _is_vocabulary_stored(connection: AsyncConnection) -> bool:
    """Whether nothing is to be written, as at most starts."""
    stored = {row.permission: row.meaning for row in await connection.execute(select(permissions))}
    if stored != {str(name): text for name, text in MEANINGS.items()}:
        return False
    found = await roles_by_name(connection)
    wanted = (*BUILT_IN.values(), *MACHINE_ROLES.values())
    return all(found.get(role.name) == replace(role, built_in=True, revision=1) for role in wanted)


async def set_permissions(connection: AsyncConnection, role: Role) -> None:
    """Replace what a role permits."""
    table, wanted = role_permissions, sorted(role.permissions)
    await connection.execute(delete(table).where(table.c.role == role.name, table.c.permission.not_in(wanted)))
    rows = [{"role": role.name, "permission": permission} for permission in wanted]
    await connection.execute(upsert(table).values(rows).on_conflict_do_nothing())


async def list_roles(connection: AsyncConnection, after: str = "", limit: int | None = None) -> list[Role]:
    """Return roles by name, beginning after `after`."""
    held = func.array_agg(role_permissions.c.permission).filter(role_permissions.c.permission.is_not(None))
    query = (
        select(roles, held.label("permissions"))
        .outerjoin(role_permissions, role_permissions.c.role == roles.c.role)
        .where(roles.c.role > after)
        .group_by(roles.c.role)
        .order_by(roles.c.role)
        .limit(limit)
    )
    return [
        Role(row.role, row.title, frozenset(row.permissions or ()), built_in=row.built_in, revision=row.revision)
        for row in await connection.execute(query)
    ]


async def roles_by_name(connection: AsyncConnection) -> Mapping[str, Role]:
    """Return every role."""
    return {role.name: role for role in await list_roles(connection)}


async def insert_role(connection: AsyncConnection, role: Role) -> None:
    """Add a custom role.

    Raises:
        AlreadyExistsError: the name is taken.
    """
    values = {"role": role.name, "title": role.title, "built_in": False, "revision": role.revision}
    statement = upsert(roles).values(values).on_conflict_do_nothing(index_elements=["role"])
    if await connection.scalar(statement.returning(roles.c.role)) is None:
        raise AlreadyExistsError(f"role {role.name!r} already exists", hint="choose another name")
    await set_permissions(connection, role)


async def update_role(connection: AsyncConnection, role: Role) -> None:
    """Store a changed custom role."""
    values = {"title": role.title, "revision": role.revision}
    await connection.execute(update(roles).where(roles.c.role == role.name).values(values))
    await set_permissions(connection, role)


async def delete_role(connection: AsyncConnection, name: str) -> None:
    """Delete a custom role that no user holds."""
    await connection.execute(delete(roles).where(roles.c.role == name))


async def holders(connection: AsyncConnection, role: str, now: datetime) -> list[str]:
    """Return the ids of the users who hold a role, or have an API key that the role limits."""
    held = select(grants.c.user_id).where(grants.c.role == role)
    limits = (
        select(api_keys.c.user_id)
        .join(key_grants, key_grants.c.key_id == api_keys.c.key_id)
        .where(key_grants.c.role == role, api_keys.c.revoked_at.is_(None), api_keys.c.expires_at > now)
    )
    return sorted((await connection.execute(held.union(limits))).scalars())


async def grants_of(connection: AsyncConnection, user_ids: Iterable[str]) -> Mapping[str, tuple[Grant, ...]]:
    """Return the grants of users by user, in the order in which they were given."""
    held = func.array_agg(role_permissions.c.permission).filter(role_permissions.c.permission.is_not(None))
    query = (
        select(grants.c.user_id, grants.c.role, grants.c.site_id, grants.c.camera_ids, grants.c.from_groups)
        .add_columns(held.label("permissions"))
        .outerjoin(role_permissions, role_permissions.c.role == grants.c.role)
        .where(grants.c.user_id.in_(list(user_ids)))
        .group_by(grants.c.grant_id)
        .order_by(grants.c.grant_id)
    )
    found: dict[str, tuple[Grant, ...]] = {}
    for row in await connection.execute(query):
        scope = Scope(row.site_id, frozenset(row.camera_ids))
        grant = Grant(row.role, frozenset(row.permissions or ()), scope, row.from_groups)
        found[row.user_id] = (*found.get(row.user_id, ()), grant)
    return found


async def set_grants(
    connection: AsyncConnection, user_id: str, wanted: Iterable[Grant], actor: str, now: datetime
) -> None:
    """Replace the grants of a user."""
    await connection.execute(delete(grants).where(grants.c.user_id == user_id))
    rows = [
        {
            "user_id": user_id,
            "role": grant.role,
            "site_id": grant.scope.site_id,
            "camera_ids": sorted(grant.scope.camera_ids),
            "from_groups": grant.from_groups,
            "created_by": actor,
            "created_at": now,
        }
        for grant in wanted
    ]
    if rows:
        await connection.execute(insert(grants), rows)


async def count_other_super_admins(connection: AsyncConnection, user_id: str) -> int:
    """Return the number of users besides one who are super-admin over everything and can act as one.

    Who is disabled cannot, nor who waits with a one-time password, which may expire, nor a service account. Nor can who
    has no password while the identity provider is away.
    """
    everywhere = (grants.c.site_id == "") & (func.cardinality(grants.c.camera_ids) == 0)
    query = (
        select(func.count(users.c.user_id.distinct()))
        .join(grants, grants.c.user_id == users.c.user_id)
        .where(users.c.user_id != user_id, grants.c.role == SUPER_ADMIN, everywhere)
        .where(users.c.disabled_at.is_(None), users.c.must_change_password.is_(False))
        .where(users.c.service_account.is_(False), users.c.password_hash != "")
    )
    return int(await connection.scalar(query) or 0)

"""Custom roles, and changes of what users may do, against a real database over real gRPC."""

import asyncio

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Executable, delete, insert, update
from tests.fixtures.control.auth import PASSWORD, Auth, refused

from countline.v1 import auth_pb2, keys_pb2
from countline_common.access.scopes import Held, not_covered
from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    CountlineError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    StaleRevisionError,
    UnauthenticatedError,
)
from countline_common.grpc.errors import from_rpc_error
from countline_control.auth import store
from countline_control.auth.access.roles import BUILT_IN, MACHINE_ROLES
from countline_control.auth.domain import StoredUser
from countline_control.auth.keys.store import get_key
from countline_control.auth.tables import permissions, role_permissions, roles


def role(name: str, *permissions: str, **fields: object) -> auth_pb2.Role:
    return auth_pb2.Role(name=name, permissions=permissions, **fields)


async def test_a_custom_role_is_made_held_changed_and_deleted(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    made = (await admin.CreateRole(auth_pb2.CreateRoleRequest(role=role("eyes", "self:read", "camera:read")))).role
    assert (made.name, list(made.permissions), made.built_in) == ("eyes", ["camera:read", "self:read"], False)
    user = await auth.create("ina", "eyes")
    me = await auth.by((await auth.login("ina")).access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())
    assert list(me.permissions) == ["camera:read", "self:read"]

    changed = role("eyes", "self:read", "analytics:read", revision=made.revision)
    assert (await admin.UpdateRole(auth_pb2.UpdateRoleRequest(role=changed))).role.revision == 2
    stale = await refused(admin.UpdateRole(auth_pb2.UpdateRoleRequest(role=changed)))
    assert (type(stale), "revision 2, not 1" in stale.message) == (StaleRevisionError, True)
    me = await auth.by((await auth.login("ina")).access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())
    assert list(me.permissions) == ["analytics:read", "self:read"]

    error = await refused(admin.DeleteRole(auth_pb2.DeleteRoleRequest(name="eyes")))
    assert (type(error), "is still held; users: 1" in error.message) == (ConflictError, True)
    await admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=user.user_id))
    await admin.DeleteRole(auth_pb2.DeleteRoleRequest(name="eyes"))
    assert isinstance(await refused(admin.GetRole(auth_pb2.GetRoleRequest(name="eyes"))), NotFoundError)
    events = [row.method.rpartition("/")[2] for row in await auth.audited() if row.resource == "roles/eyes"]
    assert events == ["CreateRole", "UpdateRole", "UpdateRole", "DeleteRole", "DeleteRole"]


@pytest.mark.parametrize(
    "change",
    [
        insert(role_permissions).values(role="viewer", permission="user:write"),
        delete(role_permissions).where(role_permissions.c.permission == "camera:read"),
        update(roles).where(roles.c.role == "viewer").values(title="Of another release"),
        delete(roles).where(roles.c.role == "guest"),
        delete(permissions).where(permissions.c.permission == "camera:read"),
        insert(permissions).values(permission="camera:paint", meaning="Of another release"),
        update(permissions).values(meaning="Of another release"),
    ],
)
async def test_a_start_stores_the_permissions_and_roles_of_its_release(auth: Auth, change: Executable) -> None:
    """A start writes nothing where all is as it should be."""
    before = await auth.rows(permissions), await auth.rows(roles), await auth.rows(role_permissions)
    async with auth.database.begin() as connection:
        await connection.execute(change)
    await auth.service.prepare()
    after = await auth.rows(permissions), await auth.rows(roles), await auth.rows(role_permissions)
    for was, found in zip(before, after, strict=True):
        assert {tuple(row.values()) for row in found} == {tuple(row.values()) for row in was}


async def test_roles_are_listed_by_pages_with_what_they_permit(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    first = await admin.ListRoles(auth_pb2.ListRolesRequest(page_size=3))
    second = await admin.ListRoles(auth_pb2.ListRolesRequest(page_size=10, page_token=first.next_page_token))
    found = {each.name: set(each.permissions) for each in (*first.roles, *second.roles)}
    assert (second.next_page_token, found) == (
        "",
        {name: set(each.permissions) for name, each in (BUILT_IN | MACHINE_ROLES).items()},
    )


@pytest.mark.parametrize("name", sorted(BUILT_IN))
async def test_a_built_in_role_cannot_be_changed_or_deleted(auth: Auth, name: str) -> None:
    admin = auth.by((await auth.login()).access_token)
    mask = FieldMask(paths=["permissions"])
    change = auth_pb2.UpdateRoleRequest(role=role(name, "self:read"), update_mask=mask)
    assert isinstance(await refused(admin.UpdateRole(change)), ConflictError)
    assert isinstance(await refused(admin.DeleteRole(auth_pb2.DeleteRoleRequest(name=name))), ConflictError)
    again = auth_pb2.CreateRoleRequest(role=role(name, "self:read"))
    assert isinstance(await refused(admin.CreateRole(again)), InvalidInputError)


async def test_a_role_name_is_given_once(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    await admin.CreateRole(auth_pb2.CreateRoleRequest(role=role("eyes", "self:read")))
    again = admin.CreateRole(auth_pb2.CreateRoleRequest(role=role("eyes", "camera:read")))
    assert isinstance(await refused(again), AlreadyExistsError)


async def test_a_user_is_changed(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    vera = await auth.create("vera", "viewer")
    user = auth_pb2.User(
        user_id=vera.user_id, roles=["operator", "guest"], display_name="Vera B.", email="v@example.org"
    )
    changed = (await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=user))).user
    assert (list(changed.roles), changed.display_name, changed.email, changed.revision) == (
        ["operator", "guest"],
        "Vera B.",
        "v@example.org",
        2,
    )
    user = auth_pb2.User(user_id=vera.user_id)
    cleared = auth_pb2.UpdateUserRequest(user=user, update_mask=FieldMask(paths=["email"]))
    assert (await admin.UpdateUser(cleared)).user.email == ""
    for wrong, field in ((["username"], "update_mask"), (["roles"], "roles")):
        request = auth_pb2.UpdateUserRequest(user=user, update_mask=FieldMask(paths=wrong))
        error = await refused(admin.UpdateUser(request))
        assert (type(error), error.fields[0].field) == (InvalidInputError, field)


async def test_the_last_super_admin_cannot_be_demoted(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    (me,) = (await admin.ListUsers(auth_pb2.ListUsersRequest())).users
    demoted = auth_pb2.UpdateUserRequest(user=auth_pb2.User(user_id=me.user_id, roles=["viewer"]))
    error = await refused(admin.UpdateUser(demoted))
    assert (type(error), "last super-admin and cannot be demoted" in error.message) == (ConflictError, True)
    other = await auth.create("other", "super-admin")
    await admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=other.user_id))
    assert isinstance(await refused(admin.UpdateUser(demoted)), ConflictError)  # the one-time password may expire
    await auth.create("third", "super-admin")
    await admin.UpdateUser(demoted)


async def test_an_admin_may_neither_make_a_super_admin_nor_change_or_delete_one(auth: Auth) -> None:
    root = (await auth.by((await auth.login()).access_token).ListUsers(auth_pb2.ListUsersRequest())).users[0]
    await auth.create("adam", "admin")
    adam = auth.by((await auth.login("adam")).access_token)
    vera = (
        await adam.CreateUser(auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, roles=["viewer"]))
    ).user
    attempts = (
        adam.CreateUser(auth_pb2.CreateUserRequest(username="eve", password=PASSWORD, roles=["super-admin"])),
        adam.UpdateUser(auth_pb2.UpdateUserRequest(user=auth_pb2.User(user_id=vera.user_id, roles=["super-admin"]))),
        adam.UpdateUser(auth_pb2.UpdateUserRequest(user=auth_pb2.User(user_id=root.user_id, email="e@example.org"))),
        adam.DeleteUser(auth_pb2.DeleteUserRequest(user_id=root.user_id)),
        adam.CreateRole(auth_pb2.CreateRoleRequest(role=role("king", "system:admin"))),
    )
    for attempt in attempts:
        assert isinstance(await refused(attempt), PermissionDeniedError)


async def test_the_token_of_a_deleted_admin_creates_no_user(auth: Auth) -> None:
    """A deleted admin could create a new admin until the token expired, for up to 15 minutes."""
    await auth.create("adam", "admin")
    adam = auth.by((await auth.login("adam")).access_token)
    admin = auth.by((await auth.login()).access_token)
    users = {user.username: user for user in (await admin.ListUsers(auth_pb2.ListUsersRequest())).users}
    await admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=users["adam"].user_id))
    request = auth_pb2.CreateUserRequest(username="eve", password=PASSWORD, roles=["admin"])
    assert isinstance(await refused(adam.CreateUser(request)), UnauthenticatedError)


async def test_the_token_of_a_demoted_admin_creates_no_user(auth: Auth) -> None:
    created = await auth.create("adam", "admin")
    adam = auth.by((await auth.login("adam")).access_token)
    admin = auth.by((await auth.login()).access_token)
    user = auth_pb2.User(user_id=created.user_id, roles=["viewer"])
    await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=user))
    request = auth_pb2.CreateUserRequest(username="eve", password=PASSWORD, roles=["admin"])
    assert isinstance(await refused(adam.CreateUser(request)), PermissionDeniedError)


NAMES = ("ann", "ben", "cleo")
CUSTOM = ("red", "blue")
ROLES = st.lists(
    st.tuples(st.sampled_from([*BUILT_IN, *CUSTOM]), st.sampled_from(["", "", "lab", "yard"])),
    min_size=1,
    max_size=2,
    unique=True,
)
PERMISSIONS = st.lists(
    st.sampled_from(["self:read", "camera:write", "user:read", "user:write", "system:admin"]), min_size=1, max_size=3
)
STEPS = st.tuples(
    st.sampled_from(["admin", *NAMES]),
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from(NAMES), ROLES),
        st.tuples(st.just("change"), st.sampled_from(["admin", *NAMES]), ROLES),
        st.tuples(st.just("delete"), st.sampled_from(["admin", *NAMES])),
        st.tuples(st.just("key"), ROLES),
        st.tuples(st.just("role"), st.sampled_from(CUSTOM), PERMISSIONS),
        st.tuples(st.just("remake"), st.sampled_from(CUSTOM), PERMISSIONS),
    ),
)


async def test_no_sequence_of_changes_gives_anybody_more_than_its_callers_held(auth: Auth) -> None:
    """The model: what a change adds to a user was held by the caller before, and a super-admin remains."""
    loop = asyncio.get_running_loop()

    @settings(max_examples=25, deadline=None)
    @given(st.lists(STEPS, min_size=4, max_size=12))
    def sequence(steps: list) -> None:
        asyncio.run_coroutine_threadsafe(_play(auth, steps), loop).result(120)

    await asyncio.to_thread(sequence)


async def _state(auth: Auth) -> dict[str, StoredUser]:
    async with auth.database.begin() as connection:
        return {user.username: user for user in await store.list_users(connection, "", 100)}


async def _play(auth: Auth, steps: list) -> None:
    tokens: dict[str, str] = {}
    keys: dict[str, str] = {}
    for caller, (kind, *details) in steps:
        before = await _state(auth)
        acting = caller if caller in before else next(iter(before))
        # A token may be older than the last change of its user: it must not help.
        if acting not in tokens:
            tokens[acting] = (await auth.login(acting)).access_token
            before = await _state(auth)
        if kind == "key":
            await _make_key(auth, tokens[acting], before[acting], details[0], keys)
            await _check_keys(auth, keys)
            continue
        # A key acts for its owner where there is one: it must not help to more than the key permits.
        credential, held = tokens[acting], before[acting].held
        if acting in keys:
            credential = keys[acting]
            held = await _given_by_key(auth, credential, before[acting])
        error = await _attempt(auth.by(credential), before, kind, details)
        after = await _state(auth)
        _check(before, after, held, error)
        await _check_keys(auth, keys)
        auth.clock.now += 20


async def _given_by_key(auth: Auth, key: str, owner: StoredUser) -> tuple[Held, ...]:
    """What a key may give: with what it never does itself, and never more than its owner holds."""
    principal = auth.verifier.verify(await auth.service.exchange_key(key))
    async with auth.database.begin() as connection:
        stored = await get_key(connection, principal.key_id)
    assert stored is not None
    given = stored.may_give(owner)
    assert not_covered(owner.held, given) == []
    assert not_covered(given, principal.held) == []
    return given


async def _make_key(auth: Auth, token: str, owner: StoredUser, roles: list, keys: dict) -> None:
    wanted = keys_pb2.ApiKey(name="k", **_roles(roles))
    try:
        made = (await auth.by(token).CreateKey(keys_pb2.CreateKeyRequest(api_key=wanted))).api_key
    except grpc.aio.AioRpcError as error:
        assert error.code() is not grpc.StatusCode.INTERNAL  # noqa: PT017  (most attempts may fail)
        return
    limits = (await auth.verifier.identify(made.key)).held
    assert not_covered(owner.held, limits) == []
    keys[owner.username] = made.key


async def _check_keys(auth: Auth, keys: dict) -> None:
    """No key holds more than its owner holds now."""
    users = await _state(auth)
    for name, key in list(keys.items()):
        try:
            token = await auth.service.exchange_key(key)
        except UnauthenticatedError:
            del keys[name]
            continue
        assert not_covered(users[name].held, auth.verifier.verify(token).held) == []


async def _attempt(stub: object, users: dict[str, StoredUser], kind: str, details: list) -> CountlineError | None:
    name, *rest = details
    user_id = users[name].user_id if name in users else "gone"
    calls = {
        "create": lambda: stub.CreateUser(
            auth_pb2.CreateUserRequest(username=name, password=PASSWORD, **_roles(rest[0]))
        ),
        "change": lambda: stub.UpdateUser(
            auth_pb2.UpdateUserRequest(
                user=auth_pb2.User(user_id=user_id, **_roles(rest[0])),
                update_mask=FieldMask(paths=["roles", "grants"]),
            )
        ),
        "delete": lambda: stub.DeleteUser(auth_pb2.DeleteUserRequest(user_id=user_id)),
        "role": lambda: stub.CreateRole(auth_pb2.CreateRoleRequest(role=role(name, *rest[0]))),
        "remake": lambda: stub.UpdateRole(auth_pb2.UpdateRoleRequest(role=role(name, *rest[0]))),
    }
    try:
        await calls[kind]()
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    return None


def _roles(wanted: list) -> dict:
    grants = [auth_pb2.Grant(role=name, site_id=site_id) for name, site_id in wanted if site_id]
    return {"roles": [name for name, site_id in wanted if not site_id], "grants": grants}


def _check(
    before: dict[str, StoredUser], after: dict[str, StoredUser], held: tuple[Held, ...], error: CountlineError | None
) -> None:
    if error is not None:
        assert error.code not in {"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"}, error
        assert after == before
    for name, user in after.items():
        earlier = before[name].held if name in before else ()
        assert not_covered((*earlier, *held), user.held) == []
    for name, user in before.items():
        if name not in after or after[name].held != user.held:
            assert not_covered(held, user.held) == [], f"{name} was changed by a caller who holds less"
    assert any("super-admin" in user.roles for user in after.values())

"""API keys and service accounts, against a real database over real gRPC."""

from datetime import timedelta

import pytest
from google.protobuf import message_factory
from google.protobuf.field_mask_pb2 import FieldMask
from tests.fixtures.control.auth import PASSWORD, Auth, AuthStub, refused

from countline.v1 import auth_pb2, factor_pb2, keys_pb2
from countline_common.access.scopes import Scope
from countline_common.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from countline_common.grpc.permissions import method_policy
from countline_common.times import to_timestamp
from countline_control.auth.keys import domain
from countline_control.auth.tables import api_keys, outbox


@pytest.fixture
async def admin(auth: Auth) -> AuthStub:
    """Calls of the first admin."""
    return auth.by((await auth.login()).access_token)


async def made(caller, name: str = "display", **limits) -> keys_pb2.ApiKey:
    request = keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name=name, **limits))
    return (await caller.CreateKey(request)).api_key


async def account(admin, name: str, *roles: str, **grants) -> auth_pb2.User:
    request = keys_pb2.CreateServiceAccountRequest(username=name, roles=roles, **grants)
    return (await admin.CreateServiceAccount(request)).user


async def made_for(caller, user_id: str, name: str = "ci", **limits) -> keys_pb2.ApiKey:
    request = keys_pb2.CreateUserKeyRequest(user_id=user_id, api_key=keys_pb2.ApiKey(name=name, **limits))
    return (await caller.CreateUserKey(request)).api_key


async def me(caller) -> auth_pb2.GetCurrentUserResponse:
    return await caller.GetCurrentUser(auth_pb2.GetCurrentUserRequest())


async def test_a_key_is_shown_once_and_only_its_hash_is_stored(auth: Auth, admin) -> None:
    key = await made(admin)
    assert key.key.startswith(f"cl_{key.key_id}_")
    (listed,) = (await admin.ListKeys(keys_pb2.ListKeysRequest())).api_keys
    assert (listed.key_id, listed.key, listed.name) == (key.key_id, "", "display")
    secret = key.key.rpartition("_")[2][:32]
    everything = [*await auth.rows(api_keys), *await auth.rows(outbox)]
    assert secret not in repr(everything)
    assert secret.encode() not in b"".join(row["payload"] for row in await auth.rows(outbox))
    (row,) = [row for row in await auth.audited() if row.resource.endswith(key.key_id)]
    assert (row.resource, row.method) == (f"users/admin/keys/{key.key_id}", "countline.v1.KeyService/CreateKey")


async def test_a_key_stands_in_for_its_owner_and_its_use_is_noted(auth: Auth, admin) -> None:
    key = await made(admin)
    answer = await me(auth.by(key.key))
    assert (answer.user.username, "user:write" in answer.permissions) == ("admin", True)
    (listed,) = (await admin.ListKeys(keys_pb2.ListKeysRequest())).api_keys
    assert listed.last_used_at == to_timestamp(auth.clock.now)


async def test_a_limited_key_holds_only_what_its_roles_permit(auth: Auth, admin) -> None:
    """Auth reads what the owner holds from its database: without the key's limits there, the key would be an admin."""
    key = await made(admin, roles=["viewer"])
    caller = auth.by(key.key)
    assert "user:write" not in (await me(caller)).permissions
    request = auth_pb2.CreateUserRequest(username="eve", password=PASSWORD, roles=["admin"])
    assert isinstance(await refused(caller.CreateUser(request)), PermissionDeniedError)
    key = await made(admin, roles=["admin"])
    request = auth_pb2.CreateUserRequest(username="eve", password=PASSWORD, roles=["super-admin"])
    assert isinstance(await refused(auth.by(key.key).CreateUser(request)), PermissionDeniedError)


async def test_a_key_manages_users_as_far_as_its_owner_and_its_limits_go(auth: Auth, admin) -> None:
    """Each built-in role holds self:write, which no key has: users get it for their own accounts."""
    desk = await account(admin, "desk", "admin")
    caller = auth.by((await made_for(admin, desk.user_id)).key)
    vera = await caller.CreateUser(auth_pb2.CreateUserRequest(username="vera", password=PASSWORD, roles=["viewer"]))
    wanted = auth_pb2.User(user_id=vera.user.user_id, roles=["operator"])
    assert (await caller.UpdateUser(auth_pb2.UpdateUserRequest(user=wanted))).user.roles == ["operator"]
    assert (await caller.DisableUser(auth_pb2.DisableUserRequest(user_id=vera.user.user_id))).user.disabled
    root = auth_pb2.CreateUserRequest(username="eve", password=PASSWORD, roles=["super-admin"])
    assert isinstance(await refused(caller.CreateUser(root)), PermissionDeniedError)
    own = auth_pb2.User(user_id=desk.user_id, display_name="mine")
    assert isinstance(await refused(caller.UpdateUser(auth_pb2.UpdateUserRequest(user=own))), PermissionDeniedError)
    assert "self:write" not in (await me(caller)).permissions


async def test_a_limited_key_gives_no_more_than_its_limits(auth: Auth, admin) -> None:
    for name, permissions in (("desk", ["user:read", "user:write"]), ("door", ["user:read", "self:write"])):
        await admin.CreateRole(auth_pb2.CreateRoleRequest(role=auth_pb2.Role(name=name, permissions=permissions)))
    desk, both = [auth.by((await made(admin, roles=roles)).key) for roles in (["desk"], ["desk", "viewer"])]

    async def give(caller, role: str) -> None:
        await caller.CreateUser(auth_pb2.CreateUserRequest(username=f"a-{role}", password=PASSWORD, roles=[role]))

    error = await refused(give(desk, "door"))
    assert (type(error), "does not hold 'self:write'" in error.message) == (PermissionDeniedError, True)
    await give(both, "door")
    await give(both, "viewer")
    assert isinstance(await refused(give(both, "operator")), PermissionDeniedError)


async def test_a_key_over_a_site_reaches_nothing_else(auth: Auth, admin) -> None:
    key = await made(admin, grants=[auth_pb2.Grant(role="operator", site_id="lab")])
    principal = await auth.verifier.identify(key.key)
    assert principal.reach("camera:write").covers(Scope("lab"))
    assert not principal.reach("camera:write").covers(Scope("yard"))
    assert not principal.permissions


async def test_a_key_never_holds_more_than_its_owner(auth: Auth, admin) -> None:
    user = await auth.create("vera", "operator")
    vera = auth.by((await auth.login("vera")).access_token)
    wanted = keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="x", roles=["admin"]))
    assert isinstance(await refused(vera.CreateKey(wanted)), PermissionDeniedError)
    key = await made(vera, roles=["operator"])
    assert (await auth.verifier.identify(key.key)).may("camera:write")
    change = auth_pb2.User(user_id=user.user_id, roles=["guest"])
    await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=change, update_mask=FieldMask(paths=["roles"])))
    auth.verifier.revocations.end(user.user_id, 2, [])  # as the feed does
    assert not (await auth.verifier.identify(key.key)).may("camera:write")


@pytest.mark.parametrize("end", ["revoke", "disable", "delete", "expire"])
async def test_a_key_that_ended_is_refused(auth: Auth, admin, end: str) -> None:
    user = await account(admin, "ci", "viewer")
    key = await made_for(admin, user.user_id, expires_at=to_timestamp(auth.clock.now + 60))
    await me(auth.by(key.key))
    if end == "revoke":
        await admin.RevokeUserKey(keys_pb2.RevokeUserKeyRequest(user_id=user.user_id, key_id=key.key_id))
    elif end == "disable":
        await admin.DisableUser(auth_pb2.DisableUserRequest(user_id=user.user_id))
    elif end == "delete":
        await admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=user.user_id))
    else:
        auth.clock.now += 61
    assert isinstance(await refused(me(auth.by(key.key))), UnauthenticatedError)
    assert isinstance(
        await refused(auth.by().ExchangeKey(keys_pb2.ExchangeKeyRequest(key=key.key))), UnauthenticatedError
    )


OWN_CHANGES = [
    (file.message_types_by_name[method.input_type.name], method.name)
    for file in (auth_pb2.DESCRIPTOR, keys_pb2.DESCRIPTOR, factor_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
    if method_policy(f"{service.full_name}/{method.name}").permission == "self:write"
]


@pytest.mark.parametrize("which", ["unlimited", "viewer", "service account"])
async def test_no_key_changes_the_account_of_its_owner(auth: Auth, admin, which: str) -> None:
    """A key that was limited to `viewer` changed the profile of an admin, and logged the admin out everywhere."""
    assert len(OWN_CHANGES) == 11
    if which == "service account":
        key = await made_for(admin, (await account(admin, "ci", "viewer")).user_id)
    else:
        key = await made(admin, roles=["viewer"] if which == "viewer" else [])
    caller = auth.by(key.key)
    assert "self:write" not in (await me(caller)).permissions
    for request, name in OWN_CHANGES:
        error = await refused(getattr(caller, name)(message_factory.GetMessageClass(request)()))
        assert (type(error), "an API key cannot" in error.message) == (PermissionDeniedError, True), name
    await me(admin)


async def test_a_stolen_key_cannot_keep_the_account(auth: Auth, admin) -> None:
    caller = auth.by((await made(admin)).key)
    own = (await me(admin)).user.user_id
    change = auth_pb2.ChangePasswordRequest(current_password=PASSWORD, new_password="three uncommon turnips")
    for call in (
        caller.CreateKey(keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="mine"))),
        caller.ChangePassword(change),
        caller.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=own)),
        caller.DisableUser(auth_pb2.DisableUserRequest(user_id=own)),
    ):
        error = await refused(call)
        assert (type(error), "an API key cannot" in error.message) == (PermissionDeniedError, True)


async def test_a_rotated_key_is_replaced_at_once_or_after_an_overlap(auth: Auth, admin) -> None:
    key = await made(admin, roles=["viewer"])
    rotated = (await admin.RotateKey(keys_pb2.RotateKeyRequest(key_id=key.key_id))).api_key
    assert (rotated.name, list(rotated.roles), rotated.key != key.key) == ("display", ["viewer"], True)
    assert isinstance(await refused(me(auth.by(key.key))), UnauthenticatedError)
    again = (await admin.RotateKey(keys_pb2.RotateKeyRequest(key_id=rotated.key_id, overlap_s=3600))).api_key
    await me(auth.by(rotated.key))
    auth.clock.now += 3601
    assert isinstance(await refused(me(auth.by(rotated.key))), UnauthenticatedError)
    await me(auth.by(again.key))
    admin = auth.by((await auth.login()).access_token)
    for seconds in (-1, domain.LONGEST_OVERLAP_S + 1):
        request = keys_pb2.RotateKeyRequest(key_id=again.key_id, overlap_s=seconds)
        assert isinstance(await refused(admin.RotateKey(request)), InvalidInputError)


async def test_a_service_that_knows_a_replaced_key_forgets_it_with_the_overlap(auth: Auth, admin) -> None:
    key = await made(admin)
    before = await auth.verifier.identify(key.key)
    await admin.RotateKey(keys_pb2.RotateKeyRequest(key_id=key.key_id, overlap_s=60))
    auth.verifier.revocations.end(before.subject, before.access_revision + 1, [])  # as the feed does
    assert (await auth.verifier.identify(key.key)).expires_at == auth.clock.now + 60


async def test_nobody_ends_or_makes_keys_of_somebody_else_as_own_ones(auth: Auth, admin) -> None:
    key = await made(admin)
    await auth.create("adam", "admin")
    adam = auth.by((await auth.login("adam")).access_token)
    assert isinstance(await refused(adam.RevokeKey(keys_pb2.RevokeKeyRequest(key_id=key.key_id))), NotFoundError)
    own = (await me(admin)).user.user_id
    request = keys_pb2.RevokeUserKeyRequest(user_id=own, key_id=key.key_id)
    assert isinstance(await refused(adam.RevokeUserKey(request)), PermissionDeniedError)
    person = keys_pb2.CreateUserKeyRequest(user_id=own, api_key=keys_pb2.ApiKey(name="x"))
    assert isinstance(await refused(admin.CreateUserKey(person)), ConflictError)


async def test_a_service_account_has_no_password_and_no_machine_role_reaches_a_person(auth: Auth, admin) -> None:
    user = await account(admin, "worker-2", "worker")
    assert user.service_account
    for password in ("", PASSWORD):
        assert isinstance(await refused(auth.login("worker-2", password)), UnauthenticatedError)
    reset = admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user.user_id))
    assert isinstance(await refused(reset), ConflictError)
    person = auth_pb2.CreateUserRequest(username="eve", password=PASSWORD, roles=["worker"])
    assert isinstance(await refused(admin.CreateUser(person)), InvalidInputError)
    own = keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="x", roles=["worker"]))
    assert isinstance(await refused(admin.CreateKey(own)), InvalidInputError)
    key = await made_for(admin, user.user_id)
    principal = await auth.verifier.identify(key.key)
    assert (principal.name, principal.permissions) == ("worker-2", {"worker:connect", "worker:report"})
    (listed,) = (await admin.ListServiceAccounts(keys_pb2.ListServiceAccountsRequest())).users
    assert listed.username == "worker-2"


async def test_an_admin_who_does_not_hold_everything_makes_no_machine(auth: Auth) -> None:
    await auth.create("adam", "admin")
    adam = auth.by((await auth.login("adam")).access_token)
    for role in ("worker", "service", "super-admin"):
        request = keys_pb2.CreateServiceAccountRequest(username="m", roles=[role])
        assert isinstance(await refused(adam.CreateServiceAccount(request)), PermissionDeniedError)


async def test_a_role_that_limits_a_key_stays_until_the_key_has_ended(auth: Auth, admin) -> None:
    """Without its last role, a limited key would hold what its owner holds."""
    role = auth_pb2.Role(name="eyes", permissions=["self:read", "camera:read"])
    await admin.CreateRole(auth_pb2.CreateRoleRequest(role=role))
    key = await made(admin, roles=["eyes"])
    delete = auth_pb2.DeleteRoleRequest(name="eyes")
    assert isinstance(await refused(admin.DeleteRole(delete)), ConflictError)
    narrower = auth_pb2.Role(name="eyes", permissions=["self:read"])
    before = (await auth.verifier.identify(key.key)).access_revision
    await admin.UpdateRole(auth_pb2.UpdateRoleRequest(role=narrower))
    auth.verifier.revocations.end((await me(admin_of(auth, key))).user.user_id, before + 1, [])
    assert not (await auth.verifier.identify(key.key)).may("camera:read")
    admin = auth.by((await auth.login()).access_token)
    await admin.RevokeKey(keys_pb2.RevokeKeyRequest(key_id=key.key_id))
    await admin.DeleteRole(delete)
    (row,) = await auth.rows(api_keys)
    assert row["limited"]


def admin_of(auth: Auth, key: keys_pb2.ApiKey):
    return auth.by(key.key)


async def test_a_user_has_a_bounded_number_of_keys_and_old_ones_are_forgotten(
    auth: Auth, admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("countline_control.auth.keys.service.MOST_KEYS", 2)
    first, _ = await made(admin), await made(admin)
    request = keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="third"))
    assert isinstance(await refused(admin.CreateKey(request)), ResourceExhaustedError)
    await admin.RevokeKey(keys_pb2.RevokeKeyRequest(key_id=first.key_id))
    await made(admin)
    auth.clock.now += (domain.LISTED_AFTER + timedelta(days=1)).total_seconds()
    admin = auth.by((await auth.login()).access_token)
    keys = (await admin.ListKeys(keys_pb2.ListKeysRequest())).api_keys
    working = next(each for each in keys if not each.revoked)
    await admin.RevokeKey(keys_pb2.RevokeKeyRequest(key_id=working.key_id))
    await made(admin)
    assert first.key_id not in {row["key_id"] for row in await auth.rows(api_keys)}


@pytest.mark.parametrize("key", ["cl_", "cl_x", "cl_" + "0" * 51, "cl_000000000000_" + "0" * 38])
async def test_what_is_no_key_of_ours_is_unauthenticated(auth: Auth, key: str) -> None:
    assert isinstance(await refused(me(auth.by(key))), UnauthenticatedError)
    assert isinstance(await refused(auth.by().ExchangeKey(keys_pb2.ExchangeKeyRequest(key=key))), UnauthenticatedError)


async def test_a_wrong_secret_with_a_known_id_is_unknown(auth: Auth, admin) -> None:
    from countline_common.access import api_keys as form

    key = await made(admin)
    body = f"cl_{key.key_id}_{'0' * 32}"
    error = await refused(me(auth.by(body + form._checksum(body))))
    assert (type(error), error.message) == (UnauthenticatedError, "the API key is unknown")

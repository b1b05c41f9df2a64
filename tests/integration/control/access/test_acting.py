"""Acting for another user, against a real database over real gRPC."""

from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.field_mask_pb2 import FieldMask
from tests.fixtures.control.auth import Auth, AuthStub, refused

from countline.v1 import act_pb2, auth_pb2, factor_pb2, keys_pb2, oidc_pb2, registration_pb2
from countline_common.access.scopes import Scope
from countline_common.access.vocabulary import NOT_WHILE_ACTING, Permission
from countline_common.administration.current import AdministrationState
from countline_common.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from countline_common.grpc.permissions import method_policy
from countline_common.times import from_timestamp
from countline_control.auth.tables import outbox

FILES = (act_pb2, auth_pb2, factor_pb2, keys_pb2, oidc_pb2, registration_pb2)
METHODS = [
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]
POLICIES = {method: method_policy(f"/{method.containing_service.full_name}/{method.name}") for method in METHODS}


async def stub_of(auth: Auth, username: str = "admin") -> AuthStub:
    return auth.by((await auth.login(username)).access_token)


async def act(caller: AuthStub, user_id: str, reason: str = "ticket 12") -> act_pb2.ActForResponse:
    return await caller.ActFor(act_pb2.ActForRequest(user_id=user_id, reason=reason))


async def me(caller: AuthStub) -> auth_pb2.GetCurrentUserResponse:
    return await caller.GetCurrentUser(auth_pb2.GetCurrentUserRequest())


async def helper(auth: Auth, *permissions: str, username: str = "ann") -> tuple[AuthStub, auth_pb2.User]:
    """A user with a custom role that permits to act for users."""
    role = auth_pb2.Role(name=f"{username}-role", permissions=["user:impersonate", "self:read", *permissions])
    await (await stub_of(auth)).CreateRole(auth_pb2.CreateRoleRequest(role=role))
    user = await auth.create(username, role.name)
    return await stub_of(auth, username), user


async def test_the_token_is_short_holds_what_both_hold_and_names_both(auth: Auth) -> None:
    vera = await auth.create("vera", "operator")
    ann, user = await helper(auth, "camera:write", "system:admin")
    answer = await act(ann, vera.user_id)
    principal = auth.verifier.verify(answer.access_token)
    assert principal.permissions == {"self:read", "camera:write"}
    assert principal.expires_at == from_timestamp(answer.expires_at) == auth.clock.now + 300
    assert (principal.subject, principal.actor.subject) == (vera.user_id, user.user_id)
    seen = await me(auth.by(answer.access_token))
    assert (seen.user.username, seen.actor_name, list(seen.permissions)) == (
        "vera", "ann", ["camera:write", "self:read"],
    )  # fmt: skip
    assert not (await me(ann)).actor_name
    row = (await auth.audited())[-1]
    assert (row.method, row.resource, row.actor.name) == ("countline.v1.ActingService/ActFor", "users/vera", "ann")
    assert {each.path: each.after for each in row.changes}["reason"] == '"ticket 12"'
    assert answer.access_token.encode() not in b"".join(each["payload"] for each in await auth.rows(outbox))
    auth.clock.now += 306
    assert isinstance(await refused(me(auth.by(answer.access_token))), UnauthenticatedError)


async def test_scopes_are_those_of_both(auth: Auth) -> None:
    admin = await stub_of(auth)
    vera = await auth.create("vera", "guest")
    grants = [auth_pb2.Grant(role="operator", site_id="lab")]
    change = auth_pb2.User(user_id=vera.user_id, grants=grants)
    await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=change, update_mask=FieldMask(paths=["grants"])))
    ann, _ = await helper(auth, "camera:write", "camera:read")
    principal = auth.verifier.verify((await act(ann, vera.user_id)).access_token)
    assert principal.reach("camera:write").scopes() == [Scope("lab")]
    assert principal.reach("camera:read").everything
    assert not principal.may("truth:write")


@pytest.mark.parametrize(
    ("who", "error"),
    [
        ("super-admin", PermissionDeniedError), ("disabled", ConflictError), ("service", ConflictError),
        ("oneself", ConflictError), ("pending", ConflictError), ("nobody", NotFoundError),
    ],
)  # fmt: skip
async def test_for_whom_no_user_acts(auth: Auth, who: str, error: type) -> None:
    admin = await stub_of(auth)
    ann, own = await helper(auth)
    if who == "super-admin":
        user_id = (await me(admin)).user.user_id
    elif who == "service":
        account = keys_pb2.CreateServiceAccountRequest(username="ci", roles=["viewer"])
        user_id = (await admin.CreateServiceAccount(account)).user.user_id
    else:
        vera = await auth.create("vera", "viewer")
        user_id = {"oneself": own.user_id, "nobody": "x"}.get(who, vera.user_id)
        if who == "disabled":
            await admin.DisableUser(auth_pb2.DisableUserRequest(user_id=user_id))
        if who == "pending":
            await admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user_id))
    assert isinstance(await refused(act(ann, user_id)), error)
    row = (await auth.audited())[-1]
    assert (row.method, row.outcome) == ("countline.v1.ActingService/ActFor", error.code)


@pytest.mark.parametrize("reason", ["", " \t", "x" * 501])
async def test_a_reason_is_needed(auth: Auth, reason: str) -> None:
    vera = await auth.create("vera", "viewer")
    assert isinstance(await refused(act(await stub_of(auth), vera.user_id, reason)), InvalidInputError)


async def test_only_holders_act_and_only_they_give_the_permission(auth: Auth) -> None:
    vera = await auth.create("vera", "viewer")
    await auth.create("adam", "admin")
    adam = await stub_of(auth, "adam")
    assert isinstance(await refused(act(adam, vera.user_id)), PermissionDeniedError)
    role = auth_pb2.Role(name="helper", permissions=["user:impersonate"])
    error = await refused(adam.CreateRole(auth_pb2.CreateRoleRequest(role=role)))
    assert (type(error), "'user:impersonate'" in error.message) == (PermissionDeniedError, True)


async def test_no_account_changes_while_acting(auth: Auth) -> None:
    """Each method of auth that changes something, by reflection; a new one has to name a permission that is closed."""
    vera, ann = await auth.create("vera", "admin"), await stub_of(auth)
    token = (await act(ann, vera.user_id)).access_token
    held = auth.verifier.verify(token).permissions
    assert not held & NOT_WHILE_ACTING
    changing = [
        each for each in METHODS if POLICIES[each].permission and not POLICIES[each].permission.endswith("read")
    ]
    assert len(changing) > 30
    for method in changing:
        if POLICIES[method].permission == Permission.SYSTEM_ADMIN:  # keys of encryption; no super-admin is acted for
            continue
        before = len(await auth.audited())
        call = getattr(auth.by(token), method.name)
        error = await refused(call(message_factory.GetMessageClass(method.input_type)()))
        assert (type(error), error.message.endswith("while acting for vera")) == (PermissionDeniedError, True), (
            method.name
        )
        (row,) = (await auth.audited())[before:]
        assert (row.actor.name, row.on_behalf_of.name, row.outcome) == ("admin", "vera", "PERMISSION_DENIED")


async def _end(auth: Auth, how: str, admin: AuthStub, user: auth_pb2.User) -> None:
    if how == "disabled":
        await admin.DisableUser(auth_pb2.DisableUserRequest(user_id=user.user_id))
    elif how == "logged out":
        await admin.LogoutUser(auth_pb2.LogoutUserRequest(user_id=user.user_id))
    elif how == "other role":
        change = auth_pb2.User(user_id=user.user_id, roles=["guest"])
        await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=change, update_mask=FieldMask(paths=["roles"])))
    else:
        await admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=user.user_id))


async def _announced(auth: Auth, last: int) -> None:
    """Pass on what auth has announced since, as the feed does."""
    for row in (await auth.rows(outbox))[last:]:
        if row["subject"].endswith("access.ended"):
            ended = auth_pb2.AccessEnded.FromString(row["payload"])
            auth.verifier.revocations.end(ended.user_id, ended.access_revision, ended.session_ids)


@pytest.mark.parametrize("how", ["disabled", "logged out", "other role", "deleted"])
@pytest.mark.parametrize("whose", ["user", "caller"])
async def test_the_end_of_either_access_ends_the_token(auth: Auth, how: str, whose: str) -> None:
    admin = await stub_of(auth)
    vera = await auth.create("vera", "viewer")
    ann, caller = await helper(auth)
    token = (await act(ann, vera.user_id)).access_token
    assert (await me(auth.by(token))).actor_name == "ann"
    last = len(await auth.rows(outbox))
    await _end(auth, how, admin, vera if whose == "user" else caller)
    if whose == "caller":  # auth itself looks into its database
        assert isinstance(await refused(me(auth.by(token))), UnauthenticatedError)
    await _announced(auth, last)
    with pytest.raises(UnauthenticatedError):
        auth.verifier.verify(token)


@pytest.mark.parametrize("by", ["session", "key"])
async def test_the_end_of_the_callers_session_or_key_ends_the_token(auth: Auth, by: str) -> None:
    vera = await auth.create("vera", "viewer")
    tokens = await auth.login()
    admin = auth.by(tokens.access_token)
    key = (await admin.CreateKey(keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="x")))).api_key
    token = (await act(admin if by == "session" else auth.by(key.key), vera.user_id)).access_token
    assert (await me(auth.by(token))).actor_name == "admin"
    last = len(await auth.rows(outbox))
    if by == "session":
        await auth.by().Logout(auth_pb2.LogoutRequest(refresh_token=tokens.refresh_token))
    else:
        await admin.RevokeKey(keys_pb2.RevokeKeyRequest(key_id=key.key_id))
    assert isinstance(await refused(me(auth.by(token))), UnauthenticatedError)
    await _announced(auth, last)
    with pytest.raises(UnauthenticatedError):
        auth.verifier.verify(token)


async def test_a_user_whose_role_requires_a_second_factor_sets_it_up_first(auth: Auth) -> None:
    vera = await auth.create("vera", "viewer")
    admin = await stub_of(auth)
    auth.service.current.replace(AdministrationState({"second_factor_roles": "viewer"}))
    error: Any = await refused(act(admin, vera.user_id))
    assert (type(error), "second factor" in error.message) == (ConflictError, True)

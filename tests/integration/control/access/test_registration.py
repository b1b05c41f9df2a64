"""Registration and invites against a real database over real gRPC."""

import asyncio
from typing import Any

import pytest
from tests.fixtures.control.auth import Auth, AuthStub, refused

from countline.v1 import auth_pb2, registration_pb2, registration_pb2_grpc
from countline_common.administration.current import AdministrationState
from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from countline_common.times import to_timestamp
from countline_control.auth import domain as auth_domain
from countline_control.auth.registration.domain import DEFAULT_LIFE, LONGEST_LIFE
from countline_control.auth.tables import invites

NEW = "three uncommon turnips"


@pytest.fixture(autouse=True)
def _by_invite(auth: Auth) -> None:
    permit(auth, "invite")


def permit(auth: Auth, mode: str) -> None:
    auth.service.current.replace(AdministrationState({"registration": mode}))


async def stub_of(auth: Auth, username: str = "admin") -> AuthStub:
    return auth.by((await auth.login(username)).access_token)


async def invited(caller: AuthStub, *roles: str, **fields: Any) -> registration_pb2.Invite:
    invite = registration_pb2.Invite(roles=roles, **fields)
    return (await caller.CreateInvite(registration_pb2.CreateInviteRequest(invite=invite))).invite


async def register(auth: Auth, token: str = "", username: str = "vera", password: str = NEW) -> auth_pb2.User:
    request = registration_pb2.RegisterRequest(username=username, password=password, invite_token=token)
    return (await auth.by().Register(request)).user


async def listed(caller: AuthStub) -> list[registration_pb2.Invite]:
    return list((await caller.ListInvites(registration_pb2.ListInvitesRequest())).invites)


async def test_an_invite_creates_one_account_with_its_roles(auth: Auth) -> None:
    admin = await stub_of(auth)
    invite = await invited(admin, "operator")
    shown = await listed(admin)
    assert [(each.invite_id, each.token, each.created_by) for each in shown] == [(invite.invite_id, "", "admin")]
    (row,) = await auth.rows(invites)
    assert invite.token not in repr(row)
    user = await register(auth, invite.token)
    assert (user.username, list(user.roles)) == ("vera", ["operator"])
    assert auth.verifier.verify((await auth.login("vera", NEW)).access_token).may("camera:write")
    assert isinstance(await refused(register(auth, invite.token, "paul")), UnauthenticatedError)
    assert await listed(admin) == []


async def test_of_parallel_registrations_with_one_invite_one_succeeds(auth: Auth) -> None:
    invite = await invited(await stub_of(auth), "viewer")
    names = [f"user{number}" for number in range(5)]
    done = await asyncio.gather(*(register(auth, invite.token, name) for name in names), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in done) == 1
    users = (await (await stub_of(auth)).ListUsers(auth_pb2.ListUsersRequest())).users
    assert len([user for user in users if user.username in names]) == 1


@pytest.mark.parametrize("mode", ["closed", "invite", "open"])
async def test_the_setting_says_who_may_register(auth: Auth, mode: str) -> None:
    invite = await invited(await stub_of(auth), "viewer")
    permit(auth, mode)
    if mode == "open":
        assert list((await register(auth)).roles) == ["guest"]
    else:
        assert isinstance(await refused(register(auth)), ConflictError)
    if mode == "closed":
        assert isinstance(await refused(register(auth, invite.token, "paul")), ConflictError)
    else:
        assert list((await register(auth, invite.token, "paul")).roles) == ["viewer"]


async def test_registration_is_closed_by_default(auth: Auth) -> None:
    auth.service.current.replace(AdministrationState())
    assert isinstance(await refused(register(auth)), ConflictError)


async def test_a_taken_name_or_a_weak_password_leaves_the_invite_as_it_was(auth: Auth) -> None:
    invite = await invited(await stub_of(auth), "viewer")
    assert isinstance(await refused(register(auth, invite.token, "ADMIN")), AlreadyExistsError)
    assert isinstance(await refused(register(auth, invite.token, "a b")), InvalidInputError)
    assert isinstance(await refused(register(auth, invite.token, "vera", "password123")), InvalidInputError)
    await register(auth, invite.token)


async def test_without_a_valid_invite_no_answer_shows_which_names_are_taken(auth: Auth) -> None:
    errors = [await refused(register(auth, "wrong", name)) for name in ("admin", "nobody")]
    assert len({(type(error), error.message) for error in errors}) == 1


async def test_an_invite_expires_and_is_revoked(auth: Auth) -> None:
    admin = await stub_of(auth)
    revoked = await invited(admin, "viewer")
    await admin.RevokeInvite(registration_pb2.RevokeInviteRequest(invite_id=revoked.invite_id))
    assert isinstance(await refused(register(auth, revoked.token)), UnauthenticatedError)
    again = admin.RevokeInvite(registration_pb2.RevokeInviteRequest(invite_id=revoked.invite_id))
    assert isinstance(await refused(again), NotFoundError)
    late = await invited(admin, "viewer")
    auth.clock.now += DEFAULT_LIFE.total_seconds()
    assert isinstance(await refused(register(auth, late.token)), UnauthenticatedError)
    admin = await stub_of(auth)
    assert await listed(admin) == []
    for seconds in (-1.0, LONGEST_LIFE.total_seconds() + 1):
        until = to_timestamp(auth.clock.now + seconds)
        error = await refused(
            admin.CreateInvite(
                registration_pb2.CreateInviteRequest(invite=registration_pb2.Invite(roles=["viewer"], expires_at=until))
            )
        )
        assert [problem.field for problem in error.fields] == ["expires_at"]


async def test_nobody_invites_to_more_than_they_hold(auth: Auth) -> None:
    await auth.create("adam", "admin")
    adam, admin = await stub_of(auth, "adam"), await stub_of(auth)
    for roles in (["super-admin"], ["worker"], ["nobody"], []):
        request = registration_pb2.CreateInviteRequest(invite=registration_pb2.Invite(roles=roles))
        assert isinstance(await refused(adam.CreateInvite(request)), PermissionDeniedError | InvalidInputError)
    await auth.create("vic", "viewer")
    request = registration_pb2.CreateInviteRequest(invite=registration_pb2.Invite(roles=["guest"]))
    assert isinstance(await refused((await stub_of(auth, "vic")).CreateInvite(request)), PermissionDeniedError)
    assert await listed(admin) == []


@pytest.mark.parametrize("how", ["demoted", "no longer inviting", "disabled", "deleted"])
async def test_an_invite_ends_with_the_power_of_its_maker(auth: Auth, how: str) -> None:
    user = await auth.create("adam", "admin")
    invite = await invited(await stub_of(auth, "adam"), "operator")
    admin = await stub_of(auth)
    if how == "demoted":
        user.roles[:] = ["viewer"]
        user.revision = 0
        await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=user))
    elif how == "no longer inviting":
        user.roles[:] = ["operator"]  # as the invite gives, but without `user:write`
        user.revision = 0
        await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=user))
    elif how == "disabled":
        await admin.DisableUser(auth_pb2.DisableUserRequest(user_id=user.user_id))
    else:
        await admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=user.user_id))
    assert isinstance(await refused(register(auth, invite.token)), UnauthenticatedError)


async def test_an_invite_whose_role_was_deleted_gives_nothing(auth: Auth) -> None:
    admin = await stub_of(auth)
    role = auth_pb2.Role(name="looker", permissions=["camera:read"])
    await admin.CreateRole(auth_pb2.CreateRoleRequest(role=role))
    invite = await invited(admin, "looker")
    await admin.DeleteRole(auth_pb2.DeleteRoleRequest(name="looker"))
    assert isinstance(await refused(register(auth, invite.token)), UnauthenticatedError)


@pytest.mark.parametrize(
    ("own", "other"), [("10.0.0.1", "10.0.0.2"), ("2001:db8:0:{}::1", "2001:db8:0:100::1")], ids=["IPv4", "IPv6"]
)
async def test_an_address_makes_only_some_accounts_and_guesses_only_some_invites(
    auth: Auth, own: str, other: str
) -> None:
    """All addresses of one IPv6 customer count as one."""
    permit(auth, "open")
    for number in range(auth_domain.FREE_REGISTRATIONS):
        await register_from(auth, own.format(number), f"user{number}")
    assert isinstance(await refused(register_from(auth, own.format(99), "vera")), ResourceExhaustedError)
    await register_from(auth, other, "vera")
    assert (await auth.login()).access_token, "logins are not affected"


async def test_people_whose_addresses_the_gateway_does_not_send_share_a_higher_bound(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They shared the ten attempts of one address: whoever used them up closed registration to all."""
    permit(auth, "open")
    assert auth_domain.FREE_GATEWAY_REGISTRATIONS > 5 * auth_domain.FREE_REGISTRATIONS
    monkeypatch.setattr(auth_domain, "FREE_GATEWAY_REGISTRATIONS", auth_domain.FREE_REGISTRATIONS + 2)
    for number in range(auth_domain.FREE_REGISTRATIONS + 2):
        await register(auth, username=f"user{number}")
    assert isinstance(await refused(register(auth)), ResourceExhaustedError)
    await register_from(auth, "10.0.0.1", "vera")
    auth.clock.now += auth_domain.FORGIVEN_AFTER_S
    await register(auth, username="paul")


async def register_from(auth: Auth, address: str, username: str) -> None:
    request = registration_pb2.RegisterRequest(username=username, password=NEW)
    stub = registration_pb2_grpc.RegistrationServiceStub(auth.channel)
    await stub.Register(request, metadata=(("x-forwarded-for", address),))


async def test_each_step_leaves_one_row_without_a_secret(auth: Auth) -> None:
    admin = await stub_of(auth)
    invite, other = await invited(admin, "viewer"), await invited(admin, "viewer")
    await refused(register(auth, "wrong", NEW.replace(" ", "")))
    await register(auth, invite.token)
    await admin.RevokeInvite(registration_pb2.RevokeInviteRequest(invite_id=other.invite_id))
    rows = [row for row in await auth.audited() if "Registration" in row.method]
    assert [(row.method.rpartition("/")[2], row.outcome, row.actor.name) for row in rows] == [
        ("CreateInvite", "OK", "admin"),
        ("CreateInvite", "OK", "admin"),
        ("Register", "UNAUTHENTICATED", ""),
        ("Register", "OK", "vera"),
        ("RevokeInvite", "OK", "admin"),
    ]
    assert rows[3].resource == "users/vera"
    everything = repr([row.SerializeToString() for row in rows])
    assert not [each for each in (invite.token, other.token, NEW, NEW.replace(" ", "")) if each in everything]

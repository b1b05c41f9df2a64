"""Profiles, passwords, sessions and the state of accounts, against a real database over real gRPC."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.fixtures.control.auth import PASSWORD, Auth, AuthStub, refused

from countline.v1 import auth_pb2
from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from countline_common.times import from_timestamp
from countline_control.auth import domain, passwords
from countline_control.auth.passwords import DECOY, MOST_WAITING, Passwords
from countline_control.auth.tables import login_attempts

NEW = "three uncommon turnips"


async def stub_of(auth: Auth, username: str = "admin", password: str = PASSWORD) -> AuthStub:
    return auth.by((await auth.login(username, password)).access_token)


async def me(stub: AuthStub) -> auth_pb2.GetCurrentUserResponse:
    return await stub.GetCurrentUser(auth_pb2.GetCurrentUserRequest())


def change(current: str, new: str) -> auth_pb2.ChangePasswordRequest:
    return auth_pb2.ChangePasswordRequest(current_password=current, new_password=new)


async def test_a_user_changes_the_own_profile_and_nothing_else_of_it(auth: Auth) -> None:
    await auth.create("vera", "viewer")
    vera = await stub_of(auth, "vera")
    user = auth_pb2.User(display_name="Vera B.", email="v@example.org", roles=["super-admin"])
    changed = (await vera.UpdateCurrentUser(auth_pb2.UpdateCurrentUserRequest(user=user))).user
    assert (changed.display_name, changed.email, list(changed.roles)) == ("Vera B.", "v@example.org", ["viewer"])
    request = auth_pb2.UpdateCurrentUserRequest(user=user, update_mask=FieldMask(paths=["roles"]))
    assert isinstance(await refused(vera.UpdateCurrentUser(request)), InvalidInputError)
    for email in ("no address", "a@", "@b", "a@b@c", "a b@c"):
        wrong = auth_pb2.UpdateCurrentUserRequest(user=auth_pb2.User(email=email))
        assert isinstance(await refused(vera.UpdateCurrentUser(wrong)), InvalidInputError)


async def test_a_changed_password_ends_all_other_sessions(auth: Auth) -> None:
    await auth.create("vera", "viewer")
    here, elsewhere = await auth.login("vera"), await auth.login("vera")
    await auth.by(here.access_token).ChangePassword(change(PASSWORD, NEW))
    assert isinstance(await refused(auth.refresh(elsewhere.refresh_token)), UnauthenticatedError)
    assert isinstance(await refused(me(auth.by(elsewhere.access_token))), UnauthenticatedError)
    await me(auth.by((await auth.refresh(here.refresh_token)).access_token))
    assert isinstance(await refused(auth.login("vera")), UnauthenticatedError)
    await auth.login("vera", NEW)


async def test_a_guest_changes_the_own_password(auth: Auth) -> None:
    """A guest could not: open registration gives this role."""
    await auth.create("vera", "guest")
    await (await stub_of(auth, "vera")).ChangePassword(change(PASSWORD, NEW))
    await auth.login("vera", NEW)


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [
        ("wrong password", NEW, "current_password"),
        (PASSWORD, "short", "new_password"),
        (PASSWORD, " " * 10, "new_password"),
        (PASSWORD, "password123", "new_password"),
        (PASSWORD, "verabellini", "new_password"),
        (PASSWORD, "VeraBellini1", "new_password"),
        (PASSWORD, PASSWORD, "new_password"),
        (PASSWORD, "x" * 1025, "new_password"),
    ],
)
async def test_a_password_that_cannot_be_taken_is_refused(auth: Auth, current: str, new: str, field: str) -> None:
    await auth.create("verabellini", "viewer")
    vera = await stub_of(auth, "verabellini")
    error = await refused(vera.ChangePassword(change(current, new)))
    assert (type(error), [problem.field for problem in error.fields]) == (InvalidInputError, [field])
    await auth.login("verabellini")


async def test_a_former_password_is_not_chosen_again_even_after_a_reset(auth: Auth) -> None:
    user_id = (await auth.create("vera", "operator")).user_id
    vera = await stub_of(auth, "vera")
    await vera.ChangePassword(change(PASSWORD, NEW))
    error = await refused(vera.ChangePassword(change(NEW, PASSWORD)))
    assert "was used before" in error.fields[0].message
    reset = await (await stub_of(auth)).ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user_id))
    vera = await stub_of(auth, "vera", reset.password)
    for former in (NEW, PASSWORD):
        error = await refused(vera.ChangePassword(change("", former)))
        assert [problem.field for problem in error.fields] == ["new_password"]
    await vera.ChangePassword(change("", "Quietly 3 geese cross"))


async def test_a_stolen_token_cannot_guess_the_current_password(auth: Auth) -> None:
    vera = await stub_of(auth)
    errors = [await refused(vera.ChangePassword(change(f"guess {i}", NEW))) for i in range(domain.FREE_FAILURES + 1)]
    assert isinstance(errors[-1], ResourceExhaustedError)


async def test_sessions_are_listed_and_ended_by_their_user(auth: Auth) -> None:
    await auth.create("vera", "viewer")
    first = await auth.login("vera")
    auth.clock.now += 10
    second = await auth.login("vera")
    vera = auth.by(second.access_token)
    sessions = (await vera.ListOwnSessions(auth_pb2.ListOwnSessionsRequest())).sessions
    assert [session.current for session in sessions] == [True, False]
    assert sessions[0].client.startswith("grpc-python")
    assert from_timestamp(sessions[1].created_at) == auth.clock.now - 10
    await vera.EndOwnSession(auth_pb2.EndOwnSessionRequest(session_id=sessions[1].session_id))
    assert isinstance(await refused(auth.refresh(first.refresh_token)), UnauthenticatedError)
    again = vera.EndOwnSession(auth_pb2.EndOwnSessionRequest(session_id=sessions[1].session_id))
    assert isinstance(await refused(again), NotFoundError)
    await vera.LogoutEverywhere(auth_pb2.LogoutEverywhereRequest())
    assert isinstance(await refused(auth.refresh(second.refresh_token)), UnauthenticatedError)
    assert isinstance(await refused(me(vera)), UnauthenticatedError)


async def test_nobody_ends_a_session_of_somebody_else_as_an_own_one(auth: Auth) -> None:
    await auth.create("vera", "viewer")
    admin, vera = await stub_of(auth), await stub_of(auth, "vera")
    theirs = (await admin.ListOwnSessions(auth_pb2.ListOwnSessionsRequest())).sessions[0]
    attempt = vera.EndOwnSession(auth_pb2.EndOwnSessionRequest(session_id=theirs.session_id))
    assert isinstance(await refused(attempt), NotFoundError)
    await me(admin)


async def test_an_admin_sees_and_ends_sessions_of_users(auth: Auth) -> None:
    user_id = (await auth.create("vera", "viewer")).user_id
    first, second = await auth.login("vera"), await auth.login("vera")
    admin = await stub_of(auth)
    request = auth_pb2.ListUserSessionsRequest(user_id=user_id)
    sessions = (await admin.ListUserSessions(request)).sessions
    assert len(sessions) == 2
    for session in sessions:
        request = auth_pb2.EndUserSessionRequest(user_id=user_id, session_id=session.session_id)
        await admin.EndUserSession(request)
    for tokens in (first, second):
        assert isinstance(await refused(auth.refresh(tokens.refresh_token)), UnauthenticatedError)
    third = await auth.login("vera")
    await admin.LogoutUser(auth_pb2.LogoutUserRequest(user_id=user_id))
    assert isinstance(await refused(auth.refresh(third.refresh_token)), UnauthenticatedError)


async def test_a_disabled_user_is_out_until_enabled(auth: Auth) -> None:
    user_id = (await auth.create("vera", "viewer")).user_id
    vera, admin = await auth.login("vera"), await stub_of(auth)
    disabled = (await admin.DisableUser(auth_pb2.DisableUserRequest(user_id=user_id))).user
    assert disabled.disabled
    assert isinstance(await refused(auth.refresh(vera.refresh_token)), UnauthenticatedError)
    assert isinstance(await refused(me(auth.by(vera.access_token))), UnauthenticatedError)
    wrong, right = await refused(auth.login("vera", "wrong password")), await refused(auth.login("vera"))
    assert (type(right), right.message) == (type(wrong), wrong.message)
    await admin.EnableUser(auth_pb2.EnableUserRequest(user_id=user_id))
    await auth.login("vera")


async def test_the_last_super_admin_cannot_be_disabled(auth: Auth) -> None:
    admin = await stub_of(auth)
    own = (await me(admin)).user.user_id
    assert isinstance(await refused(admin.DisableUser(auth_pb2.DisableUserRequest(user_id=own))), ConflictError)
    other = (await auth.create("other", "super-admin")).user_id
    await admin.DisableUser(auth_pb2.DisableUserRequest(user_id=other))
    assert isinstance(await refused(admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=own))), ConflictError)


async def test_a_reset_password_opens_once_and_has_to_be_replaced(auth: Auth) -> None:
    user_id = (await auth.create("vera", "operator")).user_id
    before, admin = await auth.login("vera"), await stub_of(auth)
    reset = await admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user_id))
    assert isinstance(await refused(auth.refresh(before.refresh_token)), UnauthenticatedError)
    assert isinstance(await refused(auth.login("vera")), UnauthenticatedError)
    once = await auth.login("vera", reset.password)
    assert isinstance(await refused(auth.login("vera", reset.password)), UnauthenticatedError)
    vera = auth.by(once.access_token)
    answer = await me(vera)
    assert (answer.user.must_change_password, list(answer.permissions)) == (True, ["self:read", "self:write"])
    principal = auth.verifier.verify(once.access_token)
    assert not principal.may("camera:read")
    await vera.ChangePassword(change("", NEW))
    after = auth.verifier.verify((await auth.refresh(once.refresh_token)).access_token)
    assert after.may("camera:write")
    assert not (await me(await stub_of(auth, "vera", NEW))).user.must_change_password


async def test_a_one_time_password_cannot_become_the_next_password(auth: Auth) -> None:
    user_id = (await auth.create("vera", "operator")).user_id
    reset = await (await stub_of(auth)).ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user_id))
    vera = await stub_of(auth, "vera", reset.password)
    for current in ("", reset.password, "another one"):
        assert isinstance(await refused(vera.ChangePassword(change(current, reset.password))), InvalidInputError)
    await vera.ChangePassword(change("", NEW))


async def test_no_password_opens_an_account_whose_one_time_password_was_used(auth: Auth) -> None:
    user_id = (await auth.create("vera", "operator")).user_id
    reset = await (await stub_of(auth)).ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user_id))
    await auth.login("vera", reset.password)
    for password in (reset.password, PASSWORD, "", DECOY):
        assert isinstance(await refused(auth.login("vera", password)), UnauthenticatedError)


@pytest.mark.parametrize("stored", [None, ""])
async def test_the_decoy_of_missing_hashes_is_never_a_right_password(stored: str | None) -> None:
    """It is checked only to take as long as a wrong password."""
    assert not await Passwords().verify(stored, DECOY)


async def test_a_reset_password_that_is_not_used_expires(auth: Auth) -> None:
    user_id = (await auth.create("vera", "viewer")).user_id
    admin = await stub_of(auth)
    reset = await admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user_id))
    auth.clock.now += domain.ONE_TIME_S
    assert isinstance(await refused(auth.login("vera", reset.password)), UnauthenticatedError)


async def test_an_admin_has_no_power_over_a_super_admin(auth: Auth) -> None:
    """Whoever resets a password, or reads a one-time password, can act as its user."""
    own = (await me(await stub_of(auth))).user.user_id
    await auth.create("adam", "admin")
    adam = await stub_of(auth, "adam")
    for call in (
        adam.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=own)),
        adam.DisableUser(auth_pb2.DisableUserRequest(user_id=own)),
        adam.LogoutUser(auth_pb2.LogoutUserRequest(user_id=own)),
        adam.EndUserSession(auth_pb2.EndUserSessionRequest(user_id=own, session_id="x")),
    ):
        assert isinstance(await refused(call), PermissionDeniedError)


def attempt(auth: Auth, name: str, password: str, address: str):
    request = auth_pb2.LoginRequest(username=name, password=password)
    return auth.stub.Login(request, metadata=(("x-forwarded-for", address),), timeout=60)


@pytest.fixture
def few_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer free failures of an address, so that a test need not make so many."""
    monkeypatch.setattr(domain, "FREE_ADDRESS_FAILURES", 12)


@pytest.mark.usefixtures("few_at_an_address")
async def test_an_own_login_gives_no_new_guesses_of_other_passwords(auth: Auth) -> None:
    """Who had an account logged in after some guesses, and went on guessing passwords of others without end."""
    await auth.create("mallory", "guest")
    await attempt(auth, "mallory", PASSWORD, "10.0.0.1")
    for number in range(domain.FREE_ADDRESS_FAILURES):
        await refused(attempt(auth, f"name-{number}", "guess", "10.0.0.1"))
        if number % 5 == 0:
            await attempt(auth, "mallory", PASSWORD, "10.0.0.1")
    assert isinstance(await refused(attempt(auth, "admin", "guess", "10.0.0.1")), ResourceExhaustedError)


@pytest.mark.usefixtures("few_at_an_address")
async def test_logins_of_many_people_at_one_address_do_not_add_up(auth: Auth) -> None:
    for _ in range(domain.FREE_ADDRESS_FAILURES + 1):
        await attempt(auth, "admin", PASSWORD, "10.0.0.1")
    counted = {row["key"].partition(":")[0]: row["failures"] for row in await auth.rows(login_attempts)}
    assert counted["address"] == 0


async def test_a_login_from_a_new_address_keeps_what_was_guessed_elsewhere(auth: Auth) -> None:
    for i in range(domain.FREE_FAILURES - 1):
        await refused(attempt(auth, "admin", "guess", f"10.9.9.{i}"))
    await attempt(auth, "admin", PASSWORD, "10.0.0.1")
    await refused(attempt(auth, "admin", "guess", "10.9.8.1"))
    assert isinstance(await refused(attempt(auth, "admin", "guess", "10.9.8.2")), ResourceExhaustedError)
    await attempt(auth, "admin", PASSWORD, "10.0.0.1")


async def test_guesses_from_elsewhere_do_not_lock_out_a_user_at_a_known_address(auth: Auth) -> None:
    """Ten wrong passwords from anywhere kept the owner out."""
    await attempt(auth, "admin", PASSWORD, "10.0.0.1")
    for i in range(domain.FREE_FAILURES):
        await refused(attempt(auth, "admin", "wrong password", f"10.9.9.{i}"))
    assert isinstance(await refused(attempt(auth, "admin", PASSWORD, "10.9.9.99")), ResourceExhaustedError)
    await attempt(auth, "admin", PASSWORD, "10.0.0.1")


async def test_a_user_who_has_to_wait_is_told_how_long_and_can_be_unlocked(auth: Auth) -> None:
    user_id = (await auth.create("vera", "viewer")).user_id
    for _ in range(domain.FREE_FAILURES):
        await refused(attempt(auth, "vera", "wrong password", "10.0.0.1"))
    error = await refused(attempt(auth, "vera", PASSWORD, "10.0.0.1"))
    assert (type(error), error.retry_after_s) == (ResourceExhaustedError, 1.0)
    await (await stub_of(auth)).UnlockUser(auth_pb2.UnlockUserRequest(user_id=user_id))
    await attempt(auth, "vera", PASSWORD, "10.0.0.1")


async def test_strangers_do_not_keep_a_known_caller_from_logging_in(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 anonymous clients with random names kept the admin out for more than 15 s."""
    monkeypatch.setattr(passwords, "LONGEST_WAIT_S", 60.0)
    await attempt(auth, "admin", PASSWORD, "10.0.0.1")
    let_in = MOST_WAITING - 1
    async with auth.service._passwords.turn(known=False):  # as if one stranger's hash took for ever
        flood = [asyncio.create_task(_outcome(attempt(auth, f"x{i}", "guess", f"10.7.0.{i}"))) for i in range(60)]
        done = 0
        while done < 60 - let_in:
            await asyncio.wait(flood, timeout=0.1)
            done = sum(task.done() for task in flood)
        await attempt(auth, "admin", PASSWORD, "10.0.0.1")
    outcomes = await asyncio.gather(*flood)
    assert sorted(outcomes) == ["RESOURCE_EXHAUSTED"] * (60 - let_in) + ["UNAUTHENTICATED"] * let_in
    counted = [row for row in await auth.rows(login_attempts) if row["key"].startswith("pair:")]
    assert len(counted) == let_in  # who was refused may try the right password at once
    logins = [row.outcome for row in await auth.audited() if row.method.endswith("/Login")]
    assert sorted(set(logins)) == ["OK", "UNAUTHENTICATED"]  # nor does the flood fill the audit


async def test_who_has_waited_too_long_for_a_turn_is_refused_before_the_client_gives_up(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "LONGEST_WAIT_S", 0.05)
    async with auth.service._passwords.turn(known=False):
        error = await refused(attempt(auth, "admin", PASSWORD, "10.0.0.1"))
    assert (error.code, error.retry_after_s) == ("RESOURCE_EXHAUSTED", passwords.RETRY_S)
    await attempt(auth, "admin", PASSWORD, "10.0.0.1")


async def _outcome(call) -> str:
    return (await refused(call)).code


async def test_the_last_super_admin_gets_no_one_time_password(auth: Auth) -> None:
    """A sole super-admin who reset the own password, and let it expire, was locked out for good."""
    admin = await stub_of(auth)
    own = (await me(admin)).user.user_id
    error = await refused(admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=own)))
    assert (type(error), "last super-admin" in error.message) == (ConflictError, True)
    await auth.create("other", "super-admin")
    await (await stub_of(auth, "other")).ResetPassword(auth_pb2.ResetPasswordRequest(user_id=own))


async def test_a_user_with_a_one_time_password_is_told_what_to_do_first(auth: Auth) -> None:
    user_id = (await auth.create("vera", "admin")).user_id
    reset = await (await stub_of(auth)).ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user_id))
    vera = await stub_of(auth, "vera", reset.password)
    error = await refused(vera.ListUsers(auth_pb2.ListUsersRequest()))
    assert (type(error), "choose a password" in error.message) == (PermissionDeniedError, True)
    assert "POST /api/v1/auth/password" in error.hint


@pytest.mark.parametrize(
    "name", ["ADMIN", "Admin", "ａｄｍｉｎ", "аdmin", "admın", "admin\u200b", "ad\u00admin", "ADM\u0130N"]
)
async def test_no_variant_of_a_name_becomes_another_user(auth: Auth, name: str) -> None:
    admin = await stub_of(auth)
    request = auth_pb2.CreateUserRequest(username=name, password=NEW, roles=["viewer"])
    error = await refused(admin.CreateUser(request))
    assert type(error) is (AlreadyExistsError if name.isascii() else InvalidInputError)
    # No text of a request holds invisible characters as a name, whichever users exist.
    refusal = UnauthenticatedError if name.isprintable() else InvalidInputError
    assert type(await refused(auth.login(name, NEW))) is refusal


async def test_a_stolen_login_cannot_reset_the_own_password(auth: Auth) -> None:
    ann = await auth.create("ann", "super-admin")
    error = await refused(
        (await stub_of(auth, "ann")).ResetPassword(auth_pb2.ResetPasswordRequest(user_id=ann.user_id))
    )
    assert (type(error), "no user resets its own password" in error.message) == (ConflictError, True)

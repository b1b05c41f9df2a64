"""Login, refresh, logout and users, against a real database over real gRPC."""

import asyncio

import pytest
from sqlalchemy import select, text
from tests.fixtures.control.auth import PASSWORD, Auth, refused

from countline.v1 import auth_pb2
from countline_common.access.vocabulary import PEOPLE
from countline_common.data.database import POOL_OVERFLOW, POOL_SIZE
from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from countline_common.grpc.errors import from_rpc_error
from countline_common.times import from_timestamp
from countline_control.auth import domain
from countline_control.auth.tables import login_attempts, outbox, refresh_tokens, user_sessions, users


async def test_the_first_admin_logs_in_whatever_the_case_of_the_name_and_may_do_everything(auth: Auth) -> None:
    response = await auth.by().Login(auth_pb2.LoginRequest(username="Admin", password=PASSWORD))
    assert (response.user.username, list(response.user.roles)) == ("admin", ["super-admin"])
    me = await auth.by(response.tokens.access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())
    assert list(me.permissions) == sorted(PEOPLE)
    assert from_timestamp(response.tokens.access_expires_at) == auth.clock.now + 5 * 60


async def test_the_first_admin_is_created_once_and_never_again(auth: Auth) -> None:
    assert not await auth.service.create_first_admin("another password")
    await auth.login()


async def test_a_start_with_users_hashes_no_password(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every start of the service hashed the password of the first admin, and then found that there are users."""

    async def hashes(_: str) -> str:
        pytest.fail("a password is hashed")

    monkeypatch.setattr(auth.service._passwords, "hash", hashes)
    assert not await auth.service.create_first_admin("another password")


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(auth: Auth) -> None:
    errors = [await refused(auth.login(name, "wrong password")) for name in ("admin", "nobody")]
    assert all(isinstance(error, UnauthenticatedError) for error in errors)
    assert len({(error.message, error.hint) for error in errors}) == 1


@pytest.mark.parametrize("username", ["admin", "nobody"])
async def test_too_many_wrong_passwords_make_wait_whether_the_name_exists_or_not(auth: Auth, username: str) -> None:
    for _ in range(domain.FREE_FAILURES):
        assert isinstance(await refused(auth.login(username, "wrong password")), UnauthenticatedError)
    error = await refused(auth.login(username, PASSWORD))
    assert isinstance(error, ResourceExhaustedError)
    assert error.hint == "try again in 1 s"


async def test_after_waiting_the_right_password_opens_and_the_count_begins_anew(auth: Auth) -> None:
    for _ in range(domain.FREE_FAILURES):
        await refused(auth.login("admin", "wrong password"))
    auth.clock.now += 1.1
    await auth.login()
    assert isinstance(await refused(auth.login("admin", "wrong password")), UnauthenticatedError)
    await auth.login()


async def test_many_guesses_at_once_do_not_slip_through_together(auth: Auth) -> None:
    guesses = [refused(auth.login("admin", f"guess number {i}")) for i in range(3 * domain.FREE_FAILURES)]
    errors = await asyncio.gather(*guesses)
    assert sum(isinstance(error, UnauthenticatedError) for error in errors) == domain.FREE_FAILURES


async def test_all_addresses_of_one_ipv6_customer_count_as_one_address(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer of a provider gets a /56 at least: counted one by one, its addresses have no limit."""
    monkeypatch.setattr(domain, "FREE_ADDRESS_FAILURES", 4)

    def attempt(name: str, password: str, address: str):
        request = auth_pb2.LoginRequest(username=name, password=password)
        return auth.stub.Login(request, metadata=(("x-forwarded-for", address),), timeout=30)

    for i in range(4):
        error = await refused(attempt(f"name-{i}", "wrong password", f"2001:db8:0:{i}::{i + 1}"))
        assert isinstance(error, UnauthenticatedError)
    assert isinstance(await refused(attempt("admin", PASSWORD, "2001:db8:0:ff::9")), ResourceExhaustedError)
    await attempt("admin", PASSWORD, "2001:db8:0:100::1")


async def test_somebody_who_tries_many_names_waits_and_keeps_nobody_else_out(auth: Auth) -> None:
    def attempt(name: str, password: str, address: str):
        request = auth_pb2.LoginRequest(username=name, password=password)
        return auth.stub.Login(request, metadata=(("x-forwarded-for", address),), timeout=30)

    for i in range(domain.FREE_ADDRESS_FAILURES):
        assert isinstance(await refused(attempt(f"name-{i}", "wrong password", "1.2.3.4")), UnauthenticatedError)
    assert isinstance(await refused(attempt("admin", PASSWORD, "1.2.3.4")), ResourceExhaustedError)
    await attempt("admin", PASSWORD, "1.2.3.5")
    await auth.login()


async def test_sessions_that_have_expired_are_forgotten(auth: Auth) -> None:
    await auth.login()
    auth.clock.now += 31 * 24 * 3600
    await auth.login()
    assert (len(await auth.rows(user_sessions)), len(await auth.rows(refresh_tokens))) == (1, 1)


async def test_refreshing_gives_new_tokens_of_the_same_session(auth: Auth) -> None:
    first = await auth.login()
    auth.clock.now += 4 * 60
    second = await auth.refresh(first.refresh_token)
    assert second.refresh_token != first.refresh_token
    auth.clock.now += 4 * 60
    await auth.by(second.access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())
    assert isinstance(
        await refused(auth.by(first.access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())),
        UnauthenticatedError,
    )


async def test_a_refresh_whose_answer_was_lost_may_be_repeated_for_a_while(auth: Auth) -> None:
    first = await auth.login()
    await auth.refresh(first.refresh_token)
    auth.clock.now += domain.REUSE_GRACE_S - 1
    again = await auth.refresh(first.refresh_token)
    await auth.refresh(again.refresh_token)


async def test_refreshes_of_one_token_that_wait_keep_nobody_else_out(auth: Auth) -> None:
    """The tabs of a browser refresh at once. Each held a connection to the database while it waited for the others."""
    token = (await auth.login()).refresh_token
    async with auth.database.begin() as connection:
        await connection.execute(select(refresh_tokens).with_for_update())
        waiting = [asyncio.create_task(auth.refresh(token)) for _ in range(POOL_SIZE + POOL_OVERFLOW)]
        await _wait_for_a_lock(auth)
        await auth.login()
    assert len({each.refresh_token for each in await asyncio.gather(*waiting)}) == len(waiting)


async def _wait_for_a_lock(auth: Auth) -> None:
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(30), auth.database.begin() as connection:
        while not await connection.scalar(waits):  # noqa: ASYNC110  (PostgreSQL announces no lock)
            await asyncio.sleep(0.01)


async def test_a_refresh_token_that_comes_again_later_ends_the_whole_session(auth: Auth) -> None:
    """Either the thief or the owner used it first. The service cannot know which, so both have to log in again."""
    first = await auth.login()
    second = await auth.refresh(first.refresh_token)
    auth.clock.now += domain.REUSE_GRACE_S + 1
    assert "was used before" in (await refused(auth.refresh(first.refresh_token))).message
    assert isinstance(await refused(auth.refresh(second.refresh_token)), UnauthenticatedError)
    (reused,) = [row for row in await auth.audited() if "was used before" in row.problem]
    assert (reused.outcome, reused.actor.name) == ("UNAUTHENTICATED", "admin")


async def test_a_refresh_token_expires(auth: Auth) -> None:
    first = await auth.login()
    auth.clock.now += 30 * 24 * 3600 + 1
    assert "not valid any more" in (await refused(auth.refresh(first.refresh_token))).message


async def test_logging_out_ends_the_session_and_twice_is_no_error(auth: Auth) -> None:
    tokens = await auth.login()
    for _ in range(2):
        await auth.by().Logout(auth_pb2.LogoutRequest(refresh_token=tokens.refresh_token))
    assert isinstance(await refused(auth.refresh(tokens.refresh_token)), UnauthenticatedError)


async def test_neither_passwords_nor_refresh_tokens_lie_in_the_database(auth: Auth) -> None:
    tokens = await auth.login()
    (user,) = await auth.rows(users)
    assert user["password_hash"].startswith("$argon2id$")
    stored = [bytes(row["token_hash"]) for row in await auth.rows(refresh_tokens)]
    assert tokens.refresh_token.encode() not in stored
    assert all(len(value) == 32 for value in stored)


async def test_users_are_created_listed_by_pages_and_deleted(auth: Auth) -> None:
    created = [await auth.create(name, "viewer") for name in ("Zoe", "bea", "Carl")]
    admin = auth.by((await auth.login()).access_token)
    first = await admin.ListUsers(auth_pb2.ListUsersRequest(page_size=2))
    assert [user.username for user in first.users] == ["admin", "bea"]
    second = await admin.ListUsers(auth_pb2.ListUsersRequest(page_size=2, page_token=first.next_page_token))
    assert [user.username for user in second.users] == ["Carl", "Zoe"]
    assert not second.next_page_token
    zoe = await auth.login("zoe")
    await admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=created[0].user_id))
    assert isinstance(await refused(auth.refresh(zoe.refresh_token)), UnauthenticatedError)
    gone = await refused(auth.by(zoe.access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest()))
    assert isinstance(gone, UnauthenticatedError)
    assert isinstance(await refused(admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id="x"))), NotFoundError)


async def test_a_name_is_given_once_whatever_its_case(auth: Auth) -> None:
    await auth.create("bea", "viewer")
    assert isinstance(await refused(auth.create("BEA", "admin")), AlreadyExistsError)


async def test_each_field_of_a_new_user_that_is_wrong_is_named(auth: Auth) -> None:
    error = await refused(auth.create("no spaces please", "viewer", password="short"))
    assert isinstance(error, InvalidInputError)
    assert [problem.field for problem in error.fields] == ["username", "password"]
    for roles, field in ((("viewer", "king"), "roles[1]"), ((), "roles")):
        error = await refused(auth.create("anna", *roles))
        assert (type(error), [problem.field for problem in error.fields]) == (InvalidInputError, [field])


async def test_the_last_super_admin_cannot_be_deleted_even_by_two_at_once(auth: Auth) -> None:
    other = await auth.create("other", "super-admin")
    admin = auth.by((await auth.login()).access_token)
    everybody = (await admin.ListUsers(auth_pb2.ListUsersRequest())).users
    calls = [admin.DeleteUser(auth_pb2.DeleteUserRequest(user_id=user.user_id)) for user in everybody]
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [from_rpc_error(result) for result in results if isinstance(result, Exception)]
    # The caller may have deleted itself first.
    assert [type(error) in {ConflictError, UnauthenticatedError} for error in errors] == [True]
    assert other.user_id in {user.user_id for user in everybody}
    assert len(await auth.rows(users)) == 1


async def test_what_happens_is_written_to_the_audit_and_the_outbox(auth: Auth) -> None:
    await auth.create("bea", "viewer")
    await refused(auth.login("bea", "wrong password"))
    await refused(auth.login("my secret password", "bea"))
    rows = await auth.audited()
    found = [(row.method.rpartition("/")[2], row.actor.name, row.resource, row.outcome) for row in rows]
    assert found == [
        ("system", "system", "users/admin", "OK"),
        ("Login", "admin", "users/admin", "OK"),
        ("CreateUser", "admin", "users/bea", "OK"),
        ("Login", "", "users/bea", "UNAUTHENTICATED"),
        ("Login", "", "auth/login", "UNAUTHENTICATED"),
    ]
    assert "my secret password" not in str(rows) + str(await auth.rows(login_attempts))
    sent = [row for row in await auth.rows(outbox) if row["subject"].startswith("countline.domain.")]
    events = [(row["subject"], row["headers"]["Countline-Actor"]) for row in sent]
    assert events == [("countline.domain.user.created", "system"), ("countline.domain.user.created", "admin")]

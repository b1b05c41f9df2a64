"""Logins through a real identity provider: users by their subject, roles by their groups, and only the own login."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.fixtures.control.auth import PASSWORD, Auth, refused
from tests.fixtures.oidc.provider import CLIENT_ID, CLIENT_SECRET, NodeProvider

from countline.v1 import auth_pb2, oidc_pb2
from countline_common.access.oidc_redirects import GATEWAY_CALLBACK
from countline_common.access.scopes import Scope
from countline_common.administration.current import AdministrationState, MaintenanceState
from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from countline_common.times import from_timestamp
from countline_control.auth.domain import PasswordLogins
from countline_control.auth.oidc.flow import LoginFlow
from countline_control.auth.oidc.groups import read_group_file
from countline_control.auth.oidc.people import OidcLogins
from countline_control.auth.oidc.provider import IdentityProvider, OidcConfig
from countline_control.auth.tables import grants, identities, users
from countline_control.settings import OidcCallLimits

REDIRECT = f"http://127.0.0.1:8080{GATEWAY_CALLBACK}"
MAPPING = """\
groups:
  - {group: ops, role: operator}
  - {group: shop, role: viewer, site: shop}
  - {group: roots, role: super-admin}
"""


@pytest.fixture
def oidc(auth: Auth, identity_provider: NodeProvider) -> Auth:
    """Auth with the provider. Its clock is the machine's: the provider's tokens have real times."""
    use(auth, identity_provider.issuer)
    return auth


def use(auth: Auth, issuer: str, mapping: str = MAPPING, **changes: object) -> None:
    auth.clock.now = time.time()
    rules = read_group_file(mapping).rules
    values = {"client_id": CLIENT_ID, "name": "Example Id", "client_secret": CLIENT_SECRET, "rules": rules, **changes}
    provider = IdentityProvider(OidcConfig(issuer, **values), OidcCallLimits(first_pause_s=0.01))
    auth.service.oidc = OidcLogins(provider, LoginFlow(b"k" * 32))


async def begun(auth: Auth) -> oidc_pb2.StartOidcLoginResponse:
    return await auth.by().StartOidcLogin(oidc_pb2.StartOidcLoginRequest(redirect_uri=REDIRECT))


async def answered(auth: Auth, provider: NodeProvider, person: str, **changes: str) -> oidc_pb2.FinishOidcLoginRequest:
    started = await begun(auth)
    answer = await provider.answer(started.authorization_url, person)
    values = {"login": started.login, "state": answer["state"], "code": answer["code"], "issuer": answer["iss"]}
    return oidc_pb2.FinishOidcLoginRequest(**{**values, **changes})


async def logged_in(auth: Auth, provider: NodeProvider, person: str) -> oidc_pb2.FinishOidcLoginResponse:
    return await auth.by().FinishOidcLogin(await answered(auth, provider, person))


def held(user: auth_pb2.User) -> set[tuple[str, str]]:
    return {*((role, "") for role in user.roles), *((grant.role, grant.site_id) for grant in user.grants)}


async def last_row(auth: Auth) -> object:
    return (await auth.audited())[-1]


async def test_a_person_becomes_a_user_with_the_roles_of_the_groups(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    found = await logged_in(oidc, identity_provider, "anna~ops,shop,other")
    assert (found.user.username, found.user.email, held(found.user)) == (
        "anna", "anna@example.org", {("operator", ""), ("viewer", "shop")},
    )  # fmt: skip
    assert found.redirect_uri == REDIRECT
    principal = oidc.verifier.verify(found.tokens.access_token)
    assert principal.reach("camera:write").everything
    assert (await oidc.refresh(found.tokens.refresh_token)).access_token
    (identity,) = await oidc.rows(identities)
    assert (identity["issuer"], identity["subject"]) == (identity_provider.issuer, "sub-anna")
    row = await last_row(oidc)
    assert (row.method.rpartition("/")[2], row.outcome, row.actor.name) == ("RefreshToken", "OK", "anna")
    (row,) = [row for row in await oidc.audited() if row.method.endswith("FinishOidcLogin")]
    assert (row.resource, row.actor.name, row.outcome) == ("users/anna", "anna", "OK")
    assert {"subject", "roles", "session_id"} <= {change.path.partition("[")[0] for change in row.changes}


async def test_a_user_without_a_password_cannot_log_in_with_one(oidc: Auth, identity_provider: NodeProvider) -> None:
    await logged_in(oidc, identity_provider, "anna~ops")
    for password in ("", "any", PASSWORD):
        assert isinstance(await refused(oidc.login("anna", password)), UnauthenticatedError)


async def test_a_person_is_found_by_the_subject_and_never_by_a_name(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    """The provider's `admin` is not ours, whatever name and address it claims."""
    found = await logged_in(oidc, identity_provider, "admin~shop")
    assert (found.user.username, held(found.user)) == ("admin-2", {("viewer", "shop")})
    again = await logged_in(oidc, identity_provider, "admin~shop")
    assert again.user.user_id == found.user.user_id
    assert len(await oidc.rows(users)) == 2


async def test_groups_that_are_gone_take_their_roles_and_others_stay(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    user = (await logged_in(oidc, identity_provider, "anna~ops")).user
    admin = oidc.by((await oidc.login()).access_token)
    change = auth_pb2.User(user_id=user.user_id, roles=["operator", "guest"])
    await admin.UpdateUser(auth_pb2.UpdateUserRequest(user=change, update_mask=FieldMask(paths=["roles"])))
    found = await logged_in(oidc, identity_provider, "anna~shop")
    assert held(found.user) == {("guest", ""), ("viewer", "shop")}
    assert oidc.verifier.verify(found.tokens.access_token).reach("camera:read").covers(Scope("shop"))
    assert found.user.revision > user.revision
    same = await logged_in(oidc, identity_provider, "anna~shop")
    assert (same.user.revision, held(same.user)) == (found.user.revision, held(found.user))


HOUR_S = 3600.0


async def test_a_session_of_a_linked_user_ends_after_some_hours_so_that_groups_apply_again(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    """Also one that is in use all the time; and the last access token ends with it."""
    tokens, local = (await logged_in(oidc, identity_provider, "anna~ops")).tokens, await oidc.login()
    oidc.clock.now += 11.99 * HOUR_S
    tokens, local = await oidc.refresh(tokens.refresh_token), await oidc.refresh(local.refresh_token)
    assert from_timestamp(tokens.refresh_expires_at) - oidc.clock.now == pytest.approx(36, abs=2)
    assert oidc.verifier.verify(tokens.access_token).expires_at - oidc.clock.now == pytest.approx(36, abs=2)
    assert tokens.access_expires_at == tokens.refresh_expires_at
    oidc.clock.now += 60
    assert isinstance(await refused(oidc.refresh(tokens.refresh_token)), UnauthenticatedError)
    local = await oidc.refresh(local.refresh_token)
    assert from_timestamp(local.refresh_expires_at) - oidc.clock.now == pytest.approx(30 * 24 * HOUR_S)


async def test_the_hours_of_a_session_can_be_set_and_act_at_the_next_refresh(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    tokens = (await logged_in(oidc, identity_provider, "anna~ops")).tokens
    oidc.service.current.replace(AdministrationState({"session.oidc_hours": "0"}))
    tokens = await oidc.refresh(tokens.refresh_token)
    oidc.clock.now += 48 * HOUR_S
    tokens = await oidc.refresh(tokens.refresh_token)
    oidc.service.current.replace(AdministrationState({"session.oidc_hours": "47"}))
    error = await refused(oidc.refresh(tokens.refresh_token))
    assert (type(error), "after 47 hours" in error.message) == (UnauthenticatedError, True)
    oidc.clock.now = time.time()  # the provider's clock
    tokens = (await logged_in(oidc, identity_provider, "anna~ops")).tokens
    assert from_timestamp(tokens.refresh_expires_at) - oidc.clock.now == pytest.approx(47 * HOUR_S, abs=2)


async def test_who_has_no_group_any_more_is_refused_and_loses_the_open_sessions(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    first = await logged_in(oidc, identity_provider, "anna~ops")
    error = await refused(logged_in(oidc, identity_provider, "anna~other"))
    assert isinstance(error, PermissionDeniedError)
    assert "none of your groups" in error.message
    assert isinstance(await refused(oidc.refresh(first.tokens.refresh_token)), UnauthenticatedError)
    assert not [row for row in await oidc.rows(grants) if row["user_id"] == first.user.user_id]
    (row,) = [row for row in await oidc.audited() if row.outcome == "PERMISSION_DENIED"]
    assert (row.resource, row.actor.name) == ("users/anna", "anna")


async def test_a_new_person_without_a_role_is_refused_and_leaves_no_user(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    assert isinstance(await refused(logged_in(oidc, identity_provider, "eve")), PermissionDeniedError)
    assert len(await oidc.rows(users)) == 1
    row = await last_row(oidc)
    assert (row.outcome, row.resource, row.changes[:]) == ("PERMISSION_DENIED", "identities/sub-eve", [])


async def test_during_maintenance_a_new_person_becomes_no_user_and_a_known_one_logs_in(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    await logged_in(oidc, identity_provider, "anna~ops")
    oidc.service.current.replace(AdministrationState(maintenance=MaintenanceState(True, "backup", "admin", 0.0)))
    error = await refused(logged_in(oidc, identity_provider, "ben~ops"))
    assert isinstance(error, UnavailableError)
    assert "so no user can be created for a new person: backup" in error.message
    assert {row["username"] for row in await oidc.rows(users)} == {"admin", "anna"}
    row = await last_row(oidc)
    assert (row.outcome, row.resource, row.changes[:]) == ("UNAVAILABLE", "identities/sub-ben", [])
    assert (await logged_in(oidc, identity_provider, "anna~ops")).user.username == "anna"
    oidc.service.current.replace(AdministrationState())
    assert (await logged_in(oidc, identity_provider, "ben~ops")).user.username == "ben"


async def test_a_disabled_user_is_refused(oidc: Auth, identity_provider: NodeProvider) -> None:
    user = (await logged_in(oidc, identity_provider, "anna~ops")).user
    admin = oidc.by((await oidc.login()).access_token)
    await admin.DisableUser(auth_pb2.DisableUserRequest(user_id=user.user_id))
    error = await refused(logged_in(oidc, identity_provider, "anna~ops"))
    assert (type(error), error.message) == (PermissionDeniedError, "user 'anna' is disabled")


async def test_the_last_super_admin_with_a_password_stays_whatever_the_groups_say(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    root = (await logged_in(oidc, identity_provider, "root~roots")).user
    assert held(root) == {("super-admin", "")}
    tokens = await oidc.login()
    me = (await oidc.by(tokens.access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())).user
    by_root = oidc.by((await logged_in(oidc, identity_provider, "root~roots")).tokens.access_token)
    # While the provider is away, `root` could do nothing: `admin` is the last one that can.
    for call in (
        by_root.DeleteUser(auth_pb2.DeleteUserRequest(user_id=me.user_id)),
        by_root.DisableUser(auth_pb2.DisableUserRequest(user_id=me.user_id)),
    ):
        assert isinstance(await refused(call), ConflictError)
    assert held((await logged_in(oidc, identity_provider, "root~ops")).user) == {("operator", "")}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"state": "x"}, "another login"),
        ({"login": ""}, "has not begun it"),
        ({"issuer": "https://evil.example"}, "another identity provider"),
        ({"issuer": ""}, "another identity provider"),
        ({"code": "x"}, "does not accept its code"),
        ({"code": ""}, "holds no code"),
        ({"error": "access_denied"}, "refused it (access_denied)"),
    ],
    ids=str,
)
async def test_an_answer_with_a_wrong_part_is_refused_and_leaves_a_row(
    oidc: Auth, identity_provider: NodeProvider, changes: dict[str, str], problem: str
) -> None:
    request = await answered(oidc, identity_provider, "anna~ops", **changes)
    error = await refused(oidc.by().FinishOidcLogin(request))
    assert isinstance(error, UnauthenticatedError)
    assert problem in error.message
    row = await last_row(oidc)
    assert (row.outcome, row.resource) == ("UNAUTHENTICATED", "auth/oidc")
    assert len(await oidc.rows(users)) == 1


async def test_an_answer_completes_one_login_even_with_a_fresh_code(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    started = await begun(oidc)
    requests = []
    for _ in range(2):
        answer = await identity_provider.answer(started.authorization_url, "anna~ops")
        values = {"login": started.login, "state": answer["state"], "code": answer["code"], "issuer": answer["iss"]}
        requests.append(oidc_pb2.FinishOidcLoginRequest(**values))
    await oidc.by().FinishOidcLogin(requests[0])
    assert "used before" in (await refused(oidc.by().FinishOidcLogin(requests[1]))).message


async def test_an_administrator_links_and_unlinks_identities(oidc: Auth, identity_provider: NodeProvider) -> None:
    vera = await oidc.create("vera", "viewer")
    admin = oidc.by((await oidc.login()).access_token)
    link = oidc_pb2.LinkIdentityRequest(user_id=vera.user_id, subject="sub-vera")
    identity = (await admin.LinkIdentity(link)).identity
    assert isinstance(await refused(admin.LinkIdentity(link)), AlreadyExistsError)
    found = await logged_in(oidc, identity_provider, "vera~shop")
    assert (found.user.user_id, held(found.user)) == (vera.user_id, {("viewer", ""), ("viewer", "shop")})
    (listed,) = (await admin.ListIdentities(oidc_pb2.ListIdentitiesRequest(user_id=vera.user_id))).identities
    assert (listed.identity_id, listed.HasField("last_login_at")) == (identity.identity_id, True)
    unlink = oidc_pb2.UnlinkIdentityRequest(user_id=vera.user_id, identity_id=identity.identity_id)
    await admin.UnlinkIdentity(unlink)
    assert isinstance(await refused(oidc.refresh(found.tokens.refresh_token)), UnauthenticatedError)
    assert (await logged_in(oidc, identity_provider, "vera~shop")).user.username == "vera-2"
    bad = oidc_pb2.LinkIdentityRequest(user_id=vera.user_id, subject="x" * 300)
    assert isinstance(await refused(admin.LinkIdentity(bad)), InvalidInputError)


async def test_nobody_links_themselves_to_a_user_who_holds_more(oidc: Auth, identity_provider: NodeProvider) -> None:
    await oidc.create("ann", "admin")
    tokens = await oidc.login()
    me = (await oidc.by(tokens.access_token).GetCurrentUser(auth_pb2.GetCurrentUserRequest())).user
    ann = oidc.by((await oidc.login("ann")).access_token)
    link = oidc_pb2.LinkIdentityRequest(user_id=me.user_id, subject="sub-ann")
    assert isinstance(await refused(ann.LinkIdentity(link)), PermissionDeniedError)


def link(user: auth_pb2.User, subject: str) -> oidc_pb2.LinkIdentityRequest:
    return oidc_pb2.LinkIdentityRequest(user_id=user.user_id, subject=subject)


async def test_who_links_an_identity_holds_all_that_groups_can_give(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    """Otherwise an admin links a future super-admin to an account whose password the admin knows."""
    mallory, vera = await oidc.create("mallory", "admin"), await oidc.create("vera", "viewer")
    by_mallory = oidc.by((await oidc.login("mallory")).access_token)
    for user in (mallory, vera):
        error = await refused(by_mallory.LinkIdentity(link(user, "sub-root")))
        assert isinstance(error, PermissionDeniedError)
        assert error.message == (
            f"mallory may not link an identity to user {user.username}, which gives whatever the groups file maps: "
            "mallory does not hold 'system:admin' over everything, 'user:impersonate' over everything"
        )
    assert not await oidc.rows(identities)
    found = await logged_in(oidc, identity_provider, "root~roots")
    assert (found.user.username, held(found.user)) == ("root", {("super-admin", "")})
    assert "super-admin" not in oidc.verifier.verify((await oidc.login("mallory")).access_token).roles


async def test_an_admin_links_identities_where_no_group_gives_more_than_admins_hold(
    auth: Auth, identity_provider: NodeProvider
) -> None:
    use(auth, identity_provider.issuer, "groups:\n  - {group: ops, role: admin}\n  - {group: x, role: guest}\n")
    await auth.create("ann", "admin")
    vera = await auth.create("vera", "viewer")
    by_ann = auth.by((await auth.login("ann")).access_token)
    assert (await by_ann.LinkIdentity(link(vera, "sub-vera"))).identity.subject == "sub-vera"


async def test_who_resets_the_password_of_a_linked_user_holds_all_that_groups_can_give(
    oidc: Auth, identity_provider: NodeProvider
) -> None:
    """The next login of the person may give the user more, and the password opens it."""
    await oidc.create("mallory", "admin")
    root = (await logged_in(oidc, identity_provider, "root~ops")).user
    reset = auth_pb2.ResetPasswordRequest(user_id=root.user_id)
    by_mallory = oidc.by((await oidc.login("mallory")).access_token)
    error = await refused(by_mallory.ResetPassword(reset))
    assert isinstance(error, PermissionDeniedError)
    assert "mallory may not reset the password of user root, who is linked" in error.message
    assert "'system:admin' over everything" in error.message
    by_admin = oidc.by((await oidc.login()).access_token)
    assert (await by_admin.ResetPassword(reset)).password
    vera = await oidc.create("vera", "viewer")
    assert (await by_mallory.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=vera.user_id))).password


async def test_while_the_provider_is_away_logins_with_a_password_go_on(auth: Auth) -> None:
    use(auth, "http://127.0.0.1:1")
    for _ in range(3):
        error = await refused(begun(auth))
        assert isinstance(error, UnavailableError)
        assert "Example Id" in error.message
        assert "log in with a password" in error.hint
    assert (await auth.login()).access_token


async def test_a_wrong_client_secret_is_the_fault_of_the_installation(
    auth: Auth, identity_provider: NodeProvider
) -> None:
    use(auth, identity_provider.issuer, client_secret="wrong")
    error = await refused(logged_in(auth, identity_provider, "anna~ops"))
    assert isinstance(error, UnavailableError)
    assert "COUNTLINE_OIDC_CLIENT_SECRET_FILE" in error.hint


async def test_without_a_provider_there_is_nothing_to_begin(auth: Auth) -> None:
    assert isinstance(await refused(begun(auth)), ConflictError)
    methods = await auth.by().GetLoginMethods(oidc_pb2.GetLoginMethodsRequest())
    assert (methods.oidc_name, methods.passwords) == ("", "everyone")


async def test_logins_with_passwords_can_be_for_super_admins_or_for_nobody(auth: Auth) -> None:
    await auth.create("vera", "viewer")
    auth.service.passwords_for = PasswordLogins.SUPER_ADMINS
    assert (await auth.login()).access_token
    error = await refused(auth.login("vera"))
    assert (type(error), error.message) == (PermissionDeniedError, "passwords open a session for super admins here")
    wrong = [await refused(auth.login(name, "wrong password")) for name in ("vera", "admin", "nobody")]
    assert {(type(each), each.message) for each in wrong} == {(UnauthenticatedError, wrong[0].message)}
    auth.service.passwords_for = PasswordLogins.NOBODY
    assert isinstance(await refused(auth.login()), PermissionDeniedError)


async def test_the_settings_of_a_provider_are_checked_at_the_start(
    control_dsn: str, start_control: Callable, tmp_path: Path
) -> None:
    (tmp_path / "groups").write_text("groups:\n  - {group: ops, role: amdin}\n")
    (tmp_path / "empty").write_text("\n")
    good = {"oidc_issuer": "https://id.example.org", "oidc_client_id": "us"}
    for changes, problem in (
        ({"oidc_client_id": "us"}, "COUNTLINE_OIDC_CLIENT_ID is set, but COUNTLINE_OIDC_ISSUER is not"),
        ({"password_logins": "nobody"}, "there is no other way to log in"),
        ({"oidc_issuer": "http://id.example.org"}, "does not begin with https://"),
        ({"oidc_issuer": "https://id.example.org"}, "COUNTLINE_OIDC_CLIENT_ID is not set"),
        ({**good, "oidc_scopes": "email"}, "lacks `openid`"),
        ({**good, "oidc_client_secret_file": tmp_path / "none"}, "there is no file"),
        ({**good, "oidc_client_secret_file": tmp_path / "empty"}, "holds no client secret"),
        ({**good, "oidc_groups_file": tmp_path / "groups"}, "line 2: 'amdin' is no role"),
        ({**good, "oidc_groups_file": tmp_path / "empty"}, "line 1: the file is empty"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            await start_control(control_dsn, ("auth",), **changes)
        assert problem in caught.value.message

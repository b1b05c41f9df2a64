"""Second factors against a real database over real gRPC: enrolled, asked for at logins, required, lost and reset."""

import asyncio

import pytest
from pyotp import TOTP
from tests.fixtures.control.auth import PASSWORD, Auth, AuthStub, refused

from countline.v1 import auth_pb2, factor_pb2, factor_pb2_grpc, keys_pb2
from countline.v1.auth_pb2 import AccessEnded
from countline_common.administration.current import AdministrationState
from countline_common.errors import (
    ConflictError,
    InvalidInputError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from countline_common.secrets.master_keys import MasterKeySource, new_master_key
from countline_control.auth import domain
from countline_control.auth.factor.domain import CHALLENGE, ENROLMENT, RECOVERY_CODES, STEP_S
from countline_control.auth.tables import (
    data_keys,
    login_attempts,
    login_challenges,
    outbox,
    recovery_codes,
    second_factors,
)
from countline_control.data_keys import DataKeys


class App:
    """An authenticator app, with the clock of the service."""

    def __init__(self, auth: Auth, secret: str) -> None:
        self._auth, self.totp = auth, TOTP(secret)

    @property
    def now(self) -> str:
        """The code that the app shows."""
        return self.totp.at(int(self._auth.clock.now))

    @property
    def next(self) -> str:
        """The next code, after it was waited for."""
        self._auth.clock.now += STEP_S
        return self.now


async def by_password(auth: Auth, username: str = "vera", password: str = PASSWORD) -> auth_pb2.LoginResponse:
    return await auth.by().Login(auth_pb2.LoginRequest(username=username, password=password))


async def enrolled(auth: Auth, stub: AuthStub, code: str = "") -> tuple[App, list[str]]:
    begun = await stub.BeginFactor(factor_pb2.BeginFactorRequest(password=PASSWORD, code=code))
    app = App(auth, begun.secret)
    confirmed = await stub.ConfirmFactor(factor_pb2.ConfirmFactorRequest(code=app.now))
    return app, list(confirmed.recovery_codes)


async def vera(auth: Auth, role: str = "viewer") -> tuple[auth_pb2.User, AuthStub]:
    user = await auth.create("vera", role)
    return user, auth.by((await auth.login("vera")).access_token)


async def state(stub: AuthStub) -> factor_pb2.Factor:
    return (await stub.GetFactor(factor_pb2.GetFactorRequest())).factor


def require(auth: Auth, *roles: str) -> None:
    auth.service.current.replace(AdministrationState({"second_factor_roles": ",".join(roles)}))


async def test_a_login_asks_for_a_code_once_a_second_factor_is_confirmed(auth: Auth) -> None:
    _, stub = await vera(auth)
    begun = await stub.BeginFactor(factor_pb2.BeginFactorRequest(password=PASSWORD))
    assert begun.otpauth_uri.startswith("otpauth://totp/Countline:vera?secret=")
    assert {len(row) for row in begun.qr_rows} == {len(begun.qr_rows)}
    assert (await by_password(auth)).HasField("tokens"), "an enrolment that is not confirmed asks for nothing"
    app = App(auth, begun.secret)
    codes = (await stub.ConfirmFactor(factor_pb2.ConfirmFactorRequest(code=app.now))).recovery_codes
    assert len(codes) == RECOVERY_CODES
    assert ((await state(stub)).enabled, (await state(stub)).recovery_codes_left) == (True, RECOVERY_CODES)
    login = await by_password(auth)
    assert not login.HasField("tokens")
    assert not login.HasField("user")
    done = await auth.finish(login, app.next)
    assert auth.verifier.verify(done.tokens.access_token).may("camera:read")
    assert (done.user.username, done.user.second_factor) == ("vera", True)
    again = await refused(auth.finish(login, app.next))
    assert isinstance(again, UnauthenticatedError), "a challenge is good for one login"


async def test_the_audit_names_who_logs_in_also_while_the_login_waits_for_its_code(auth: Auth) -> None:
    user, stub = await vera(auth)
    app, _ = await enrolled(auth, stub)
    login = await by_password(auth)
    (waiting,) = [row for row in await auth.audited() if row.method.endswith("/Login")][-1:]
    assert (waiting.actor.name, waiting.actor.subject) == ("vera", user.user_id)
    assert (waiting.resource, waiting.outcome) == ("users/vera", "OK")
    await auth.finish(login, app.next)
    (row,) = [row for row in await auth.audited() if row.method.endswith("/FinishLogin")]
    assert (row.actor.name, row.outcome) == ("vera", "OK")


async def test_a_challenge_permits_nothing_else(auth: Auth) -> None:
    _, stub = await vera(auth)
    await enrolled(auth, stub)
    challenge = (await by_password(auth)).second_factor.challenge
    bearer = auth.by(challenge)
    assert isinstance(await refused(bearer.GetCurrentUser(auth_pb2.GetCurrentUserRequest())), UnauthenticatedError)
    assert isinstance(await refused(auth.refresh(challenge)), UnauthenticatedError)
    (row,) = await auth.rows(login_challenges)
    assert challenge.encode() not in bytes(row["challenge_hash"])


async def test_nothing_hints_at_a_second_factor_before_the_password_was_right(auth: Auth) -> None:
    _, stub = await vera(auth)
    await auth.create("paul", "viewer")
    await enrolled(auth, stub)
    errors = [await refused(by_password(auth, name, "wrong password")) for name in ("vera", "paul", "nobody")]
    assert len({(type(error), error.message, error.hint) for error in errors}) == 1


async def test_a_code_and_a_recovery_code_are_good_once(auth: Auth) -> None:
    _, stub = await vera(auth)
    app, codes = await enrolled(auth, stub)
    code = app.next
    await auth.finish(await by_password(auth), code)
    error = await refused(auth.finish(await by_password(auth), code))
    assert (type(error), "used before" in error.message) == (UnauthenticatedError, True)
    done = await auth.finish(await by_password(auth), codes[0])
    assert done.recovery_codes_left == RECOVERY_CODES - 1
    assert isinstance(await refused(auth.finish(await by_password(auth), codes[0])), UnauthenticatedError)
    await auth.finish(await by_password(auth), codes[1])


@pytest.mark.parametrize("kind", ["app", "recovery"])
async def test_of_parallel_logins_with_one_code_one_succeeds(auth: Auth, kind: str) -> None:
    _, stub = await vera(auth)
    app, codes = await enrolled(auth, stub)
    code = app.next if kind == "app" else codes[0]
    logins = [await by_password(auth) for _ in range(4)]
    done = await asyncio.gather(*(auth.finish(login, code) for login in logins), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in done) == 1


async def test_a_challenge_ends_with_time_and_with_the_password(auth: Auth) -> None:
    user, stub = await vera(auth)
    app, _ = await enrolled(auth, stub)
    late = await by_password(auth)
    auth.clock.now += CHALLENGE.total_seconds()
    assert isinstance(await refused(auth.finish(late, app.next)), UnauthenticatedError)
    reset = await by_password(auth)
    admin = auth.by((await auth.login()).access_token)
    await admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user.user_id))
    assert isinstance(await refused(auth.finish(reset, app.next)), UnauthenticatedError)
    assert isinstance(await refused(auth.finish(auth_pb2.LoginResponse(), app.next)), UnauthenticatedError)


async def test_codes_cannot_be_guessed_even_by_who_knows_the_password(auth: Auth) -> None:
    _, stub = await vera(auth)
    await enrolled(auth, stub)
    errors: list[Exception] = []
    for _ in range(domain.FREE_FAILURES):
        try:
            login = await by_password(auth)
        except Exception:  # noqa: BLE001  (the limit acts on either step)
            break
        errors.append(await refused(auth.finish(login, "000000")))
    assert isinstance(await refused(by_password(auth)), ResourceExhaustedError)
    assert len(errors) <= domain.FREE_FAILURES // 2, "a right password does not forget wrong codes"


async def test_a_session_alone_neither_replaces_nor_ends_a_second_factor(auth: Auth) -> None:
    _, stub = await vera(auth)
    app, codes = await enrolled(auth, stub)
    for password, code, field in (("wrong password", app.next, "password"), (PASSWORD, "", "code")):
        for call, request in (
            (stub.BeginFactor, factor_pb2.BeginFactorRequest(password=password, code=code)),
            (stub.DisableFactor, factor_pb2.DisableFactorRequest(password=password, code=code)),
            (stub.RenewRecoveryCodes, factor_pb2.RenewRecoveryCodesRequest(password=password, code=code)),
        ):
            error = await refused(call(request))
            assert (type(error), [each.field for each in error.fields]) == (InvalidInputError, [field])
    assert (await state(stub)).enabled
    renewed = await stub.RenewRecoveryCodes(factor_pb2.RenewRecoveryCodesRequest(password=PASSWORD, code=app.next))
    assert isinstance(await refused(auth.finish(await by_password(auth), codes[0])), UnauthenticatedError)
    await auth.finish(await by_password(auth), renewed.recovery_codes[0])
    other, _ = await enrolled(auth, stub, app.next)
    assert isinstance(await refused(auth.finish(await by_password(auth), app.next)), UnauthenticatedError)
    await auth.finish(await by_password(auth), other.next)
    await stub.DisableFactor(factor_pb2.DisableFactorRequest(password=PASSWORD, code=other.next))
    assert (await by_password(auth)).HasField("tokens")
    assert (await auth.rows(second_factors), await auth.rows(recovery_codes)) == ([], [])
    off = factor_pb2.DisableFactorRequest(password=PASSWORD, code=other.next)
    assert isinstance(await refused(stub.DisableFactor(off)), ConflictError)


@pytest.mark.parametrize("how", ["enable", "replace", "disable"])
async def test_with_another_second_factor_or_none_all_other_sessions_end(auth: Auth, how: str) -> None:
    await auth.create("vera", "viewer")
    here = await auth.login("vera")
    stub, app = auth.by(here.access_token), None
    if how != "enable":
        app, _ = await enrolled(auth, stub)
        here = await auth.refresh(here.refresh_token)
        stub = auth.by(here.access_token)
        elsewhere = (await auth.finish(await by_password(auth), app.next)).tokens
        codes = factor_pb2.RenewRecoveryCodesRequest(password=PASSWORD, code=app.next)
        await stub.RenewRecoveryCodes(codes)
        elsewhere = await auth.refresh(elsewhere.refresh_token)
    else:
        elsewhere = await auth.login("vera")
    before = auth.verifier.verify(here.access_token).access_revision
    if how == "disable":
        await stub.DisableFactor(factor_pb2.DisableFactorRequest(password=PASSWORD, code=app.next))
    else:
        await enrolled(auth, stub, app.next if app else "")
    assert isinstance(await refused(auth.refresh(elsewhere.refresh_token)), UnauthenticatedError)
    me = auth_pb2.GetCurrentUserRequest()
    assert isinstance(await refused(auth.by(elsewhere.access_token).GetCurrentUser(me)), UnauthenticatedError)
    tokens = await auth.refresh(here.refresh_token)
    await auth.by(tokens.access_token).GetCurrentUser(me)
    assert auth.verifier.verify(tokens.access_token).access_revision == before + 1
    ended = [row for row in await auth.rows(outbox) if row["subject"] == "countline.domain.access.ended"]
    assert AccessEnded.FromString(ended[-1]["payload"]).access_revision == before + 1


async def test_logins_with_a_code_do_not_add_up_at_their_address(auth: Auth) -> None:
    _, stub = await vera(auth)
    app, _ = await enrolled(auth, stub)
    address = (("x-forwarded-for", "10.0.0.1"),)
    for _ in range(3):
        request = auth_pb2.LoginRequest(username="vera", password=PASSWORD)
        login = await auth.stub.Login(request, metadata=address)
        finish = factor_pb2.FinishLoginRequest(challenge=login.second_factor.challenge, code=app.next)
        await factor_pb2_grpc.FactorServiceStub(auth.channel).FinishLogin(finish, metadata=address)
    counted = {row["key"].partition(":")[0]: row["failures"] for row in await auth.rows(login_attempts)}
    assert counted["address"] == 0
    assert "pair" not in counted


async def test_an_enrolment_has_to_be_confirmed_in_time(auth: Auth) -> None:
    _, stub = await vera(auth)
    assert isinstance(await refused(stub.ConfirmFactor(factor_pb2.ConfirmFactorRequest(code="1"))), ConflictError)
    begun = await stub.BeginFactor(factor_pb2.BeginFactorRequest(password=PASSWORD))
    wrong = await refused(stub.ConfirmFactor(factor_pb2.ConfirmFactorRequest(code="000000")))
    assert isinstance(wrong, InvalidInputError)
    stub = auth.by((await auth.login("vera")).access_token)
    auth.clock.now += ENROLMENT.total_seconds() + 1
    stub = auth.by((await auth.login("vera")).access_token)
    request = factor_pb2.ConfirmFactorRequest(code=App(auth, begun.secret).now)
    assert isinstance(await refused(stub.ConfirmFactor(request)), ConflictError)


async def test_a_role_that_requires_one_leads_to_enrolment_and_to_nothing_else(auth: Auth) -> None:
    await auth.create("vera", "operator")
    earlier = await auth.login("vera")
    require(auth, "operator", "admin")
    login = await by_password(auth)
    assert login.user.must_set_up_second_factor
    for tokens in (login.tokens, await auth.refresh(earlier.refresh_token)):
        assert not auth.verifier.verify(tokens.access_token).may("camera:read")
    stub = auth.by(login.tokens.access_token)
    denied = await refused(stub.ListUsers(auth_pb2.ListUsersRequest()))
    assert (type(denied), "set up a second factor" in denied.message) == (PermissionDeniedError, True)
    assert "countline auth factor enable" in denied.hint
    key = keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="around it"))
    assert isinstance(await refused(stub.CreateKey(key)), PermissionDeniedError)
    app, _ = await enrolled(auth, stub)
    after = await auth.refresh(login.tokens.refresh_token)
    assert auth.verifier.verify(after.access_token).may("camera:write")
    stub = auth.by(after.access_token)
    me = await stub.GetCurrentUser(auth_pb2.GetCurrentUserRequest())
    assert (me.user.second_factor, me.user.must_set_up_second_factor) == (True, False)
    off = factor_pb2.DisableFactorRequest(password=PASSWORD, code=app.next)
    assert isinstance(await refused(stub.DisableFactor(off)), ConflictError)
    assert (await by_password(auth, "admin")).HasField("tokens"), "super-admin is not named by the setting"


async def test_a_one_time_password_is_replaced_before_the_second_factor_is_set_up(auth: Auth) -> None:
    user = await auth.create("vera", "operator")
    admin = auth.by((await auth.login()).access_token)
    require(auth, "operator")
    once = (await admin.ResetPassword(auth_pb2.ResetPasswordRequest(user_id=user.user_id))).password
    login = await by_password(auth, "vera", once)
    assert auth.verifier.verify(login.tokens.access_token).pending == "choose a password"
    change = auth_pb2.ChangePasswordRequest(new_password="Quietly 3 geese cross")
    await auth.by(login.tokens.access_token).ChangePassword(change)
    then = await auth.refresh(login.tokens.refresh_token)
    assert auth.verifier.verify(then.access_token).pending == "set up a second factor"


async def test_keys_and_service_accounts_are_not_asked(auth: Auth) -> None:
    admin = auth.by((await auth.login()).access_token)
    own = (await admin.CreateKey(keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="k")))).api_key.key
    account = keys_pb2.CreateServiceAccountRequest(username="ci", roles=["operator"])
    user_id = (await admin.CreateServiceAccount(account)).user.user_id
    request = keys_pb2.CreateUserKeyRequest(user_id=user_id, api_key=keys_pb2.ApiKey(name="k"))
    key = (await admin.CreateUserKey(request)).api_key.key
    require(auth, "operator", "super-admin")
    for each, permission in ((own, "user:write"), (key, "camera:write")):
        token = (await auth.by().ExchangeKey(keys_pb2.ExchangeKeyRequest(key=each))).access_token
        assert auth.verifier.verify(token).may(permission)
    caller = auth.by(own)
    begin = factor_pb2.BeginFactorRequest(password=PASSWORD)
    assert isinstance(await refused(caller.BeginFactor(begin)), PermissionDeniedError)
    assert isinstance(await refused(auth.by(key).BeginFactor(begin)), PermissionDeniedError), (
        "a stolen key sets up nothing"
    )


async def test_an_admin_resets_the_second_factor_of_others_who_hold_no_more(auth: Auth) -> None:
    user, stub = await vera(auth)
    before = await auth.login("vera")
    await enrolled(auth, stub)
    await auth.create("adam", "admin")
    adam = auth.by((await auth.login("adam")).access_token)
    done = await adam.ResetFactor(factor_pb2.ResetFactorRequest(user_id=user.user_id))
    assert not done.user.second_factor
    assert isinstance(await refused(auth.refresh(before.refresh_token)), UnauthenticatedError)
    assert (await by_password(auth)).HasField("tokens")
    none_left = adam.ResetFactor(factor_pb2.ResetFactorRequest(user_id=user.user_id))
    assert isinstance(await refused(none_left), ConflictError)
    admin = auth.by((await auth.login()).access_token)
    await enrolled(auth, admin)
    own = (await admin.GetCurrentUser(auth_pb2.GetCurrentUserRequest())).user.user_id
    reset = factor_pb2.ResetFactorRequest(user_id=own)
    assert isinstance(await refused(adam.ResetFactor(reset)), PermissionDeniedError)
    assert isinstance(await refused(admin.ResetFactor(reset)), ConflictError), "a stolen session is not enough"


async def test_the_audit_shows_who_proved_what_without_a_secret(auth: Auth) -> None:
    _, stub = await vera(auth)
    app, codes = await enrolled(auth, stub)
    secret = app.totp.secret
    await refused(auth.finish(await by_password(auth), "000000"))
    await auth.finish(await by_password(auth), codes[0])
    await stub.DisableFactor(factor_pb2.DisableFactorRequest(password=PASSWORD, code=app.next))
    rows = await auth.audited()
    by_method = {(row.method.rpartition("/")[2], row.outcome): row for row in rows}
    assert by_method["ConfirmFactor", "OK"].resource == "users/vera/factor"
    wrong = by_method["FinishLogin", "UNAUTHENTICATED"]
    assert (wrong.resource, wrong.problem, wrong.actor.name) == ("users/vera", "the code is wrong", "")
    done = by_method["FinishLogin", "OK"]
    proved = {change.path: change.after for change in done.changes}
    assert (done.actor.name, proved["proved_by"]) == ("vera", '"recovery code"')
    off = {change.path: change.after for change in by_method["DisableFactor", "OK"].changes}
    assert "enabled" in off
    everything = repr([row.SerializeToString() for row in rows])
    assert not [each for each in (secret, *codes) if each in everything]


async def test_the_database_holds_no_secret_and_the_keys_rotate(auth: Auth) -> None:
    _, stub = await vera(auth)
    app, codes = await enrolled(auth, stub)
    stored = repr([await auth.rows(table) for table in (second_factors, recovery_codes)])
    assert not [each for each in (app.totp.secret, *codes) if each in stored]
    admin = auth.by((await auth.login()).access_token)
    (old,) = (await admin.ListFactorKeys(factor_pb2.ListFactorKeysRequest())).data_keys
    done = await admin.RotateFactorKeys(factor_pb2.RotateFactorKeysRequest())
    assert (done.sealed, done.unreadable, done.older_keys) == (1, 0, 0)
    (new,) = (await admin.ListFactorKeys(factor_pb2.ListFactorKeysRequest())).data_keys
    assert (new.key_id, new.secrets) == (done.key_id, 1)
    assert new.key_id != old.key_id
    await auth.finish(await by_password(auth), app.next)


async def test_with_a_lost_key_recovery_codes_still_open(auth: Auth) -> None:
    _, stub = await vera(auth)
    app, codes = await enrolled(auth, stub)
    lost = DataKeys(auth.database, data_keys, MasterKeySource(text=new_master_key()))
    await lost.open(forget_lost=True)
    auth.service.data_keys._opened.clear()
    auth.service.data_keys._masters, auth.service.data_keys._source = lost._masters, lost._source
    error = await refused(auth.finish(await by_password(auth), app.next))
    assert (type(error), "cannot be read" in error.message) == (ConflictError, True)
    await auth.finish(await by_password(auth), codes[0])


async def _errors(stub: AuthStub, calls: int, *, with_password: bool) -> list[type]:
    wrong = factor_pb2.DisableFactorRequest(password=PASSWORD, code="000000")
    change = auth_pb2.ChangePasswordRequest(current_password=PASSWORD, new_password="short")
    found = []
    for _ in range(calls):
        call = stub.DisableFactor(wrong) if with_password else stub.ConfirmFactor(factor_pb2.ConfirmFactorRequest())
        found.append(type(await refused(call)))
        if with_password:
            await refused(stub.ChangePassword(change))
    return found


async def test_a_right_password_elsewhere_gives_no_new_attempts_to_guess_a_code(auth: Auth) -> None:
    _, stub = await vera(auth)
    await enrolled(auth, stub)
    assert ResourceExhaustedError in await _errors(stub, 12, with_password=True)


async def test_wrong_codes_of_an_enrolment_are_counted(auth: Auth) -> None:
    _, stub = await vera(auth)
    await stub.BeginFactor(factor_pb2.BeginFactorRequest(password=PASSWORD))
    assert ResourceExhaustedError in await _errors(stub, 12, with_password=False)

"""Each change of second factors, keys, invites and of acting for a user leaves exactly one row, without secrets."""

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.message import Message
from pyotp import TOTP
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.audit import AuditedCalls, rows_of, written_rows
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.methods import audited, method

from countline.v1 import act_pb2, administration_pb2, auth_pb2, factor_pb2, keys_pb2, registration_pb2

SERVICES = ("ActingService", "FactorService", "KeyService", "RegistrationService")
OF_VERA = "three uncommon turnips"


@pytest.fixture
async def calls(control_dsn: str, start_control: Callable, tmp_path: Path) -> AuditedCalls:
    """Calls of the first admin."""
    (tmp_path / "password").write_text(PASSWORD)
    control = await start_control(control_dsn, admin_password_file=tmp_path / "password")
    calls = AuditedCalls(control.channels, control_dsn)
    calls.token = await login(calls, "admin", PASSWORD)
    return calls


async def login(calls: AuditedCalls, username: str, password: str) -> str:
    request = auth_pb2.LoginRequest(username=username, password=password)
    return str((await calls.do("Login", request, token="")).tokens.access_token)


async def refused(calls: AuditedCalls, name: str, request: Message, token: str) -> None:
    """Make a call that fails; it leaves one row, without changes."""
    request_id, code = await calls.raw(method(name), request, token)
    (row,) = rows_of(calls.dsn, request_id)
    assert code != "OK", name
    assert (row.outcome, bool(row.problem), row.changes[:]) == (code, True, []), row


async def test_each_change_of_an_identity_leaves_one_row_done_and_refused(calls: AuditedCalls) -> None:
    new = auth_pb2.CreateUserRequest(username="vera", password=OF_VERA, roles=["viewer"])
    user_id = (await calls.do("CreateUser", new)).user.user_id
    secrets = [
        *await _use_factor(calls, user_id),
        *await _use_own_keys(calls),
        *await _use_keys_of_others(calls),
        *await _use_invites(calls),
        *await _act(calls, user_id),
    ]
    assert audited(*SERVICES) - {*calls.done} == set(), "each of these methods needs a call in this test"
    rows = str(written_rows(calls.dsn))
    assert [secret for secret in [*secrets, PASSWORD, OF_VERA] if secret in rows] == []
    assert all(len(secret) >= 6 for secret in secrets)


async def _use_factor(calls: AuditedCalls, user_id: str) -> list[str]:
    vera = await login(calls, "vera", OF_VERA)
    wrong = factor_pb2.BeginFactorRequest(password="wrong password")
    await refused(calls, "BeginFactor", wrong, vera)
    begin = factor_pb2.BeginFactorRequest(password=OF_VERA)
    secret = (await calls.do("BeginFactor", begin, vera)).secret
    assert (calls.row.actor.name, calls.row.resource.partition("/")[0]) == ("vera", "users")
    await refused(calls, "ConfirmFactor", factor_pb2.ConfirmFactorRequest(code="x"), vera)
    confirm = factor_pb2.ConfirmFactorRequest(code=TOTP(secret).now())
    codes = (await calls.do("ConfirmFactor", confirm, vera)).recovery_codes
    await refused(calls, "RenewRecoveryCodes", factor_pb2.RenewRecoveryCodesRequest(password=OF_VERA), vera)
    renew = factor_pb2.RenewRecoveryCodesRequest(password=OF_VERA, code=codes[0])
    newer = (await calls.do("RenewRecoveryCodes", renew, vera)).recovery_codes

    challenge = await _begun_login(calls)
    await refused(calls, "FinishLogin", factor_pb2.FinishLoginRequest(challenge=challenge, code=codes[1]), "")
    finish = factor_pb2.FinishLoginRequest(challenge=challenge, code=newer[0])
    tokens = (await calls.do("FinishLogin", finish, token="")).tokens
    assert calls.row.actor.name == "vera"

    vera = tokens.access_token
    await refused(calls, "DisableFactor", factor_pb2.DisableFactorRequest(password=OF_VERA), vera)
    await calls.do("DisableFactor", factor_pb2.DisableFactorRequest(password=OF_VERA, code=newer[1]), vera)
    other = (await calls.do("BeginFactor", begin, vera)).secret
    confirm = factor_pb2.ConfirmFactorRequest(code=TOTP(other).now())
    last = (await calls.do("ConfirmFactor", confirm, vera)).recovery_codes
    await refused(calls, "ResetFactor", factor_pb2.ResetFactorRequest(user_id="none"), calls.token)
    await calls.do("ResetFactor", factor_pb2.ResetFactorRequest(user_id=user_id))
    assert (calls.row.actor.name, calls.row.resource) == ("admin", "users/vera")
    await refused(calls, "RotateFactorKeys", factor_pb2.RotateFactorKeysRequest(), vera)
    await calls.do("RotateFactorKeys", factor_pb2.RotateFactorKeysRequest())
    return [secret, other, *codes, *newer, *last, challenge, tokens.access_token, tokens.refresh_token]


async def _begun_login(calls: AuditedCalls) -> str:
    """A login that waits for a code. Its row names who proved the password."""
    by_password = auth_pb2.LoginRequest(username="vera", password=OF_VERA)
    request_id, code = await calls.raw(method("Login"), by_password, None)
    (row,) = rows_of(calls.dsn, request_id)
    assert (code, row.outcome, row.resource, row.actor.name) == ("OK", "OK", "users/vera", "vera"), row
    return str(method("Login").answer(calls.answer).second_factor.challenge)


async def _use_own_keys(calls: AuditedCalls) -> list[str]:
    new = keys_pb2.CreateKeyRequest(api_key=keys_pb2.ApiKey(name="display", roles=["viewer"]))
    key = (await calls.do("CreateKey", new)).api_key
    await refused(calls, "CreateKey", keys_pb2.CreateKeyRequest(), calls.token)
    rotate = keys_pb2.RotateKeyRequest(key_id=key.key_id)
    newer = (await calls.do("RotateKey", rotate)).api_key
    await refused(calls, "RotateKey", keys_pb2.RotateKeyRequest(key_id="none"), calls.token)
    await calls.do("RevokeKey", keys_pb2.RevokeKeyRequest(key_id=newer.key_id))
    assert calls.row.actor.name == "admin"
    await refused(calls, "RevokeKey", keys_pb2.RevokeKeyRequest(key_id="none"), calls.token)
    return [key.key, newer.key]


async def _use_keys_of_others(calls: AuditedCalls) -> list[str]:
    account = keys_pb2.CreateServiceAccountRequest(username="ci", roles=["viewer"])
    user_id = (await calls.do("CreateServiceAccount", account)).user.user_id
    await refused(calls, "CreateServiceAccount", account, calls.token)
    new = keys_pb2.CreateUserKeyRequest(user_id=user_id, api_key=keys_pb2.ApiKey(name="build"))
    key = (await calls.do("CreateUserKey", new)).api_key
    await refused(calls, "CreateUserKey", keys_pb2.CreateUserKeyRequest(user_id="none"), calls.token)
    rotate = keys_pb2.RotateUserKeyRequest(user_id=user_id, key_id=key.key_id)
    newer = (await calls.do("RotateUserKey", rotate)).api_key
    await refused(calls, "RotateUserKey", keys_pb2.RotateUserKeyRequest(user_id=user_id), calls.token)
    revoke = keys_pb2.RevokeUserKeyRequest(user_id=user_id, key_id=newer.key_id)
    await calls.do("RevokeUserKey", revoke)
    assert calls.row.resource.startswith("users/ci/keys/")
    await refused(calls, "RevokeUserKey", keys_pb2.RevokeUserKeyRequest(user_id=user_id), calls.token)
    return [key.key, newer.key]


async def _use_invites(calls: AuditedCalls) -> list[str]:
    await calls.do("SetSetting", administration_pb2.SetSettingRequest(name="registration", value="invite"))
    new = registration_pb2.CreateInviteRequest(invite=registration_pb2.Invite(roles=["viewer"]))
    await _until_settings_act(calls, new)
    invite, unused = [(await calls.do("CreateInvite", new)).invite for _ in range(2)]
    await refused(calls, "CreateInvite", registration_pb2.CreateInviteRequest(), calls.token)
    password = "four yellow bicycles"
    answer = registration_pb2.RegisterRequest(username="paul", password=password, invite_token=invite.token)
    await calls.do("Register", answer, token="")
    assert calls.row.actor.name == "paul"
    await refused(calls, "Register", answer, "")
    await calls.do("RevokeInvite", registration_pb2.RevokeInviteRequest(invite_id=unused.invite_id))
    await refused(calls, "RevokeInvite", registration_pb2.RevokeInviteRequest(invite_id="none"), calls.token)
    return [invite.token, unused.token, password]


async def _until_settings_act(calls: AuditedCalls, new: registration_pb2.CreateInviteRequest) -> None:
    """A setting acts within a second; until then, invites are refused."""

    async def is_open() -> bool:
        request_id, code = await calls.raw(method("CreateInvite"), new, calls.token)
        (row,) = rows_of(calls.dsn, request_id)
        assert row.outcome == code
        return code == "OK"

    await until(is_open)


async def _act(calls: AuditedCalls, user_id: str) -> list[str]:
    acted = await calls.do("ActFor", act_pb2.ActForRequest(user_id=user_id, reason="ticket 12"))
    assert (calls.row.actor.name, calls.row.resource) == ("admin", "users/vera")
    await refused(calls, "ActFor", act_pb2.ActForRequest(user_id=user_id), calls.token)
    return [acted.access_token]

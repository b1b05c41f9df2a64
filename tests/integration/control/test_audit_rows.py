"""Each call that changes something leaves exactly one row: every method of every service, refused and done."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from google.protobuf.message import Message
from structlog.testing import capture_logs
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.audit import AuditedCalls, rows_of, written_rows
from tests.fixtures.control.fake_workers import working
from tests.fixtures.control.methods import GRPC_METHODS, METHODS, audited, method
from tests.fixtures.oidc.provider import NodeProvider

from countline.v1 import (
    administration_pb2,
    auth_pb2,
    cameras_pb2,
    oidc_pb2,
    oidc_pb2_grpc,
    secrets_pb2,
    workers_pb2,
)
from countline.v1.auth_pb2 import Role, User
from countline.v1.cameras_pb2 import Camera, Site
from countline_common.access.oidc_redirects import GATEWAY_CALLBACK
from countline_common.access.vocabulary import NOT_WHILE_ACTING, PEOPLE
from countline_common.audit.calls import resource_of
from countline_common.grpc.tokens import RealCaller

from .conftest import ADMIN_PASSWORD, Control

READING = ("Get", "List", "Check", "Query", "Verify", "Export", "Connect", "StartOidcLogin", "ExchangeKey")
"""`StartOidcLogin` stores nothing: its answer is derived from a key. `ExchangeKey` is a service's check of a key."""
ELSEWHERE = {
    "CountService",  # analytics/audit/test_rows.py
    "ModelService",  # test_models.py, with Triton
    "ActingService", "FactorService", "KeyService", "RegistrationService",  # access/test_identity_rows.py
}  # fmt: skip
"""Services whose changes other tests make. Each of those tests checks by reflection that it makes all of them."""
MARKER = "s3cret-marker-of-tests"


def test_only_methods_that_read_leave_no_row() -> None:
    unaudited = [each.name for each in METHODS if not each.policy.audited]
    assert [name for name in unaudited if not name.startswith(READING)] == []
    changing = [each.name for each in METHODS if each.policy.audited]
    assert [name for name in changing if name.startswith(READING)] == []
    assert len(changing) > 50, "this test sees what it looks for"


async def test_each_refused_call_leaves_one_row_and_no_read_leaves_any(control: Control, control_dsn: str) -> None:
    calls = AuditedCalls(control.channels, control_dsn)
    callers = {
        "viewer": control.token("self:read", subject="v", name="vera"),
        "admin": control.token(*PEOPLE, name="ann"),
        "nobody": None,
    }
    for each in GRPC_METHODS:
        policy = each.policy
        for caller, token in callers.items():
            request_id, code = await calls.raw(each, each.request(), token)
            rows = rows_of(control_dsn, request_id)
            is_known = token is not None or policy.public
            assert len(rows) == (1 if policy.audited and is_known else 0), (
                f"{caller} calling {each.name}: {code} {rows}"
            )
            for row in rows:
                assert row.outcome == code, f"{each.name}: {row}"
                assert policy.public or row.actor.name == {"viewer": "vera", "admin": "ann"}[caller]
                assert code == "OK" or row.problem
                assert row.resource == resource_of(row.method, each.request()) or policy.public or code == "OK", (
                    f"{caller} calling {each.name}: {row}"
                )
                assert code == "OK" or not row.changes


async def test_a_call_for_a_user_leaves_one_row_with_both_names_in_each_service(
    control: Control, control_dsn: str
) -> None:
    """Every audited method, refused or done: by reflection. And the event of a change names the real caller."""
    calls, actor = AuditedCalls(control.channels, control_dsn), RealCaller("a1", "ann", 1, "s1")
    token = control.signer.sign("v1", "vera", roles=(), permissions=PEOPLE, lifetime_s=300, actor=actor)
    request = cameras_pb2.CreateSiteRequest(site=Site(site_id="lab", time_zone="UTC"))
    await calls.do("CreateSite", request, token)
    assert (calls.row.actor.name, calls.row.on_behalf_of.name) == ("ann", "vera")
    with psycopg.connect(control_dsn) as connection:
        query = "SELECT headers FROM cameras.outbox WHERE subject = 'countline.domain.site.created'"
        assert "'ann'" in str(connection.execute(query).fetchone())
    seen = set()
    for each in GRPC_METHODS:
        policy = each.policy
        if not policy.audited or policy.public:
            continue
        with capture_logs() as logs:
            request_id, code = await calls.raw(each, each.request(), token)
            # The server writes its line after it answers.
            await until(partial(_lines_of, logs, request_id))
        (row,) = rows_of(control_dsn, request_id)
        assert (row.actor.name, row.actor.subject, row.on_behalf_of.name) == ("ann", "a1", "vera"), each.name
        assert (row.outcome == "PERMISSION_DENIED") == (policy.permission in NOT_WHILE_ACTING), f"{each.name}: {code}"
        (line,) = _lines_of(logs, request_id)
        assert (line["user"], line["on_behalf_of"]) == ("ann", "vera")
        seen.add(each.service)
    assert seen == {each.service for each in GRPC_METHODS if each.policy.audited}


def _lines_of(logs: Sequence[Mapping[str, Any]], request_id: str) -> list[Mapping[str, Any]]:
    return [each for each in logs if each["event"] == "grpc.call" and each["request_id"] == request_id]


async def test_each_change_leaves_one_row_with_what_it_changed(control_dsn: str, start_control, tmp_path) -> None:
    """Those of a provider have the test below."""
    (tmp_path / "password").write_text(ADMIN_PASSWORD)
    control = await start_control(control_dsn, admin_password_file=tmp_path / "password")
    calls = AuditedCalls(control.channels, control_dsn)
    answer = await calls.do("Login", auth_pb2.LoginRequest(username="admin", password=ADMIN_PASSWORD), token="")
    calls.token = answer.tokens.access_token
    await _use_cameras(calls)
    await _use_workers(calls, control)
    await _use_roles_and_users(calls)
    await _use_administration(calls, control)
    await _use_own_account(calls, answer.tokens.refresh_token)
    needed = audited(*{each.service for each in METHODS} - ELSEWHERE - {"OidcService"})
    assert needed - {*calls.done} == set(), "each of these methods needs a call in this test"
    assert MARKER not in str(written_rows(control_dsn))


async def test_each_login_through_a_provider_and_each_link_leaves_one_row(
    control_dsn: str, start_control: Callable, tmp_path: Path, identity_provider: NodeProvider
) -> None:
    (tmp_path / "password").write_text(ADMIN_PASSWORD)
    (tmp_path / "groups").write_text("groups:\n  - {group: ops, role: operator}\n")
    settings = {**identity_provider.settings(tmp_path), "oidc_groups_file": tmp_path / "groups"}
    control = await start_control(control_dsn, admin_password_file=tmp_path / "password", **settings)
    calls = AuditedCalls(control.channels, control_dsn)
    login = auth_pb2.LoginRequest(username="admin", password=ADMIN_PASSWORD)
    calls.token = (await calls.do("Login", login, token="")).tokens.access_token
    new = auth_pb2.CreateUserRequest(username="vera", password=MARKER, roles=["viewer"])
    user_id = (await calls.do("CreateUser", new)).user.user_id

    link = oidc_pb2.LinkIdentityRequest(user_id=user_id, subject="sub-vera")
    identity = (await calls.do("LinkIdentity", link)).identity
    assert (calls.row.actor.name, calls.row.resource) == ("admin", f"users/vera/identities/{identity.identity_id}")
    assert ("subject", "", '"sub-vera"') in [(each.path, each.before, each.after) for each in calls.row.changes]
    assert await _refused_once(calls, link) == ["LinkIdentity", "ALREADY_EXISTS"]

    finish = await _answered(control, identity_provider, "vera~ops")
    tokens = (await calls.do("FinishOidcLogin", finish, token="")).tokens
    assert (calls.row.actor.name, calls.row.resource) == ("vera", "users/vera")
    assert "operator" in str([each.after for each in calls.row.changes if each.path.startswith("roles")])
    assert await _refused_once(calls, finish) == ["FinishOidcLogin", "UNAUTHENTICATED"]

    unlink = oidc_pb2.UnlinkIdentityRequest(user_id=user_id, identity_id=identity.identity_id)
    await calls.do("UnlinkIdentity", unlink)
    assert (calls.row.actor.name, calls.row.resource) == ("admin", f"users/vera/identities/{identity.identity_id}")
    assert ("subject", '"sub-vera"', "") in [(each.path, each.before, each.after) for each in calls.row.changes]
    assert await _refused_once(calls, unlink) == ["UnlinkIdentity", "NOT_FOUND"]

    assert audited("OidcService") - {*calls.done} == set(), "each of these methods needs a call in this test"
    rows = str(written_rows(control_dsn))
    for secret in (finish.code, finish.state, finish.login, tokens.access_token, tokens.refresh_token):
        assert secret not in rows


async def _answered(control: Control, provider: NodeProvider, person: str) -> oidc_pb2.FinishOidcLoginRequest:
    """A login whose answer of the provider is there."""
    stub = oidc_pb2_grpc.OidcServiceStub(control.channels["auth"])
    redirect = f"http://127.0.0.1:8080{GATEWAY_CALLBACK}"
    started = await stub.StartOidcLogin(oidc_pb2.StartOidcLoginRequest(redirect_uri=redirect), timeout=20)
    answer = await provider.answer(started.authorization_url, person)
    values = {"login": started.login, "state": answer["state"], "code": answer["code"], "issuer": answer["iss"]}
    return oidc_pb2.FinishOidcLoginRequest(**values)


async def _refused_once(calls: AuditedCalls, request: Message) -> list[str]:
    """Repeat a call that now fails; return method and outcome of its only row."""
    called = next(each for each in METHODS if each.descriptor.input_type is request.DESCRIPTOR)
    request_id, code = await calls.raw(called, request, None if called.name == "FinishOidcLogin" else calls.token)
    (row,) = rows_of(calls.dsn, request_id)
    assert (row.outcome, bool(row.problem), row.changes[:]) == (code, True, [])
    return [called.name, row.outcome]


async def _use_workers(calls: AuditedCalls, control: Control) -> None:
    worker_id = "worker-1"
    async with working(control, worker_id):
        await calls.do("CordonWorker", workers_pb2.CordonWorkerRequest(worker_id=worker_id, reason="new disk"))
        assert (calls.row.actor.name, calls.row.resource) == ("admin", "workers/worker-1")
        assert ("cordon.reason", "", '"new disk"') in [(e.path, e.before, e.after) for e in calls.row.changes]
        await calls.do("DrainWorker", workers_pb2.DrainWorkerRequest(worker_id=worker_id))
        await calls.do("UncordonWorker", workers_pb2.UncordonWorkerRequest(worker_id=worker_id))
        assert await _refused_once(calls, workers_pb2.CordonWorkerRequest(worker_id="ghost")) == [
            "CordonWorker",
            "NOT_FOUND",
        ]


async def _use_cameras(calls: AuditedCalls) -> None:
    await calls.do("CreateSite", cameras_pb2.CreateSiteRequest(site=Site(site_id="lab", time_zone="UTC")))
    assert calls.row.resource == "sites/lab"
    await calls.do("UpdateSite", cameras_pb2.UpdateSiteRequest(site=Site(site_id="lab", title="Laboratory")))
    assert [(each.path, each.before, each.after) for each in calls.row.changes] == [
        ("title", "", '"Laboratory"'), ("revision", "1", "2"),
    ]  # fmt: skip
    url = f"rtsp://joe:{MARKER}@camera.invalid/live"
    camera = Camera(camera_id="door", site_id="lab", name="Door", stream_url=url)
    await calls.do("CreateCamera", cameras_pb2.CreateCameraRequest(camera=camera))
    other = f"rtsp://joe:{MARKER}2@camera.invalid/live"
    await calls.do("UpdateCamera", cameras_pb2.UpdateCameraRequest(camera=Camera(camera_id="door", stream_url=other)))
    (password,) = (each for each in calls.row.changes if each.path == "stream_url")
    assert password.before == password.after == '"rtsp://joe:***@camera.invalid/live"', "a change of the password"
    await calls.do("RotateSecrets", secrets_pb2.RotateSecretsRequest())
    await calls.do("RebuildCameras", cameras_pb2.RebuildCamerasRequest(write=True))
    await calls.do("DeleteCamera", cameras_pb2.DeleteCameraRequest(camera_id="door"))
    assert calls.row.resource == "cameras/door"
    await calls.do("DeleteSite", cameras_pb2.DeleteSiteRequest(site_id="lab"))


async def _use_roles_and_users(calls: AuditedCalls) -> None:
    role = Role(name="eyes", permissions=["self:read", "self:write"])
    await calls.do("CreateRole", auth_pb2.CreateRoleRequest(role=role))
    await calls.do("UpdateRole", auth_pb2.UpdateRoleRequest(role=Role(name="eyes", title="Eyes")))
    assert ("title", "", '"Eyes"') in [(each.path, each.before, each.after) for each in calls.row.changes]
    request = auth_pb2.CreateUserRequest(username="bea", password=MARKER, roles=["eyes"])
    user_id = (await calls.do("CreateUser", request)).user.user_id
    assert calls.row.resource == "users/bea"
    await calls.do("UpdateUser", auth_pb2.UpdateUserRequest(user=User(user_id=user_id, display_name="Bea")))
    login = auth_pb2.LoginRequest(username="bea", password=MARKER)
    tokens = (await calls.do("Login", login, token="")).tokens
    await calls.do("RefreshToken", auth_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token), token="")
    assert calls.row.actor.name == "bea"
    listed = await calls.read("ListUserSessions", auth_pb2.ListUserSessionsRequest(user_id=user_id))
    session_id = listed.sessions[0].session_id
    await calls.do("EndUserSession", auth_pb2.EndUserSessionRequest(user_id=user_id, session_id=session_id))
    for name in ("LogoutUser", "DisableUser", "EnableUser", "UnlockUser"):
        await calls.do(name, getattr(auth_pb2, f"{name}Request")(user_id=user_id))
        assert calls.row.resource == "users/bea"
    one_time = (await calls.do("ResetPassword", auth_pb2.ResetPasswordRequest(user_id=user_id))).password
    assert one_time not in str(written_rows(calls.dsn))
    await calls.do("DeleteUser", auth_pb2.DeleteUserRequest(user_id=user_id))
    await calls.do("DeleteRole", auth_pb2.DeleteRoleRequest(name="eyes"))


async def _use_administration(calls: AuditedCalls, control: Control) -> None:
    await calls.do("SetSetting", administration_pb2.SetSettingRequest(name="session.days", value="7"))
    assert calls.row.resource == "settings/session.days"
    assert ("value", '"30"', '"7"') in [(each.path, each.before, each.after) for each in calls.row.changes]
    await calls.do("ResetSetting", administration_pb2.ResetSettingRequest(name="session.days"))
    request = auth_pb2.CreateUserRequest(username="max", password=MARKER, roles=["viewer"])
    user_id = (await calls.do("CreateUser", request)).user.user_id
    await calls.do("SetMaintenance", administration_pb2.SetMaintenanceRequest(on=True, reason="backup"))
    assert calls.row.resource == "admin/maintenance"
    await until(lambda: control.plane._current.state.maintenance.on)
    await calls.do("DisableUser", auth_pb2.DisableUserRequest(user_id=user_id))  # access can be ended meanwhile
    assert calls.row.resource == "users/max"
    await calls.do("SetMaintenance", administration_pb2.SetMaintenanceRequest())
    await until(lambda: not control.plane._current.state.maintenance.on)


async def _use_own_account(calls: AuditedCalls, refresh_token: str) -> None:
    await calls.do("UpdateCurrentUser", auth_pb2.UpdateCurrentUserRequest(user=User(display_name="Ann")))
    request = auth_pb2.ChangePasswordRequest(current_password=ADMIN_PASSWORD, new_password=MARKER)
    await calls.do("ChangePassword", request)
    login: Callable[[], Awaitable[Any]] = lambda: calls.do(  # noqa: E731
        "Login", auth_pb2.LoginRequest(username="admin", password=MARKER), token=""
    )
    tokens = (await login()).tokens
    calls.token = (await login()).tokens.access_token
    sessions = await calls.read("ListOwnSessions", auth_pb2.ListOwnSessionsRequest())
    (other,) = [each for each in sessions.sessions if not each.current][:1]
    await calls.do("EndOwnSession", auth_pb2.EndOwnSessionRequest(session_id=other.session_id))
    await calls.do("Logout", auth_pb2.LogoutRequest(refresh_token=tokens.refresh_token), token="")
    calls.token = (await login()).tokens.access_token
    await calls.do("LogoutEverywhere", auth_pb2.LogoutEverywhereRequest())


async def test_a_call_whose_transaction_fails_leaves_its_refusal_and_no_change(
    control: Control, control_dsn: str
) -> None:
    calls = AuditedCalls(control.channels, control_dsn)
    request = cameras_pb2.CreateSiteRequest(site=Site(site_id="lab", time_zone="UTC"))
    token = control.token(*PEOPLE)
    assert (await calls.raw(method("CreateSite"), request, token))[1] == "OK"
    request_id, code = await calls.raw(method("CreateSite"), request, token)
    (row,) = rows_of(control_dsn, request_id)
    assert (code, row.outcome, len(row.changes)) == ("ALREADY_EXISTS", "ALREADY_EXISTS", 0)
    assert "already exists" in row.problem


async def test_a_row_of_a_process_that_died_during_its_call_is_published_as_unfinished(
    control_dsn: str, start_control, monkeypatch
) -> None:
    """RotateSecrets has several transactions: its row exists from the first one on."""
    control = await start_control(control_dsn)

    async def crash(*_: object) -> str:
        (row,) = [row for row in written_rows(control_dsn) if row.method.endswith("RotateSecrets")]
        assert row.outcome == "UNFINISHED"
        raise RuntimeError("the process dies here")

    monkeypatch.setattr("countline_control.data_keys.DataKeys.begin_rotation", crash)
    calls = AuditedCalls(control.channels, control_dsn)
    request = secrets_pb2.RotateSecretsRequest()
    request_id, code = await calls.raw(method("RotateSecrets"), request, control.token(*PEOPLE))
    (row,) = rows_of(control_dsn, request_id)
    assert (code, row.outcome) == ("INTERNAL", "INTERNAL")  # the end of the call completed it

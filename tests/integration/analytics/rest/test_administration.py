"""Settings and maintenance act in every process within 5 s, over REST and by command."""

import logging
import time
from collections.abc import Iterator

import pytest
from tests.fixtures.analytics.cameras import CAMERA, TRUTH, add_camera
from tests.fixtures.analytics.factory import NOON, crossing, record
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, until
from tests.fixtures.nats import NatsServer

from countline_common.access.vocabulary import PEOPLE
from countline_common.administration.current import AdministrationState, MaintenanceState

LIMIT_S = 5.0
REASON = "backup until 22:00"


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def control_settings(nats_server: NatsServer) -> dict[str, object]:
    """Parts hear of changes over NATS."""
    return {"nats_url": nats_server.url_of("control")}


@pytest.fixture(autouse=True)
def _level(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The level of this process's log changes; a command in an earlier test may have set its environment."""
    monkeypatch.delenv("COUNTLINE_LOG_LEVEL", raising=False)
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


async def admin(stack: Stack) -> str:
    login = {"username": "admin", "password": ADMIN_PASSWORD}
    return (await stack.post("auth/login", login))["tokens"]["access_token"]


async def put(stack: Stack, path: str, body: dict, token: str) -> dict:
    status, answer = await stack.call("PUT", path, token=token, json=body)
    assert status == 200, answer
    return answer["data"]


async def setting(stack: Stack, name: str) -> dict:
    return await stack.get(f"settings/{name}")


async def test_the_list_shows_where_each_value_comes_from(stack: Stack) -> None:
    async def has_heard_of_the_api() -> bool:
        return (await setting(stack, "rate_limit.user"))["source"] == "environment"

    await until(has_heard_of_the_api)
    listed = {each["name"]: each for each in (await stack.get("settings"))["settings"]}
    assert list(listed) == sorted(listed)
    assert listed["rate_limit.user"]["value"] == "0", "the tests set it in the environment of the API"
    assert (listed["session.days"]["value"], listed["session.days"]["source"]) == ("30", "default")
    for each in listed.values():
        assert each["description"]
        assert each["effect"]
        assert each["type"] in {"number", "word", "roles"}


async def test_a_rate_limit_acts_in_the_gateway_within_5_s_and_a_reset_ends_it(stack: Stack) -> None:
    token, key = await admin(stack), stack.token("camera:read")
    changed = await put(stack, "settings/rate_limit.key", {"value": "2"}, token)
    assert (changed["value"], changed["source"], changed["changed_by"]) == ("2", "run_time", "admin")
    began = time.monotonic()

    async def limited() -> bool:
        return (await stack.call("GET", "cameras", token=key))[0] == 429

    await until(limited, LIMIT_S)
    assert time.monotonic() - began < LIMIT_S
    status, body = await stack.call("DELETE", "settings/rate_limit.key", token=token)
    assert (status, body["data"]["value"], body["data"]["source"]) == (200, "0", "environment")

    async def unlimited() -> bool:
        return (await stack.call("GET", "cameras", token=key))[0] == 200

    await until(unlimited, LIMIT_S)


async def test_a_log_level_acts_and_a_login_lives_as_long_as_set(stack: Stack) -> None:
    token = await admin(stack)
    logging.getLogger().setLevel("INFO")
    await put(stack, "settings/log_level.api", {"value": " WARNING "}, token)
    await until(lambda: logging.getLogger().level == logging.WARNING, LIMIT_S)
    await put(stack, "settings/session.days", {"value": "1"}, token)

    async def ends_in_a_day() -> bool:
        tokens = (await stack.post("auth/login", {"username": "admin", "password": ADMIN_PASSWORD}))["tokens"]
        return tokens["refresh_expires_at"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 90_000))

    await until(ends_in_a_day, LIMIT_S)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("rate_limit.user", "-1", 400),
        ("rate_limit.user", "1.5", 400),
        ("rate_limit.user", "٣", 400),
        ("rate_limit.user", "", 400),
        ("rate_limit.user", "9" * 5000, 400),
        ("session.days", "0", 400),
        ("session.days", "366", 400),
        ("log_level.api", "loud", 400),
        ("no.such", "1", 404),
        ("maintenance", "1", 404),
    ],
)
async def test_wrong_settings_are_refused_with_what_is_accepted(
    stack: Stack, name: str, value: str, status: int
) -> None:
    token = await admin(stack)
    got, body = await stack.call("PUT", f"settings/{name}", token=token, json={"value": value})
    assert got == status, body
    assert body["errors"][0]["hint"]


async def test_maintenance_refuses_changes_everywhere_and_counting_goes_on(stack: Stack, scalar) -> None:
    await add_camera(stack)
    token = await admin(stack)
    body = {"on": True, "reason": REASON}
    found = await put(stack, "admin/maintenance", body, token)
    assert (found["on"], found["reason"], found["changed_by"]) == (True, REASON, "admin")
    writes = [
        ("POST", "cameras", {**CAMERA, "camera_id": "cam-2"}),
        ("PATCH", "cameras/cam-1", {"name": "x"}),
        ("DELETE", "cameras/cam-1", None),
        ("POST", "users", {"username": "x", "password": "three uncommon turnips"}),
        ("POST", "secrets/rotate", {}),
        ("PUT", "settings/session.days", {"value": "3"}),
        ("POST", "cameras/cam-1/truth", TRUTH),
    ]

    async def all_refused() -> bool:
        answers = [
            await stack.call(method, path, token=token, **({} if sent is None else {"json": sent}))
            for method, path, sent in writes
        ]
        return all(status == 503 and REASON in answer["errors"][0]["message"] for status, answer in answers)

    await until(all_refused, LIMIT_S)
    assert (await stack.get("admin/maintenance"))["on"] is True
    for path in ("cameras", "analytics/counts", "users"):
        assert (await stack.call("GET", path, token=token))[0] == 200
    await admin(stack)  # logins go on
    await stack.publish(record(crossing(1, NOON)))
    await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 1)
    await put(stack, "admin/maintenance", {"on": False}, token)

    async def accepted() -> bool:
        return (await stack.call("PATCH", "cameras/cam-1", token=token, json={"name": "x"}))[0] == 200

    await until(accepted, LIMIT_S)
    assert (await stack.call("PUT", "admin/maintenance", token=token, json={"on": True}))[0] == 400


async def test_only_a_system_admin_may(stack: Stack) -> None:
    token = stack.token(*(PEOPLE - {"system:admin"}))
    for method, path in (("GET", "settings"), ("PUT", "settings/session.days"), ("PUT", "admin/maintenance")):
        sent = {} if method == "GET" else {"json": {}}
        assert (await stack.call(method, path, token=token, **sent))[0] == 403


async def test_without_nats_a_change_is_kept_and_arrives_later(stack: Stack, nats_server: NatsServer) -> None:
    token = await admin(stack)
    key = stack.token("camera:read")
    await nats_server.kill()
    await put(stack, "settings/rate_limit.key", {"value": "1"}, token)
    await nats_server.start()

    async def limited() -> bool:
        return (await stack.call("GET", "cameras", token=key))[0] == 429

    await until(limited)


def test_a_state_of_another_release_is_read_as_far_as_it_is_known() -> None:
    state = AdministrationState({"session.days": "3"}, MaintenanceState(True, "x", "admin", 1.0))
    assert AdministrationState.from_bytes(state.to_bytes()) == state
    later = state.to_bytes().replace(b'"values": {', b'"values": {"new.one": "1", "rate_limit.key": "many", ')
    assert AdministrationState.from_bytes(later) == state
    with pytest.raises(ValueError, match="no state"):
        AdministrationState.from_bytes(b"[]")

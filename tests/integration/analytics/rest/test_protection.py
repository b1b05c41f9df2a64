"""What protects the gateway: rate limits, CORS, headers, sizes, request ids."""

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, until

SITE = "https://shop.example.org"
RATES = {"address": 40, "login": 5, "user": 12, "key": 8}


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def api_settings(request: pytest.FixtureRequest) -> dict[str, object]:
    """One foreign site may call the API, and rates are low where a test says so."""
    rates = {f"gateway_rate_limit_{kind}": rate for kind, rate in getattr(request, "param", {}).items()}
    return {"gateway_cors_origins": f"{SITE},http://localhost:5173", **rates}


low_rates = pytest.mark.parametrize("api_settings", [RATES], indirect=True)


async def ask(
    stack: Stack, path: str = "cameras", method: str = "GET", *, token: str | None = None, **request: Any
) -> tuple[int, dict[str, str], str]:
    """Status, headers with lower-case names, and text of an answer."""
    url = f"http://{stack.addresses['gateway']}/api/v1/{path}"
    headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **request.pop("headers", {})}
    async with stack.session.request(method, url, headers=headers, **request) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.text()


async def statuses(stack: Stack, times: int, **request: Any) -> list[int]:
    return [(await ask(stack, **request))[0] for _ in range(times)]


def refusal(answer: tuple[int, dict[str, str], str]) -> dict[str, str]:
    """Check an answer above the rate, and return its headers."""
    status, headers, text = answer
    assert status == 429, text
    assert json.loads(text)["errors"][0]["code"] == "RESOURCE_EXHAUSTED"
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["ratelimit-remaining"] == "0"
    return headers


@low_rates
async def test_a_user_a_key_and_an_address_each_have_a_rate_of_their_own(stack: Stack) -> None:
    key = stack.token()
    assert await statuses(stack, RATES["key"], token=key) == [200] * RATES["key"]
    assert refusal(await ask(stack, token=key))["ratelimit-limit"] == str(RATES["key"])
    login = {"username": "admin", "password": ADMIN_PASSWORD}
    first, second = [(await stack.post("auth/login", login))["tokens"]["access_token"] for _ in range(2)]
    status, headers, _ = await ask(stack, token=first)
    assert (status, headers["ratelimit-limit"], headers["ratelimit-remaining"]) == (200, "12", "11")
    assert await statuses(stack, RATES["user"] - 1, token=second) == [200] * (RATES["user"] - 1)
    refusal(await ask(stack, token=first))
    assert await statuses(stack, 1, token=stack.token(lifetime_s=599)) == [200], "another key is not concerned"
    acting = stack.acting_token("camera:read")
    assert await statuses(stack, RATES["user"], token=acting) == [200] * RATES["user"], "counted for the real caller"
    assert refusal(await ask(stack, token=stack.acting_token("camera:write")))["ratelimit-limit"] == str(RATES["user"])


@low_rates
async def test_an_address_is_limited_before_its_token_is_looked_at_and_others_are_not(stack: Stack) -> None:
    here, there = ({"X-Forwarded-For": address} for address in ("9.9.9.9, 1.2.3.4", "1.2.3.5"))
    assert await statuses(stack, RATES["address"], headers=here) == [401] * RATES["address"]
    refusal(await ask(stack, headers=here))
    refusal(await ask(stack, headers={"X-Forwarded-For": "8.8.8.8, 1.2.3.4"}))
    assert (await ask(stack, headers=there))[0] == 401


@low_rates
async def test_logins_of_an_address_have_a_rate_of_their_own(stack: Stack) -> None:
    wrong = {"path": "auth/refresh", "method": "POST", "json": {"refresh_token": "x"}}
    here = {"headers": {"X-Forwarded-For": "1.2.3.4"}}
    assert await statuses(stack, RATES["login"], **wrong, **here) == [401] * RATES["login"]
    assert refusal(await ask(stack, **wrong, **here))["ratelimit-limit"] == str(RATES["login"])
    assert await statuses(stack, 1, token=stack.token(), **here) == [200]


async def test_a_site_that_is_not_named_gets_no_permission(stack: Stack) -> None:
    for origin in ("https://evil.example", f"{SITE}.evil.example", "null", f"{SITE}:8443"):
        preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        for method in ("OPTIONS", "GET"):
            _, headers, _ = await ask(stack, method=method, headers=preflight)
            assert not [name for name in headers if name.startswith("access-control-")]
            assert "Origin" in headers["vary"]


async def test_a_named_site_may_call_the_api_but_never_with_cookies(stack: Stack) -> None:
    preflight = {
        "Origin": SITE,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization",
    }
    status, headers, _ = await ask(stack, "cameras/x", "OPTIONS", headers=preflight)
    assert status == 204
    assert headers["access-control-allow-origin"] == SITE
    assert "PATCH" in headers["access-control-allow-methods"]
    assert "Authorization" in headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in headers
    for token in (stack.token(), "nonsense"):  # also an error can be read
        _, headers, _ = await ask(stack, token=token, headers={"Origin": SITE})
        assert headers["access-control-allow-origin"] == SITE
        assert "X-Request-Id" in headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in headers


async def test_every_answer_has_the_security_headers_and_hsts_only_over_tls(stack: Stack) -> None:
    for path, token in (("cameras", stack.token()), ("cameras", None), ("nowhere", None), ("openapi.json", None)):
        _, headers, _ = await ask(stack, path, token=token)
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers
        _, headers, _ = await ask(stack, path, token=token, headers={"X-Forwarded-Proto": "https"})
        assert headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_of_10_mb_is_refused(stack: Stack, *, announced: bool) -> None:
    body = json.dumps({"title": "x" * 10_000_000}).encode()

    async def chunks():
        for i in range(0, len(body), 65536):
            yield body[i : i + 65536]

    for path in ("cameras", "auth/login"):
        answer = await ask(stack, path, "POST", token=stack.token(), data=body if announced else chunks())
        assert answer[0] == 413, answer
        assert json.loads(answer[2])["errors"][0]["code"] == "PAYLOAD_TOO_LARGE"
    assert (await ask(stack, token=stack.token()))[0] == 200


async def test_a_login_is_small(stack: Stack) -> None:
    status, _, _ = await ask(stack, "auth/login", "POST", json={"username": "x" * 100_000, "password": "x"})
    assert status == 413


@pytest.mark.parametrize("body", ['{"a":' * 5000, "[" * 100_000, '{"a":' + "[" * 65 + "]" * 65 + "}"])
async def test_deep_json_is_refused(stack: Stack, body: str) -> None:
    status, _, text = await ask(stack, "cameras", "POST", token=stack.token(), data=body)
    assert status == 400, text


async def test_a_request_id_is_kept_if_it_is_well_formed_and_reaches_the_service(
    stack: Stack, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for given in ("abc-1.2_3", "A" * 64):
        assert (await ask(stack, token=stack.token(), headers={"X-Request-Id": given}))[1]["x-request-id"] == given
        logged = caplog.text + capfd.readouterr().out  # the one or the other, as an earlier test left the logs
        assert given in logged, "the service logs the call under this id"
    made = set()
    for given in ("", "a b", "x" * 65, "-a", "a;b", "${jndi:x}"):
        _, headers, text = await ask(stack, "nowhere", headers={"X-Request-Id": given})
        made.add(headers["x-request-id"])
        assert headers["x-request-id"] != given
        assert json.loads(text)["request_id"] == headers["x-request-id"]
    assert len(made) == 6


async def test_the_calls_that_a_request_needs_carry_its_id(stack: Stack) -> None:
    """The gateway asks the camera service for what a question may name, and auth for what a key holds."""
    login = {"username": "admin", "password": ADMIN_PASSWORD}
    token = (await stack.post("auth/login", login))["tokens"]["access_token"]
    _, _, text = await ask(stack, "auth/keys", "POST", token=token, json={"name": "display", "roles": ["viewer"]})
    key = json.loads(text)["data"]["key"]
    question = "analytics/counts?bucket=1d&start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z"
    needed = {"KeyService/ExchangeKey", "CameraService/ListSites", "CameraService/ListCameras"}

    async def logged() -> bool:
        """Ask again: the gateway may know places from a moment before, and lines are written after answers."""
        await asyncio.sleep(0.3)
        await ask(stack, question, token=key, headers={"X-Request-Id": "of-counts-1"})
        return needed <= {each["method"].rpartition(".")[2] for each in logs if each.get("request_id") == "of-counts-1"}

    with capture_logs() as logs:
        status, _, text = await ask(stack, question, token=key, headers={"X-Request-Id": "of-counts-1"})
        assert status == 200, text
        await until(logged)


async def test_several_authorization_headers_are_refused(stack: Stack) -> None:
    """A proxy could check one of them and this process another one."""
    url = f"http://{stack.addresses['gateway']}/api/v1/cameras"
    headers = [("Authorization", f"Bearer {stack.token()}"), ("Authorization", "Bearer x")]
    async with stack.session.get(url, headers=headers) as response:
        assert response.status == 401

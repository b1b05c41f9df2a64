"""The gateway: REST for the services of the contract, over real ones."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
from tests.fixtures.analytics.cameras import CAMERA, TRUTH, add_camera
from tests.fixtures.analytics.factory import NOON, crossing, record, span
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, until
from tests.fixtures.forked.command import countline

from countline_analytics.api.oidc_document import OIDC_ROUTES
from countline_common.access.vocabulary import PEOPLE
from countline_common.times import rfc3339, to_timestamp
from countline_control.auth.domain import FREE_ADDRESS_FAILURES


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


async def test_one_logs_in_over_rest_and_the_token_opens_what_it_permits(stack: Stack) -> None:
    status, body = await stack.call(
        "POST", "auth/login", token="", json={"username": "admin", "password": ADMIN_PASSWORD}
    )
    assert status == 200
    token = body["data"]["tokens"]["access_token"]
    status, body = await stack.call("GET", "auth/me", token=token)
    assert (status, body["data"]["permissions"]) == (200, sorted(PEOPLE))
    assert (await stack.call("GET", "analytics/counts", token=token))[0] == 200


async def log_in(stack: Stack, session: aiohttp.ClientSession, username: str, password: str, forwarded_for: str) -> int:
    """The status of a login that comes through the proxy at 127.0.0.1, or, with another session, past it."""
    url = f"http://{stack.addresses['gateway']}/api/v1/auth/login"
    body, headers = {"username": username, "password": password}, {"X-Forwarded-For": forwarded_for}
    async with session.post(url, json=body, headers=headers) as response:
        return response.status


async def test_somebody_who_guesses_passwords_over_rest_locks_out_their_own_address_alone(stack: Stack) -> None:
    """All logins over REST once seemed to come from the API itself: one guesser kept everybody out."""
    for i in range(FREE_ADDRESS_FAILURES):
        assert await log_in(stack, stack.session, f"name-{i}", "wrong password", f"10.0.0.{i}, 1.2.3.4") == 401
    assert await log_in(stack, stack.session, "admin", ADMIN_PASSWORD, "1.2.3.4") == 429
    assert await log_in(stack, stack.session, "admin", ADMIN_PASSWORD, "1.2.3.5") == 200
    past_the_proxy = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=past_the_proxy) as session:
        assert await log_in(stack, session, "admin", ADMIN_PASSWORD, "1.2.3.4") == 200


@pytest.mark.parametrize("path", ["cameras", "analytics/counts", "workers", "auth/me"])
async def test_without_a_token_nothing_is_open(stack: Stack, path: str) -> None:
    for token in ("", "nonsense", "nön"):
        status, body = await stack.call("GET", path, token=token)
        assert (status, body["errors"][0]["code"]) == (401, "UNAUTHENTICATED")


async def test_a_caller_without_a_token_is_refused_before_the_body_is_read(stack: Stack) -> None:
    """Anybody could have bodies of 16 MB parsed, and learned what is wrong with them."""
    for token in ("", "nonsense"):
        for method, path in (("POST", "cameras"), ("PATCH", "cameras/cam-1"), ("POST", "ai-models/m/trials")):
            status, body = await stack.call(method, path, token=token, json={"nonsense": [1]})
            assert (status, body["errors"][0]["code"]) == (401, "UNAUTHENTICATED"), path


@pytest.mark.parametrize("path", ["cameras", "analytics/counts", "analytics/verify", "workers"])
async def test_a_token_without_the_permission_is_refused_by_whoever_answers(stack: Stack, path: str) -> None:
    status, body = await stack.call("GET", path, token=stack.token("nothing.at.all"))
    assert (status, body["errors"][0]["code"]) == (403, "PERMISSION_DENIED")


async def test_a_camera_is_created_changed_and_deleted(stack: Stack) -> None:
    await add_camera(stack)
    status, body = await stack.call("PATCH", "cameras/cam-1", json={"name": "Gate", "spec": {"processing_rate": 5}})
    assert status == 200, body
    camera = await stack.get("cameras/cam-1")
    assert (camera["name"], camera["spec"]["processing_rate"], len(camera["spec"]["lines"])) == ("Gate", 5, 2)
    assert (await stack.call("DELETE", "cameras/cam-1"))[0] == 200
    assert (await stack.call("GET", "cameras/cam-1"))[0] == 404


async def test_fields_that_a_service_refuses_are_named(stack: Stack) -> None:
    await add_camera(stack)
    bad = {**CAMERA, "camera_id": "cam-2"}
    bad["spec"] = {
        **CAMERA["spec"],
        "lines": [{"line_id": "gate", "points": [{"x": 0.1, "y": 0.5}, {"x": 7, "y": 0.5}]}],
    }
    status, body = await stack.call("POST", "cameras", json=bad)
    assert status == 400
    assert any("points" in error["field"] for error in body["errors"])


async def test_errors_have_one_shape_whoever_raises_them(stack: Stack) -> None:
    answers = [
        await stack.call("GET", "nowhere"),
        await stack.call("PUT", "cameras"),
        await stack.call("POST", "cameras", data=b"{not json"),
        await stack.call("GET", "analytics/counts", params={"bucket": "7m"}),
        await stack.call("POST", "auth/login", data=b"x" * (17 * 1024 * 1024)),
    ]
    assert [status for status, _ in answers] == [404, 405, 400, 400, 413]
    for _, body in answers:
        assert set(body) == {"success", "request_id", "errors"}
        assert body["success"] is False
        assert all(set(error) == {"code", "field", "message", "hint"} for error in body["errors"])
    assert answers[2][1]["errors"][0]["hint"] == "send a JSON object"


async def test_answers_carry_a_request_id_security_headers_and_come_compressed(stack: Stack) -> None:
    url = f"http://{stack.addresses['gateway']}/api/v1/openapi.json"
    headers = {"X-Request-Id": "abc-123", "Accept-Encoding": "gzip"}
    async with stack.session.get(url, headers=headers) as response:
        assert response.headers["X-Request-Id"] == "abc-123"
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        paths = (await response.json())["paths"]
    assert {"/api/v1/cameras/{camera_id}", *(route.path for route in OIDC_ROUTES)} <= set(paths)


async def test_analytics_alone_serves_its_own_routes_and_no_others(stack: Stack) -> None:
    base = f"http://{stack.addresses['analytics']}/api/v1"
    headers = {"Authorization": f"Bearer {stack.token()}"}
    async with stack.session.get(f"{base}/analytics/counts", headers=headers) as response:
        assert response.status == 200
    async with stack.session.get(f"{base}/cameras", headers=headers) as response:
        assert response.status == 404
    async with stack.session.get(f"{base}/openapi.json") as response:
        assert all("/analytics/" in path or "/truth" in path for path in (await response.json())["paths"])


async def test_a_camera_that_was_created_a_moment_ago_is_known(stack: Stack) -> None:
    """The answer of the camera service is kept for seconds; asking for what is not in it asks anew."""
    await add_camera(stack)
    await stack.get("analytics/counts", camera_id="cam-1")
    await stack.post("cameras", {**CAMERA, "camera_id": "cam-2"})
    await stack.get("analytics/counts", camera_id="cam-2")


async def test_counts_are_reported_while_the_camera_service_is_away(stack: Stack) -> None:
    await stack.publish(record(crossing(1, NOON)))
    away = stack.token("analytics:read")  # it may not list cameras, which looks the same from here

    async def counted() -> bool:
        query = {"start": rfc3339(NOON - 60), "end": rfc3339(NOON + 60)}
        status, body = await stack.call("GET", "analytics/counts", token=away, params=query)
        assert status == 200
        return sum(bucket["in"] for bucket in body["data"]["buckets"]) == 1

    await until(counted)


async def test_the_page_is_served_and_nothing_beside_it(stack: Stack) -> None:
    base = f"http://{stack.addresses['gateway']}"
    async with stack.session.get(base) as response:
        text = await response.text()
        built = "not built" not in text
        assert response.status == (200 if built else 503)
        assert response.content_type == "text/html"
    async with stack.session.get(f"{base}/cameras/cam-1") as response:
        assert response.status == 404


async def verify(data: Path, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(countline()), "verify", "--data", str(data), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in err, err
    return process.returncode or 0, out.decode()


async def test_verify_prints_how_counts_and_truth_compare(stack: Stack, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    (data / "credentials").mkdir()
    (data / "credentials" / "admin-password").write_text(ADMIN_PASSWORD)
    endpoints = {name: stack.addresses[name] for name in ("auth", "cameras", "workers")}
    gateway = f"http://{stack.addresses['gateway']}"
    (data / "run" / "endpoints.json").write_text(json.dumps({**endpoints, "gateway": gateway}))
    await add_camera(stack)
    await stack.post("cameras/cam-1/truth", {**TRUTH, "start": rfc3339(NOON)})
    right = [crossing(k, NOON + 20 * k + 5) for k in range(5)]
    right += [crossing(10 + k, NOON + 20 * k + 12.5, direction="out") for k in range(5)]
    hand_over = to_timestamp(NOON)
    await stack.publish(record(*right, hand_over_at=hand_over, coverage=[span(NOON, NOON + 100)]))
    window = ("--start", rfc3339(NOON), "--end", rfc3339(NOON + 100))

    async def verified() -> bool:
        return (await verify(data, "--json", *window))[0] == 0

    await until(verified, 60)
    _, printed = await verify(data, "--json", *window)
    result = {"counted": 5, "true": 5, "missed": 0, "false": 0}
    assert json.loads(printed) == {"cam-1": {"gate": {"in": result, "out": result}}}
    code, table = await verify(data, "--camera", "cam-1", *window)
    assert (code, "gate" in table, "COUNTED" in table) == (0, True, True)

    await stack.publish(record(crossing(99, NOON + 50), sequence=1))

    async def disagrees() -> bool:
        code, printed = await verify(data, "--json", *window)
        return code == 1 and json.loads(printed)["cam-1"]["gate"]["in"]["false"] == 1

    await until(disagrees, 60)

"""The shape of REST: bodies and answers are resources, and every path and method answers in the same way."""

from typing import Any

import pytest
from tests.fixtures.analytics.cameras import CAMERA, TRUTH, add_camera
from tests.fixtures.analytics.stack import Stack
from yarl import URL

SITE = {"site_id": "lab", "title": "Lab", "time_zone": "Europe/Berlin"}
USER = {"username": "vera", "password": "a long password", "roles": ["viewer"]}


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


async def request(stack: Stack, method: str, path: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of any request to the gateway."""
    url = f"http://{stack.addresses['gateway']}{path}"
    headers = {"Authorization": f"Bearer {stack.token()}"}
    async with stack.session.request(method, url, headers=headers, **options) as response:
        return response.status, dict(response.headers), await response.read()


@pytest.mark.parametrize(
    ("collection", "body", "item"),
    [
        ("sites", SITE, "site_id"),
        ("cameras", {**CAMERA, "camera_id": "cam-2"}, "camera_id"),
        ("cameras/cam-1/truth", TRUTH, "truth_set_id"),
        ("users", USER, "user_id"),
    ],
)
async def test_what_is_created_is_the_answer_and_is_found_at_its_location(
    stack: Stack, collection: str, body: dict[str, Any], item: str
) -> None:
    await add_camera(stack)
    url = f"http://{stack.addresses['gateway']}"
    headers = {"Authorization": f"Bearer {stack.token()}"}
    async with stack.session.post(f"{url}/api/v1/{collection}", json=body, headers=headers) as response:
        assert response.status == 201
        location, created = response.headers["Location"], (await response.json())["data"]
    assert location == f"/api/v1/{collection}/{created[item]}"
    async with stack.session.get(url + location, headers=headers) as response:
        assert (response.status, (await response.json())["data"]) == (200, created)


async def test_a_wrapped_body_is_refused(stack: Stack) -> None:
    status, answer = await stack.call("POST", "sites", json={"site": SITE})
    assert (status, answer["errors"][0]["field"]) == (400, "site")


async def test_a_site_is_read_changed_and_deleted(stack: Stack) -> None:
    assert (await stack.post("sites", SITE))["title"] == "Lab"
    status, answer = await stack.call("PATCH", "sites/lab", json={"title": "Laboratory"})
    assert (status, answer["data"]["title"]) == (200, "Laboratory")
    assert (await stack.get("sites/lab"))["title"] == "Laboratory"
    assert (await stack.call("DELETE", "sites/lab"))[0] == 200
    for method in ("GET", "DELETE"):
        assert (await stack.call(method, "sites/lab"))[0] == 404
    assert (await stack.post("sites", SITE))["revision"] == 1


async def test_a_site_that_has_cameras_is_not_deleted(stack: Stack) -> None:
    await add_camera(stack)
    status, answer = await stack.call("DELETE", "sites/demo")
    assert (status, answer["errors"][0]["code"]) == (409, "FAILED_PRECONDITION")
    assert "cam-1" in answer["errors"][0]["message"]
    assert (await stack.call("DELETE", "cameras/cam-1"))[0] == 200
    assert (await stack.call("DELETE", "sites/demo"))[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize(
    "path",
    [
        "/api", "/api/", "//api", "//api/v1/cameras", "/api/v1", "/api/v1/nowhere", "/api/v2/cameras", "/nowhere",
        "/api/v1/cameras/", "/api/v1/cameras/a/b/c", f"/api/v1/{'x' * 300}", f"/{'x' * 300}", "/%00", "/%ff", "/a%2fb",
        "/api%2fv1%2fcameras", "/assets/none.js", "/../settings.py",
    ],
)  # fmt: skip
async def test_an_unknown_path_is_not_found_with_any_method(stack: Stack, method: str, path: str) -> None:
    url = URL(f"http://{stack.addresses['gateway']}{path}", encoded=True)
    async with stack.session.request(method, url) as response:
        body = await response.json()
    assert (response.status, set(body), body["errors"][0]["code"]) == (
        404,
        {"success", "request_id", "errors"},
        "NOT_FOUND",
    )


@pytest.mark.parametrize(
    ("path", "wrong", "allowed"),
    [
        ("/api/v1/cameras", "PUT", "GET,HEAD,OPTIONS,POST"),
        ("/api/v1/cameras/cam-1", "POST", "DELETE,GET,HEAD,OPTIONS,PATCH"),
        ("/api/v1/auth/login", "GET", "OPTIONS,POST"),
        ("/api/v1/openapi.json", "DELETE", "GET,HEAD,OPTIONS"),
        ("/ws", "POST", "GET,HEAD,OPTIONS"),
        ("/", "POST", "GET,HEAD,OPTIONS"),
    ],
)
async def test_a_known_path_names_its_methods(stack: Stack, path: str, wrong: str, allowed: str) -> None:
    status, headers, _ = await request(stack, wrong, path)
    assert (status, headers["Allow"]) == (405, allowed)
    status, headers, body = await request(stack, "OPTIONS", path)
    assert (status, headers["Allow"], body) == (204, allowed, b"")


@pytest.mark.parametrize("path", ["/api/v1/cameras", "/api/v1/analytics/counts", "/api/v1/openapi.json"])
async def test_head_answers_as_get_does_without_the_body(stack: Stack, path: str) -> None:
    (status, got, _), (head_status, head, body) = [await request(stack, method, path) for method in ("GET", "HEAD")]
    assert (status, head_status, body) == (200, 200, b"")
    assert head["Content-Type"] == got["Content-Type"]
    assert (await request(stack, "HEAD", "/api/v1/cameras/none"))[0] == 404

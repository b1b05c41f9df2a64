"""The shape of REST: bodies and answers are resources, and every path and method answers in the same way."""

import itertools
import json
from typing import Any

import pytest
from tests.fixtures.analytics.cameras import CAMERA, TRUTH, add_camera
from tests.fixtures.analytics.stack import Stack
from yarl import URL

SITE = {"site_id": "lab", "title": "Lab", "time_zone": "Europe/Berlin"}
USER = {"username": "vera", "password": "a long password", "roles": ["viewer"]}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
UNKNOWN = (
    "/api", "/api/", "//api", "//api/v1/cameras", "/api/v1", "/api/v1/nowhere", "/api/v2/cameras", "/nowhere",
    "/api/v1/cameras/", "/api/v1/cameras/a/b/c", f"/api/v1/{'x' * 300}", f"/{'x' * 300}", "/%00", "/%ff", "/a%2fb",
    "/api%2fv1%2fcameras", "/assets/none.js", "/../settings.py", "/%2e%2e/settings.py",
)  # fmt: skip
KNOWN = (
    ("/api/v1/cameras", "PUT", "GET,HEAD,OPTIONS,POST"),
    ("/api/v1/cameras/cam-1", "POST", "DELETE,GET,HEAD,OPTIONS,PATCH"),
    ("/api/v1/auth/login", "GET", "OPTIONS,POST"),
    ("/api/v1/openapi.json", "DELETE", "GET,HEAD,OPTIONS"),
    ("/ws", "POST", "GET,HEAD,OPTIONS"),
    ("/", "POST", "GET,HEAD,OPTIONS"),
)
"""Path, a method that it does not know, and those that it does."""


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


async def request(stack: Stack, method: str, path: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of any request to the gateway."""
    url = URL(f"http://{stack.addresses['gateway']}{path}", encoded=True)
    headers = {"Authorization": f"Bearer {stack.token()}"}
    async with stack.session.request(method, url, headers=headers, **options) as response:
        return response.status, dict(response.headers), await response.read()


async def test_what_is_created_is_the_answer_and_is_found_at_its_location(stack: Stack) -> None:
    await add_camera(stack)
    for collection, body, item in (
        ("sites", SITE, "site_id"),
        ("cameras", {**CAMERA, "camera_id": "cam-2"}, "camera_id"),
        ("cameras/cam-1/truth", TRUTH, "truth_set_id"),
        ("users", USER, "user_id"),
    ):
        status, headers, answer = await request(stack, "POST", f"/api/v1/{collection}", json=body)
        created = json.loads(answer)["data"]
        assert (status, headers["Location"]) == (201, f"/api/v1/{collection}/{created[item]}")
        status, _, answer = await request(stack, "GET", headers["Location"])
        found = json.loads(answer)["data"]
        created.pop("observed", None), found.pop("observed", None)  # of a camera; it changes by itself
        assert (status, found) == (200, created)


async def test_a_site_is_read_changed_and_deleted_once_it_has_no_cameras(stack: Stack) -> None:
    status, answer = await stack.call("POST", "sites", json={"site": SITE})
    assert (status, answer["errors"][0]["field"]) == (400, "site")
    assert (await stack.post("sites", SITE))["title"] == "Lab"
    status, answer = await stack.call("PATCH", "sites/lab", json={"title": "Laboratory"})
    assert (status, answer["data"]["title"]) == (200, "Laboratory")
    assert (await stack.get("sites/lab"))["title"] == "Laboratory"
    await stack.post("cameras", {**CAMERA, "site_id": "lab"})
    status, answer = await stack.call("DELETE", "sites/lab")
    assert (status, answer["errors"][0]["code"]) == (409, "FAILED_PRECONDITION")
    assert "cam-1" in answer["errors"][0]["message"]
    assert (await stack.call("DELETE", "cameras/cam-1"))[0] == 200
    assert (await stack.call("DELETE", "sites/lab"))[0] == 200
    for method in ("GET", "DELETE"):
        assert (await stack.call(method, "sites/lab"))[0] == 404
    assert (await stack.post("sites", SITE))["revision"] == 1


async def test_a_camera_needs_a_name_a_location_and_an_address(stack: Stack) -> None:
    wanted = {"name": "Main entrance", "location": "Lobby", "stream_url": "rtsp://127.0.0.1:1/live"}
    status, answer = await stack.call("POST", "cameras", json=wanted)
    assert (status, answer["success"], answer["data"]["name"]) == (201, True, "Main entrance")
    assert (answer["data"]["status"], answer["data"]["location"]) == ("active", "Lobby")
    for name in ("", "  "):
        status, answer = await stack.call("POST", "cameras", json={**wanted, "name": name})
        assert (status, answer["success"], answer["errors"][0]["field"]) == (400, False, "name")


async def test_cameras_are_found_by_the_words_of_their_query(stack: Stack) -> None:
    await add_camera(stack)
    status, answer = await stack.call("PATCH", "cameras/cam-1", json={"status": "paused", "tags": ["north"]})
    assert (status, answer["data"]["status"], "observed" in answer["data"]) == (200, "paused", False)
    for words, found in (
        ("site=demo&tag=north", ["cam-1"]), ("status=paused&order_by=name%20desc", ["cam-1"]), ("status=active", []),
        ("site=moon", []), ("observed=running", []), ("worker_id=w", []), ("model=net", []), ("location=x", []),
    ):  # fmt: skip
        shown = await stack.get(f"cameras?{words}")
        assert [each["camera_id"] for each in shown["cameras"]] == found, words
    status, answer = await stack.call("GET", "cameras?status=asleep")
    assert (status, answer["errors"][0]["field"]) == (400, "status")


async def test_a_patch_that_changes_nothing_starts_no_revision(stack: Stack) -> None:
    """Every client that had read the resource before then got a conflict for nothing."""
    await add_camera(stack)
    await stack.post("sites", SITE)
    changes = {"sites/lab": {"title": "Shop"}, "cameras/cam-1": {"name": "Gate", "spec": {"lines": []}}}
    for path, change in changes.items():
        label = next(iter(change))
        before = await stack.get(path)
        named = {name: before[name] for name in ("site_id", "camera_id") if name in path}
        for same in ({}, {label: before[label]}, {**named, "revision": before["revision"]}):
            status, answer = await stack.call("PATCH", path, json=same)
            assert (status, answer["data"]["revision"]) == (200, before["revision"]), answer
        status, answer = await stack.call("PATCH", path, json={**change, "revision": before["revision"]})
        assert (status, answer["data"]["revision"]) == (200, before["revision"] + 1), answer
        status, answer = await stack.call("PATCH", path, json={label: "Late", "revision": before["revision"]})
        assert (status, answer["errors"][0]["code"]) == (409, "ABORTED")
        assert f"it has revision {before['revision'] + 1}" in answer["errors"][0]["message"]


async def test_words_of_the_openapi_document_are_accepted(stack: Stack) -> None:
    """The document lists `unspecified` for every enum, and answers hold it, but requests with it were refused."""
    await add_camera(stack)
    read = await stack.get("cameras/cam-1")
    status, answer = await stack.call("PATCH", "cameras/cam-1", json={"spec": read["spec"]})
    assert status == 200, answer
    assert answer["data"]["spec"] == read["spec"]
    spec = {**CAMERA["spec"], "playback": "unspecified", "rtsp_transport": "unspecified"}
    assert (await stack.post("cameras", {**CAMERA, "camera_id": "cam-2", "spec": spec}))["camera_id"] == "cam-2"
    status, answer = await stack.call("PATCH", "cameras/cam-1", json={"spec": {"playback": "sideways"}})
    assert (status, answer["errors"][0]["message"]) == (400, "must be one of live, realtime, fast, loop")


async def test_a_body_that_names_another_resource_than_its_path_is_refused(stack: Stack) -> None:
    await add_camera(stack)
    await stack.post("sites", SITE)
    for path, field, label in (("sites/lab", "site_id", "title"), ("cameras/cam-1", "camera_id", "name")):
        status, answer = await stack.call("PATCH", path, json={field: "other", label: "Stolen"})
        assert (status, answer["errors"][0]["field"]) == (400, field)
        assert (await stack.get(path))[label] != "Stolen"


async def test_paths_and_methods_are_known_or_not_in_one_way(stack: Stack) -> None:
    for method, path in itertools.product(METHODS, UNKNOWN):
        status, _, body = await request(stack, method, path)
        answer = json.loads(body)
        assert (status, answer["errors"][0]["code"]) == (404, "NOT_FOUND"), (method, path)
        assert set(answer) == {"success", "request_id", "errors"}
    for path, wrong, allowed in KNOWN:
        status, headers, _ = await request(stack, wrong, path)
        assert (status, headers["Allow"]) == (405, allowed), path
        status, headers, body = await request(stack, "OPTIONS", path)
        assert (status, headers["Allow"], body) == (204, allowed, b""), path
    for path in ("/api/v1/cameras", "/api/v1/analytics/counts", "/api/v1/openapi.json"):
        (status, got, _), (head_status, head, body) = [await request(stack, each, path) for each in ("GET", "HEAD")]
        assert (status, head_status, body) == (200, 200, b"")
        assert head["Content-Type"] == got["Content-Type"]
    assert (await request(stack, "HEAD", "/api/v1/cameras/none"))[0] == 404

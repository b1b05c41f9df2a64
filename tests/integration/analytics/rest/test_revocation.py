"""Access that ends acts within 5 s: in REST of other services, in REST of analytics, and on open sockets."""

import asyncio
import time

import pytest
from aiohttp import WSMsgType
from tests.fixtures.analytics.dashboard_page import log_in, page_of
from tests.fixtures.analytics.page import connected
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, until
from tests.fixtures.browser import expect
from tests.fixtures.nats import NatsServer

PASSWORD = "three uncommon turnips"
LIMIT_S = 5.0


@pytest.fixture
def control_settings(nats_server: NatsServer) -> dict[str, object]:
    """Auth announces what ends on NATS."""
    return {"nats_url": nats_server.url_of("control")}


async def login(stack: Stack, username: str, password: str) -> dict:
    return (await stack.post("auth/login", {"username": username, "password": password}))["tokens"]


async def made(stack: Stack, admin: str) -> dict:
    user = {"username": "vera", "password": PASSWORD, "roles": ["operator"]}
    status, body = await stack.call("POST", "users", token=admin, json=user)
    assert status == 201, body
    return body["data"]


async def statuses(stack: Stack, token: str) -> list[int]:
    """Answers of the camera service, of analytics, and of auth."""
    return [(await stack.call("GET", path, token=token))[0] for path in ("cameras", "analytics/counts", "auth/me")]


ENDS = {
    "disabled": ("POST", "users/{user_id}/disable", {}),
    "deleted": ("DELETE", "users/{user_id}", None),
    "reset": ("POST", "users/{user_id}/reset-password", {}),
    "logged out": ("POST", "users/{user_id}/logout", {}),
}


@pytest.mark.parametrize("how", ENDS)
async def test_ended_access_is_refused_everywhere(stack: Stack, how: str) -> None:
    admin = (await login(stack, "admin", ADMIN_PASSWORD))["access_token"]
    user = await made(stack, admin)
    token = (await login(stack, "vera", PASSWORD))["access_token"]
    assert await statuses(stack, token) == [200, 200, 200]
    async with connected(stack, token=token) as socket:
        method, path, body = ENDS[how]
        request = {} if body is None else {"json": body}
        began = time.monotonic()
        status, answer = await stack.call(method, path.format(**user), token=admin, **request)
        assert status == 200, answer
        async with asyncio.timeout(LIMIT_S):
            while (await socket.receive()).type is WSMsgType.TEXT:
                pass
            assert socket.close_code == 4401

            async def refused() -> bool:
                return await statuses(stack, token) == [401, 401, 401]

            await until(refused)
        assert time.monotonic() - began < LIMIT_S


@pytest.mark.parametrize("whose", ["caller", "user"])
async def test_acting_for_a_user_ends_everywhere_with_the_access_of_either(stack: Stack, whose: str) -> None:
    first = (await login(stack, "admin", ADMIN_PASSWORD))["access_token"]
    vera = await made(stack, first)
    tokens = await login(stack, "admin", ADMIN_PASSWORD)
    path, body = f"users/{vera['user_id']}/act-for", {"reason": "ticket 12"}
    assert (await stack.call("POST", path, token=tokens["access_token"], json={}))[0] == 400
    status, answer = await stack.call("POST", path, token=tokens["access_token"], json=body)
    assert (status, answer["data"]["user"]["username"]) == (200, "vera"), answer
    token = answer["data"]["access_token"]
    assert (await stack.call("POST", path, token=token, json=body))[0] == 403
    assert (await stack.call("GET", "auth/me", token=token))[1]["data"]["actor_name"] == "admin"
    assert await statuses(stack, token) == [200, 200, 200]
    async with connected(stack, token=token) as socket:
        began = time.monotonic()
        if whose == "user":
            await stack.call("POST", f"users/{vera['user_id']}/logout", token=first, json={})
        else:
            await stack.post("auth/logout", {"refresh_token": tokens["refresh_token"]})
        async with asyncio.timeout(LIMIT_S):
            while (await socket.receive()).type is WSMsgType.TEXT:
                pass
            assert socket.close_code == 4401

            async def refused() -> bool:
                return await statuses(stack, token) == [401, 401, 401]

            await until(refused)
        assert time.monotonic() - began < LIMIT_S
    assert await statuses(stack, first) == [200, 200, 200]


async def test_an_api_key_works_everywhere_until_it_is_revoked(stack: Stack) -> None:
    admin = (await login(stack, "admin", ADMIN_PASSWORD))["access_token"]
    status, body = await stack.call("POST", "auth/keys", token=admin, json={"name": "display", "roles": ["viewer"]})
    assert status == 201, body
    key = body["data"]
    assert await statuses(stack, key["key"]) == [200, 200, 200]
    assert (await stack.call("POST", "sites", token=key["key"], json={"site_id": "x", "time_zone": "UTC"}))[0] == 403
    async with connected(stack, token=key["key"]) as socket:
        began = time.monotonic()
        status, body = await stack.call("DELETE", f"auth/keys/{key['key_id']}", token=admin)
        assert status == 200, body
        async with asyncio.timeout(LIMIT_S):
            while (await socket.receive()).type is WSMsgType.TEXT:
                pass
            assert socket.close_code == 4401

            async def refused() -> bool:
                return await statuses(stack, key["key"]) == [401, 401, 401]

            await until(refused)
        assert time.monotonic() - began < LIMIT_S


async def test_a_changed_role_acts_everywhere_and_a_refresh_shows_it(stack: Stack) -> None:
    admin = (await login(stack, "admin", ADMIN_PASSWORD))["access_token"]
    user = await made(stack, admin)
    tokens = await login(stack, "vera", PASSWORD)
    change = {"roles": ["guest"], "revision": user["revision"]}
    status, body = await stack.call("PATCH", f"users/{user['user_id']}", token=admin, json=change)
    assert status == 200, body

    async def refused() -> bool:
        return (await statuses(stack, tokens["access_token"]))[:2] == [401, 401]

    await until(refused, LIMIT_S)
    renewed = (await stack.post("auth/refresh", {"refresh_token": tokens["refresh_token"]}))["tokens"]["access_token"]
    assert await statuses(stack, renewed) == [200, 200, 200]
    assert (await stack.call("POST", "sites", token=renewed, json={"site_id": "x", "time_zone": "UTC"}))[0] == 403


async def test_one_ended_session_leaves_the_others_open(stack: Stack) -> None:
    here, there = [await login(stack, "admin", ADMIN_PASSWORD) for _ in range(2)]
    sessions = await stack.call("GET", "auth/sessions", token=here["access_token"])
    (other,) = [each for each in sessions[1]["data"]["sessions"] if not each["current"]]
    await stack.call("DELETE", f"auth/sessions/{other['session_id']}", token=here["access_token"])

    async def refused() -> bool:
        return await statuses(stack, there["access_token"]) == [401, 401, 401]

    await until(refused, LIMIT_S)
    assert await statuses(stack, here["access_token"]) == [200, 200, 200]


async def test_too_many_wrong_passwords_get_a_time_to_wait(stack: Stack) -> None:
    body = {"username": "nobody", "password": "wrong password"}
    url = f"http://{stack.addresses['gateway']}/api/v1/auth/login"
    for _ in range(20):
        async with stack.session.post(url, json=body) as response:
            if response.status == 429:
                assert 1 <= int(response.headers["Retry-After"]) <= 300
                return
            assert response.status == 401
    pytest.fail("guesses are never refused")


async def test_a_logout_everywhere_in_the_page_ends_the_sessions_of_all_browsers(stack: Stack) -> None:
    async with page_of(stack) as page:
        other = await (await page.context.browser.new_context()).new_page()
        await other.goto(page.url)
        for each in (page, other):
            await log_in(each, "admin", ADMIN_PASSWORD)
            await each.wait_for_selector("[data-connection=live]")
        await page.get_by_role("button", name="Account").click()
        everywhere = page.get_by_role("button", name="Log out everywhere")
        await page.route("**/logout-everywhere", lambda route: route.abort())
        await everywhere.click()
        await expect(page.get_by_role("alert")).to_contain_text("Could not reach the server")
        await page.unroute("**/logout-everywhere")
        await everywhere.click()
        for each in (page, other):
            await expect(each.locator("input[name=password]")).to_be_visible(timeout=LIMIT_S * 1000)
            await each.reload()
            await expect(each.locator("input[name=password]")).to_be_visible()
        assert await page.context.cookies() == []

"""The login of a browser: its refresh token is in a cookie that no script and no other site can use."""

import asyncio
from http.cookies import Morsel
from typing import Any

import pytest
from aiohttp import web
from tests.fixtures.analytics.dashboard_page import log_in, page_of
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack
from tests.fixtures.browser import expect

from countline_analytics.api.browser_login import COOKIE, MODE_HEADER

MODE = {MODE_HEADER: "cookie"}
LOGIN = {"username": "admin", "password": ADMIN_PASSWORD}
NEW_PASSWORD = "three uncommon turnips"


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def api_settings() -> dict[str, object]:
    """The address that browsers use where TLS ends in front of the gateway."""
    return {"gateway_public_url": "https://counts.example.org/"}


async def post(stack: Stack, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any], Morsel[str] | None]:
    """Status, body and cookie of a POST as a browser sends it; without headers it comes from our own page."""
    url = f"http://{stack.addresses['gateway']}"
    sent = {"Origin": url, **MODE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with stack.session.post(f"{url}/api/v1/auth/{path}", json=body, headers=sent) as response:
        cookie = response.cookies.get(COOKIE)
        # The jar of the session would send the cookie by itself; these tests send it on purpose.
        stack.session.cookie_jar.clear()
        return response.status, await response.json(), cookie


def carrying(cookie: Morsel[str] | None, **headers: str) -> dict[str, str]:
    assert cookie is not None
    return {"Cookie": f"{COOKIE}={cookie.value}", **headers}


async def test_a_browser_gets_its_refresh_token_as_a_cookie_that_no_script_reads(stack: Stack) -> None:
    status, body, cookie = await post(stack, "login", LOGIN)
    assert status == 200
    assert body["data"]["tokens"]["refresh_token"] == ""
    assert cookie is not None
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/api/v1/auth")
    assert 29 * 86400 < int(cookie["max-age"]) <= 30 * 86400
    assert not cookie["secure"], "a browser would not send it back without TLS"
    status, body, renewed = await post(stack, "refresh", {}, **carrying(cookie))
    assert (status, body["data"]["tokens"]["refresh_token"]) == (200, "")
    assert renewed is not None
    assert renewed.value != cookie.value


async def test_the_cookie_is_for_tls_only_where_the_browser_uses_tls(stack: Stack) -> None:
    status, _, cookie = await post(stack, "login", LOGIN, Origin="https://counts.example.org")
    assert status == 200
    assert cookie is not None
    assert cookie["secure"] is True


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1:1",
        "https://counts.example.org.evil.example",
        "http://[",
        "x",
    ],
)
async def test_another_site_can_use_the_cookie_for_nothing(stack: Stack, origin: str) -> None:
    _, _, cookie = await post(stack, "login", LOGIN)
    for mode in ("cookie", ""):
        for path in ("refresh", "logout"):
            headers = carrying(cookie, Origin=origin) | {MODE_HEADER: mode}
            status, body, changed = await post(stack, path, {}, **headers)
            assert (status, body["errors"][0]["code"], changed) == (403, "PERMISSION_DENIED", None)
    assert (await post(stack, "login", LOGIN, Origin=origin))[0] == 403
    assert (await post(stack, "refresh", {}, **carrying(cookie)))[0] == 200, "the session was left alone"


async def test_a_logout_ends_the_session_and_deletes_the_cookie(stack: Stack) -> None:
    _, _, cookie = await post(stack, "login", LOGIN)
    status, _, deleted = await post(stack, "logout", {}, **carrying(cookie))
    assert status == 200
    assert deleted is not None
    assert (deleted.value, deleted["max-age"], deleted["path"]) == ("", "0", "/api/v1/auth")
    assert (await post(stack, "refresh", {}, **carrying(cookie)))[0] == 401


async def test_a_logout_everywhere_deletes_the_cookie_too(stack: Stack) -> None:
    _, body, cookie = await post(stack, "login", LOGIN)
    token = body["data"]["tokens"]["access_token"]
    status, _, deleted = await post(stack, "logout-everywhere", {}, Authorization=f"Bearer {token}")
    assert status == 200
    assert deleted is not None
    assert deleted["max-age"] == "0"
    assert (await post(stack, "refresh", {}, **carrying(cookie)))[0] == 401


async def test_a_hundred_tabs_that_refresh_at_once_stay_logged_in(stack: Stack) -> None:
    _, body, cookie = await post(stack, "login", LOGIN)
    answers = await asyncio.gather(*(post(stack, "refresh", {}, **carrying(cookie)) for _ in range(100)))
    assert {status for status, _, _ in answers} == {200}
    assert (await post(stack, "refresh", {}, **carrying(answers[0][2])))[0] == 200
    token = body["data"]["tokens"]["access_token"]
    status, sessions = await stack.call("GET", "auth/sessions", token=token)
    assert (status, len(sessions["data"]["sessions"])) == (200, 1)


async def test_other_clients_keep_their_tokens_in_the_body(stack: Stack) -> None:
    status, body, cookie = await post(stack, "login", LOGIN, **{MODE_HEADER: "", "Origin": ""})
    assert (status, cookie) == (200, None)
    token = body["data"]["tokens"]["refresh_token"]
    status, body, cookie = await post(stack, "refresh", {"refresh_token": token}, **{MODE_HEADER: "", "Origin": ""})
    assert (status, cookie, bool(body["data"]["tokens"]["refresh_token"])) == (200, None, True)


async def test_reloads_and_tabs_share_the_login_and_no_script_can_read_it(stack: Stack) -> None:
    async with page_of(stack) as page:
        await log_in(page, "admin", ADMIN_PASSWORD)
        await page.wait_for_selector("[data-connection=live]")
        stored = await page.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
        assert stored == '["",{},{}]'
        tabs = [await page.context.new_page() for _ in range(3)]
        await asyncio.gather(page.reload(), *(tab.goto(page.url) for tab in tabs))
        for tab in (page, *tabs):
            await tab.wait_for_selector("[data-connection=live]")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.locator("input[name=password]")).to_be_visible()
        await tabs[0].reload()
        await expect(tabs[0].locator("input[name=password]")).to_be_visible()
        assert await page.context.cookies() == []


async def test_a_one_time_password_has_to_be_replaced_before_the_page_opens(stack: Stack) -> None:
    """A reload in between keeps the login, and asks again."""
    user = await stack.post("users", {"username": "vera", "password": "correct horse battery", "roles": ["viewer"]})
    admin = (await stack.post("auth/login", LOGIN))["tokens"]["access_token"]
    _, body = await stack.call("POST", f"users/{user['user_id']}/reset-password", token=admin, json={})
    async with page_of(stack) as page:
        await log_in(page, "vera", body["data"]["password"])
        await expect(page.get_by_label("New password")).to_be_visible()
        await page.reload()
        await expect(page.get_by_label("New password")).to_be_visible()
        await page.fill("input[name=password]", "password123")
        await page.click("button[type=submit]")
        await expect(page.get_by_role("alert")).to_contain_text("easy to guess")
        await page.fill("input[name=password]", NEW_PASSWORD)
        await page.click("button[type=submit]")
        await page.wait_for_selector("[data-connection=live]")
    assert (await post(stack, "login", {"username": "vera", "password": NEW_PASSWORD}))[0] == 200


async def empty_page(_: web.Request) -> web.Response:
    return web.Response(text="<p>another site", content_type="text/html")


async def test_a_page_of_another_site_cannot_end_the_session_of_a_browser(stack: Stack) -> None:
    """127.0.0.1 and localhost are different sites for a browser."""
    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/", empty_page)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with page_of(stack) as page:
            await log_in(page, "admin", ADMIN_PASSWORD)
            await page.wait_for_selector("[data-connection=live]")
            evil = await page.context.new_page()
            await evil.goto(f"http://localhost:{runner.addresses[0][1]}/")
            for path in ("refresh", "logout"):
                url = f"{page.url}api/v1/auth/{path}"
                async with evil.expect_event("request", lambda request, url=url: request.url == url):
                    # The browser sends it, and then keeps the answer from this page.
                    await evil.evaluate(
                        "url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}'})"
                        ".catch(() => null)",
                        url,
                    )
            await page.reload()
            await page.wait_for_selector("[data-connection=live]")
    finally:
        await runner.cleanup()

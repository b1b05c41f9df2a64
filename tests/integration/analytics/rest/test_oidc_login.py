"""The login of a browser through an identity provider, by the gateway's routes and on the real pages of both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.fixtures.analytics.stack import Stack
from tests.fixtures.browser import chromium, expect
from tests.fixtures.oidc.provider import NodeProvider

from countline_analytics.api.browser_login import COOKIE
from countline_analytics.api.oidc_login import LOGIN_COOKIE, START_PATH
from countline_common.access.oidc_redirects import GATEWAY_CALLBACK

if TYPE_CHECKING:
    from playwright.async_api import Page

MAPPING = "groups:\n  - {group: ops, role: operator}\n"


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def control_settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, object]:
    """A provider: the real one, or with `away` one that does not answer."""
    (tmp_path / "groups.yaml").write_text(MAPPING)
    if getattr(request, "param", "") == "away":
        return {"oidc_issuer": "http://127.0.0.1:1", "oidc_client_id": "countline", "oidc_name": "Example Id"}
    provider: NodeProvider = request.getfixturevalue("identity_provider")
    return {**provider.settings(tmp_path), "oidc_groups_file": tmp_path / "groups.yaml"}


away = pytest.mark.parametrize("control_settings", ["away"], indirect=True)


def gateway(stack: Stack) -> str:
    return f"http://{stack.addresses['gateway']}"


async def start(stack: Stack, **headers: str) -> tuple[int, dict[str, Any], Any]:
    """Status, body and cookie of a login that our own page begins."""
    sent = {"Origin": gateway(stack), **headers}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(f"{gateway(stack)}{START_PATH}", json={}, headers=sent) as response,
    ):
        return response.status, await response.json(), response.cookies.get(LOGIN_COOKIE)


async def come_back(stack: Stack, query: dict[str, str], cookie: str) -> tuple[int, str, Any]:
    """Status, location and cookies of the answer to what the provider sends the browser to."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        url, headers = f"{gateway(stack)}{GATEWAY_CALLBACK}", {"Cookie": f"{LOGIN_COOKIE}={cookie}"}
        async with session.get(url, params=query, headers=headers, allow_redirects=False) as response:
            return response.status, response.headers.get("Location", ""), response.cookies


async def test_the_callback_sets_the_cookie_of_the_session_and_leads_to_the_page(
    stack: Stack, identity_provider: NodeProvider
) -> None:
    status, body, cookie = await start(stack)
    assert (status, body["data"]["login"]) == (200, "")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (
        True, "Lax", "/api/v1/auth/oidc", "600",
    )  # fmt: skip
    answer = await identity_provider.answer(body["data"]["authorization_url"], "anna~ops")
    status, location, cookies = await come_back(stack, {**answer, "next": "https://evil.example"}, cookie.value)
    assert (status, location) == (303, "/")
    session = cookies[COOKIE]
    assert (session["httponly"], session["samesite"], session["path"]) == (True, "Strict", "/api/v1/auth")
    assert (cookies[LOGIN_COOKIE].value, cookies[LOGIN_COOKIE]["max-age"]) == ("", "0")
    headers = {"Origin": gateway(stack), "Cookie": f"{COOKIE}={session.value}", "X-Countline-Session": "cookie"}
    async with stack.session.post(f"{gateway(stack)}/api/v1/auth/refresh", json={}, headers=headers) as response:
        assert response.status == 200
    again = await come_back(stack, answer, cookie.value)
    assert again[1] == "/?login_error=unauthenticated", "an answer is good for one login"


async def test_another_browser_or_site_completes_nothing(stack: Stack, identity_provider: NodeProvider) -> None:
    """Otherwise an attacker could log a victim in as the attacker, or complete the login of a victim."""
    _, body, _ = await start(stack)
    answer = await identity_provider.answer(body["data"]["authorization_url"], "anna~ops")
    _, _, other = await start(stack)
    for cookie in ("", "x", other.value):
        status, location, cookies = await come_back(stack, answer, cookie)
        assert (status, location, COOKIE in cookies) == (303, "/?login_error=unauthenticated", False)
    assert (await start(stack, Origin="https://evil.example"))[0] == 403
    text = {"error": "<script>", "error_description": "call 0900", "state": "x"}
    assert (await come_back(stack, text, ""))[1] == "/?login_error=unauthenticated"


@away
async def test_while_the_provider_is_away_the_answer_says_so_and_a_password_works(stack: Stack) -> None:
    status, body, cookie = await start(stack)
    error = body["errors"][0]
    assert (status, error["code"], cookie) == (503, "UNAVAILABLE", None)
    assert "Example Id" in error["message"]
    assert "log in with a password" in error["hint"]
    login = {"username": "admin", "password": "correct horse battery"}
    assert (await stack.call("POST", "auth/login", token="", json=login))[0] == 200


@asynccontextmanager
async def page_of(stack: Stack) -> AsyncIterator["Page"]:
    async with chromium() as browser:
        page = await (await browser.new_context()).new_page()
        # The provider's pages ask for a font on the internet.
        await page.context.route("https://**", lambda route: route.abort())
        await page.goto(f"{gateway(stack)}/")
        yield page
        await page.context.close()


async def sign_in(page: "Page", person: str) -> None:
    """Log in on the provider's pages: first who one is, then consent."""
    await page.get_by_role("button", name="Sign in with Example Id").click()
    await page.fill("input[name=login]", person)
    await page.fill("input[name=password]", "any")
    await page.click("button[type=submit]")
    await page.get_by_role("button", name="Continue").click()


async def test_a_person_logs_in_on_the_pages_of_the_provider(stack: Stack) -> None:
    async with page_of(stack) as page:
        await sign_in(page, "anna~ops")
        await page.wait_for_selector("[data-connection=live]")
        assert page.url == f"{gateway(stack)}/"
        stored = await page.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
        assert stored == '["",{},{}]'
        await page.reload()
        await page.wait_for_selector("[data-connection=live]")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.locator("input[name=password]")).to_be_visible()


async def test_a_person_without_a_role_reads_why_in_plain_words(stack: Stack) -> None:
    async with page_of(stack) as page:
        await sign_in(page, "eve")
        await expect(page.get_by_role("alert")).to_contain_text("Your account has no access here")
        assert page.url == f"{gateway(stack)}/"
        await page.goto(f"{gateway(stack)}/?login_error=%3Cb%3Ecall%200900")
        await expect(page.get_by_role("alert")).to_have_text(
            "The login failed. Ask an administrator to look at the log of the server."
        )


@away
async def test_the_page_says_that_the_provider_does_not_answer(stack: Stack) -> None:
    async with page_of(stack) as page:
        await page.get_by_role("button", name="Sign in with Example Id").click()
        await expect(page.get_by_role("alert")).to_contain_text("log in with a password")
        await expect(page.locator("input[name=password]")).to_be_visible()

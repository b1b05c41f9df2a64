"""The second factor over REST and in the dashboard, with the real services behind the gateway."""

import time
from typing import TYPE_CHECKING, Any

import pytest
from pyotp import TOTP
from tests.fixtures.analytics.dashboard_page import log_in, page_of
from tests.fixtures.analytics.stack import Stack, until
from tests.fixtures.browser import expect

from countline_analytics.api.browser_login import COOKIE, MODE_HEADER

if TYPE_CHECKING:
    from playwright.async_api import Page

PASSWORD = "correct horse battery"


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


async def vera(stack: Stack, role: str = "viewer") -> None:
    await stack.post("users", {"username": "vera", "password": PASSWORD, "roles": [role]})


async def by_password(stack: Stack) -> dict[str, Any]:
    return await stack.post("auth/login", {"username": "vera", "password": PASSWORD})


async def enrolled(stack: Stack) -> tuple[TOTP, list[str]]:
    """Set up a second factor of vera over REST, with a code of the step before, so that the present one is unused."""
    token = (await by_password(stack))["tokens"]["access_token"]
    status, body = await stack.call("POST", "auth/factor", token=token, json={"password": PASSWORD})
    assert status == 200, body
    app = TOTP(body["data"]["secret"])
    code = app.at(int(time.time()) - 30)
    status, body = await stack.call("POST", "auth/factor/confirm", token=token, json={"code": code})
    assert status == 200, body
    return app, body["data"]["recovery_codes"]


async def test_a_login_over_rest_has_two_steps_and_the_cookie_comes_with_the_second(stack: Stack) -> None:
    await vera(stack)
    app, codes = await enrolled(stack)
    url = f"http://{stack.addresses['gateway']}"
    headers = {"Origin": url, MODE_HEADER: "cookie"}
    body = {"username": "vera", "password": PASSWORD}
    async with stack.session.post(f"{url}/api/v1/auth/login", json=body, headers=headers) as response:
        login = (await response.json())["data"]
        assert (response.status, response.cookies.get(COOKIE)) == (200, None)
    assert set(login) == {"second_factor"}
    challenge = login["second_factor"]["challenge"]
    status, refused = await stack.call("POST", "auth/login/factor", json={"challenge": challenge, "code": "000000"})
    assert (status, refused["errors"][0]["message"]) == (401, "the code is wrong")
    assert (await stack.call("GET", "auth/me", token=challenge))[0] == 401
    body = {"challenge": challenge, "code": app.now()}
    async with stack.session.post(f"{url}/api/v1/auth/login/factor", json=body, headers=headers) as response:
        done = (await response.json())["data"]
        cookie = response.cookies.get(COOKIE)
        stack.session.cookie_jar.clear()
    assert cookie is not None
    assert (cookie["httponly"], done["tokens"]["refresh_token"]) == (True, "")
    status, shown = await stack.call("GET", "auth/factor", token=done["tokens"]["access_token"])
    assert (status, shown["data"]["enabled"], shown["data"]["recovery_codes_left"]) == (200, True, len(codes))


async def enrol(page: "Page") -> TOTP:
    """Set up a second factor in the page, from the password on."""
    await page.fill(".factor-form input[name=password]", PASSWORD)
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("img", name="QR code for an authenticator app")).to_be_visible()
    app = TOTP(await page.locator(".secret").inner_text())
    await page.fill(".factor-form input[name=code]", "000000")
    await page.get_by_role("button", name="Switch on").click()
    await expect(page.get_by_role("alert")).to_contain_text("code is wrong")
    await page.fill(".factor-form input[name=code]", app.at(int(time.time()) - 30))
    await page.get_by_role("button", name="Switch on").click()
    return app


async def test_the_page_enrols_asks_for_codes_and_switches_off(stack: Stack) -> None:
    await vera(stack)
    async with page_of(stack) as page:
        await log_in(page, "vera", PASSWORD)
        await page.wait_for_selector("[data-connection=live]")
        await page.get_by_role("button", name="Account").click()
        await page.get_by_role("button", name="Set up").click()
        app = await enrol(page)
        codes = (await page.locator(".codes").inner_text()).split()
        await page.get_by_role("button", name="I have stored them").click()
        await expect(page.get_by_text(f"{len(codes)} recovery codes are left")).to_be_visible()
        await page.get_by_role("button", name="Close").click()
        await page.get_by_role("button", name="Log out").click()
        await log_in(page, "vera", PASSWORD)
        await expect(page.get_by_label("Code of your authenticator app")).to_be_focused()
        await page.fill("input[name=code]", "000000")
        await page.click("button[type=submit]")
        await expect(page.get_by_role("alert")).to_contain_text("the code is wrong")
        await page.fill("input[name=code]", app.now())
        await page.click("button[type=submit]")
        await page.wait_for_selector("[data-connection=live]")
        await page.get_by_role("button", name="Account").click()
        await page.get_by_role("button", name="Switch off").click()
        # The form moves the focus there once it is drawn; text typed elsewhere at that moment would go there too.
        await expect(page.locator(".factor-form input[name=code]")).to_be_focused()
        await page.fill(".factor-form input[name=password]", PASSWORD)
        await page.fill(".factor-form input[name=code]", codes[0])
        await page.locator(".factor-form").get_by_role("button", name="Switch off").click()
        await expect(page.get_by_role("button", name="Set up")).to_be_visible()
    assert "tokens" in await by_password(stack)


async def test_the_page_leads_to_enrolment_where_a_role_requires_it(stack: Stack) -> None:
    await vera(stack, "operator")
    unknown = {"value": "operator,nobody"}
    status, refused = await stack.call("PUT", "settings/second_factor_roles", json=unknown)
    assert (status, "nobody" in refused["errors"][0]["message"]) == (400, True)
    assert (await stack.call("PUT", "settings/second_factor_roles", json={"value": "operator"}))[0] == 200

    async def acts() -> bool:
        return (await by_password(stack))["user"]["must_set_up_second_factor"]

    await until(acts)
    async with page_of(stack) as page:
        await log_in(page, "vera", PASSWORD)
        await expect(page.get_by_text("Your role requires a second factor")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("Your role requires a second factor")).to_be_visible()
        await enrol(page)
        await page.get_by_role("button", name="I have stored them").click()
        await page.wait_for_selector("[data-connection=live]")
    assert "second_factor" in await by_password(stack)

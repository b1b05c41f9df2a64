"""Registration over REST and in the page that the link of an invite opens."""

import pytest
from tests.fixtures.analytics.dashboard_page import page_of
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, until
from tests.fixtures.browser import expect

PASSWORD = "three uncommon turnips"


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


async def admin(stack: Stack) -> str:
    login = {"username": "admin", "password": ADMIN_PASSWORD}
    return (await stack.post("auth/login", login))["tokens"]["access_token"]


async def permit(stack: Stack, mode: str) -> None:
    """Set who may register, and wait until it acts."""
    assert (await stack.call("PUT", "settings/registration", json={"value": mode}))[0] == 200

    async def acts() -> bool:
        status, _ = await stack.call("POST", "auth/register", json={"username": "", "invite_token": "x"})
        return status == 401  # the invite is wrong; 409 while registration is closed

    await until(acts)


async def test_an_invite_over_rest(stack: Stack) -> None:
    token = await admin(stack)
    wanted = {"username": "vera", "password": PASSWORD}
    assert (await stack.call("POST", "auth/register", json=wanted))[0] == 409
    assert (await stack.call("POST", "invites", token=token, json={"roles": ["viewer"]}))[0] == 409
    await permit(stack, "invite")
    status, body = await stack.call("POST", "invites", token=token, json={"roles": ["viewer"]})
    assert status == 201, body
    invite = body["data"]
    status, body = await stack.call("POST", "auth/register", json={**wanted, "invite_token": invite["token"]})
    assert (status, body["data"]["username"], body["data"]["roles"]) == (200, "vera", ["viewer"])
    assert "tokens" in await stack.post("auth/login", wanted)
    _, body = await stack.call("POST", "invites", token=token, json={"roles": ["viewer"]})
    path = f"invites/{body['data']['invite_id']}"
    assert (await stack.call("DELETE", path, token=token))[0] == 200
    assert (await stack.call("DELETE", path, token=token))[0] == 404
    status, body = await stack.call("GET", "invites", token=token)
    assert (status, body["data"]["invites"]) == (200, [])


async def test_the_link_opens_a_page_that_creates_the_account_and_no_request_carries_the_token(stack: Stack) -> None:
    token = await admin(stack)
    await permit(stack, "invite")
    _, body = await stack.call("POST", "invites", token=token, json={"roles": ["viewer"]})
    invite = body["data"]["token"]
    async with page_of(stack) as page:
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url.partition("#")[0]))
        await page.goto("about:blank")
        await page.goto(f"http://{stack.addresses['gateway']}/#invite={invite}")
        await page.fill("input[name=username]", "admin")
        await page.fill("input[name=password]", PASSWORD)
        await page.get_by_role("button", name="Create account").click()
        await expect(page.get_by_role("alert")).to_contain_text("already exists")
        await page.fill("input[name=username]", "vera")
        await page.fill("input[name=password]", "password123")
        await page.get_by_role("button", name="Create account").click()
        await expect(page.get_by_role("alert")).to_contain_text("easy to guess")
        await page.fill("input[name=password]", PASSWORD)
        await page.get_by_role("button", name="Create account").click()
        await page.wait_for_selector("[data-connection=live]")
        assert "#" not in page.url
        assert addresses
        assert not [each for each in addresses if invite in each]


async def test_open_registration_in_the_page_makes_a_guest(stack: Stack) -> None:
    await permit(stack, "open")
    async with page_of(stack) as page:
        await page.goto("about:blank")
        await page.goto(f"http://{stack.addresses['gateway']}/#register")
        await page.fill("input[name=username]", "gus")
        await page.fill("input[name=password]", PASSWORD)
        await page.get_by_role("button", name="Create account").click()
        await expect(page.get_by_role("button", name="Log out")).to_be_visible()
    login = await stack.post("auth/login", {"username": "gus", "password": PASSWORD})
    assert login["user"]["roles"] == ["guest"]

"""What the page does with good and bad days of a gateway."""

import asyncio
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.browser import expect
from tests.fixtures.dashboard.answers import rfc3339
from tests.fixtures.dashboard.fake_gateway import FakeGateway
from tests.fixtures.dashboard.scenes import SCENES
from tests.fixtures.dashboard.visit import Visit, visit

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_wrong_password_is_refused_in_plain_words(browser: "Browser") -> None:
    async with visit(browser, FakeGateway()) as one:
        await one.page.goto(one.url)
        await one.page.fill("input[name=password]", "wrong")
        await one.page.click("button[type=submit]")
        await expect(one.page.get_by_role("alert")).to_have_text("User name or password is wrong.")
        await expect(one.page.locator("input[name=password]")).to_be_focused()


async def test_a_reload_keeps_the_login_and_logging_out_forgets_it(dashboard: Visit) -> None:
    page = dashboard.page
    await page.reload()
    await page.wait_for_selector("[data-connection=live]")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.locator("input[name=password]")).to_be_visible()
    await page.reload()
    await expect(page.locator("input[name=password]")).to_be_visible()
    assert dashboard.gateway.sessions.refresh_tokens == set()


async def test_counters_move_with_each_crossing_and_the_title_shows_the_total(dashboard: Visit) -> None:
    page, gateway = dashboard.page, dashboard.gateway
    before = await dashboard.count("entrance", "door", "in")
    await gateway.cross("entrance", "door", "in")
    await gateway.cross("entrance", "door", "out")
    await dashboard.until_counts_agree()
    assert await dashboard.count("entrance", "door", "in") == before + 1
    total = sum(totals["in"] + totals["out"] for totals in gateway.ledger.totals.values())
    await page.wait_for_function(
        "total => document.title.startsWith(`${total} today, 100 % covered`)", arg=f"{total:,}"
    )


async def test_every_crossing_is_timed_from_its_decision_to_the_paint(dashboard: Visit) -> None:
    for _ in range(5):
        row = await dashboard.gateway.cross("entrance", "door", "in")
    await dashboard.page.wait_for_function("() => window.countlineLatency.length === 5")
    last = (await dashboard.page.evaluate("window.countlineLatency"))[-1]
    assert last["decided_at"] == pytest.approx(row["decided_at"])
    assert last["t"] < last["decided_at"] < last["received_at"] <= last["shown_at"] < time.time()


async def test_no_crossing_is_lost_or_counted_twice_however_often_the_socket_is_cut(dashboard: Visit) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    chance = random.Random(7)
    for _ in range(12):
        for _ in range(chance.randrange(4)):
            await gateway.cross("entrance", "door", chance.choice(["in", "out"]))
        await gateway.sockets.cut()
        for _ in range(chance.randrange(1, 4)):
            await gateway.cross("square", "north-south", chance.choice(["in", "out"]))
        # The browser learns that the network is back, so that the waits of the back-off need not be sat out.
        await page.wait_for_selector("[data-connection=waiting]")
        await page.evaluate("window.dispatchEvent(new Event('online'))")
        await page.wait_for_selector("[data-connection=live]")
    await dashboard.until_counts_agree()
    health = await page.evaluate("window.countlineStream")
    assert health["snapshots"] == 1, "each break is resumed by rows, not hidden by a new snapshot"


async def test_a_row_that_got_lost_is_fetched_again(dashboard: Visit) -> None:
    dashboard.gateway.sockets.lose_row()
    for _ in range(3):
        await dashboard.gateway.cross("dock", "gate", "in")
    await dashboard.until_counts_agree()
    assert await dashboard.page.evaluate("window.countlineStream") == {"snapshots": 1, "gaps": 1, "contradictions": 0}


async def test_totals_that_do_not_follow_are_replaced_by_a_new_snapshot(dashboard: Visit) -> None:
    await dashboard.gateway.cross("dock", "gate", "in", lie=3)
    await dashboard.until_counts_agree()
    assert await dashboard.page.evaluate("window.countlineStream") == {"snapshots": 2, "gaps": 0, "contradictions": 1}


async def test_rows_that_are_too_old_to_resume_come_as_a_snapshot(dashboard: Visit) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    gateway.sockets.refuse = True
    await gateway.sockets.cut()
    await page.wait_for_selector("[data-connection=waiting]")
    for _ in range(9):
        await gateway.cross("ramp", "barrier", "out")
    gateway.forget_rows()
    gateway.sockets.refuse = False
    await dashboard.until_counts_agree()
    assert (await page.evaluate("window.countlineStream"))["snapshots"] == 2


async def test_the_page_says_that_counters_stand_still_while_it_is_cut_off(dashboard: Visit) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    gateway.sockets.refuse = True
    await gateway.sockets.cut()
    await expect(page.locator(".link")).to_contain_text("Not connected, retrying in")
    await expect(page.locator(".link")).to_contain_text("counters as of")
    await expect(page.get_by_role("status")).to_contain_text("Connection lost")
    gateway.sockets.refuse = False
    await page.wait_for_selector("[data-connection=live]", timeout=20_000)
    await expect(page.locator(".link")).to_have_text("Live")


async def test_a_failed_camera_says_what_is_wrong_and_what_to_do(dashboard: Visit) -> None:
    error = {
        "code": "unauthorized",
        "message": "rtsp://gate/1 refused the password",
        "hint": "set it: countline cameras set ramp --source …",
    }
    await dashboard.gateway.set_status("ramp", state="failed", error=error, processed_fps=0.0)
    card = dashboard.page.locator("[data-camera=ramp]")
    await expect(card).to_have_attribute("data-state", "failed")
    await expect(card.locator("[data-error=unauthorized]")).to_contain_text("refused the password")
    await expect(card.locator("[data-error=unauthorized]")).to_contain_text("countline cameras set ramp")
    await expect(dashboard.page.get_by_role("status")).to_contain_text("Camera ramp: failed")


async def test_a_running_camera_that_is_not_reported_any_more_is_not_called_running(dashboard: Visit) -> None:
    await dashboard.gateway.set_status("dock", state="running")
    status = dashboard.gateway.statuses["dock"]
    status["reported_at"] = rfc3339(time.time() - 60)
    await dashboard.gateway.sockets.send("status", {"type": "status", "camera_id": "dock", "observed": status})
    await expect(dashboard.page.locator("[data-camera=dock]")).to_have_attribute("data-state", "silent")


async def test_counted_and_true_stand_side_by_side_and_their_difference_is_named(dashboard: Visit) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    for _ in range(4):
        await gateway.cross("entrance", "door", "in")
    checked = page.locator("[data-camera=entrance] [data-checked=in]")
    await expect(checked).to_have_attribute("data-true", "4")
    await expect(checked).to_contain_text("4 / 4")
    await expect(checked).to_contain_text("agree")
    gateway.missed["entrance", "in"] = 2
    await expect(checked).to_contain_text("4 / 6")
    await expect(checked).to_contain_text("2 missed")
    await expect(page.locator("[data-camera=entrance] [data-checked=out]")).to_contain_text("agree")


async def test_a_camera_without_a_truth_makes_no_claim(browser: "Browser") -> None:
    gateway = FakeGateway()
    gateway.has_truth = False
    async with visit(browser, gateway) as one:
        await one.log_in()
        await one.until_counts_agree()
        assert await one.page.locator("[data-checked]").count() == 0


async def test_a_query_that_fails_is_said_and_the_page_recovers(dashboard: Visit) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    gateway.broken["analytics/verify"] = 503
    alert = page.locator("[data-trouble=verify]")
    await expect(alert).to_contain_text("The database does not answer. (request req-7f3a)")
    await gateway.cross("entrance", "door", "in")
    await dashboard.until_counts_agree()
    gateway.broken.clear()
    await expect(alert).to_have_count(0, timeout=15_000)


async def test_uncovered_time_is_hatched_and_partly_covered_time_too(browser: "Browser") -> None:
    def coverage(minute: float) -> float:
        ago_min = (time.time() - minute) / 60
        return 0.0 if 20 <= ago_min < 30 else 0.5 if 30 <= ago_min < 32 else 1.0

    async with visit(browser, FakeGateway(covered_since=coverage)) as one:
        await one.log_in()
        chart = one.page.locator("[data-chart=entrance]")
        await expect(chart.locator("[data-gap=none]")).to_have_attribute("data-buckets", "10")
        await expect(chart.locator("[data-gap=part]")).to_have_attribute("data-buckets", "2")
        assert await chart.locator(".bars").count() in {50, 51}, (
            "a bucket that nobody saw has no bar, not a bar of zero"
        )
        assert await chart.locator(".bars.provisional").count() in {1, 2}, "this minute, and at first the one before"
        share = float(await chart.locator("[data-sum-coverage]").get_attribute("data-sum-coverage") or "nan")
        assert share == pytest.approx(49 / 60, abs=0.02)


async def test_the_chart_can_be_walked_through_by_keyboard_and_read_as_a_table(dashboard: Visit) -> None:
    page = dashboard.page
    await page.locator(".plot svg").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator(".readout")).to_contain_text(" to ")
    await expect(page.locator(".readout")).to_contain_text("covered")
    await page.get_by_role("button", name="Show as table").click()
    assert await page.locator(".buckets tbody tr").count() in {60, 61}


async def test_ranges_offer_only_buckets_that_can_be_read(dashboard: Visit) -> None:
    page = dashboard.page
    await page.get_by_label("7d", exact=True).check()
    await expect(page.locator("#chart-title")).to_contain_text("Crossings per hour")
    await expect(page.get_by_label("1m", exact=True)).to_be_disabled()
    await page.wait_for_function("() => document.querySelectorAll('.bars').length >= 7 * 24")


async def test_pictures_are_asked_for_only_while_somebody_sees_them(browser: "Browser") -> None:
    async with visit(browser, FakeGateway(), width=390, height=600) as one:
        await one.log_in()
        page, gateway = one.page, one.gateway
        await page.wait_for_selector("[data-camera=entrance] [data-picture=live]")

        def watched() -> set[str]:
            return {
                channel
                for client in gateway.sockets.clients
                for channel in client.channels
                if channel.startswith("preview:")
            }

        assert "preview:dock" not in watched()
        await page.locator("[data-camera=dock]").scroll_into_view_if_needed()
        await page.wait_for_selector("[data-camera=dock] [data-picture=live]")
        async with asyncio.timeout(20):
            while "preview:entrance" in watched():  # noqa: ASYNC110  the gateway's channels are a plain set
                await asyncio.sleep(0.02)


async def test_the_drawn_picture_shows_the_camera_and_not_a_blank(dashboard: Visit) -> None:
    await dashboard.page.wait_for_selector("[data-camera=square] [data-picture=live]")
    colours = await dashboard.page.evaluate(
        """async () => {
            const canvas = document.querySelector('[data-camera=square] canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const seen = new Set();
            const coarse = value => value >> 3;
            for (let i = 0; i < data.length; i += 4) seen.add(data.slice(i, i + 3).map(coarse).join());
            return seen.size;
        }"""
    )
    assert colours > 50


async def test_a_login_that_the_server_forgot_is_renewed_without_asking(dashboard: Visit) -> None:
    gateway, page = dashboard.gateway, dashboard.page
    gateway.sessions.access_tokens.clear()
    await gateway.sockets.cut()
    await page.wait_for_selector("[data-connection=waiting]")
    await page.wait_for_selector("[data-connection=live]", timeout=15_000)
    await gateway.cross("entrance", "door", "in")
    await dashboard.until_counts_agree()


async def test_a_session_that_has_ended_leads_to_the_login_form_and_says_so(dashboard: Visit) -> None:
    dashboard.gateway.sessions.access_tokens.clear()
    dashboard.gateway.sessions.refresh_tokens.clear()
    await expect(dashboard.page.get_by_role("alert")).to_contain_text("Session expired")
    await expect(dashboard.page.locator("input[name=password]")).to_be_visible()


async def test_without_cameras_the_page_says_how_to_add_one(browser: "Browser") -> None:
    async with visit(browser, FakeGateway(scenes=())) as one:
        await one.log_in()
        await expect(one.page.locator(".empty")).to_contain_text("countline cameras add")


@pytest.mark.parametrize("width", [360, 834, 1280, 1920])
async def test_nothing_sticks_out_at_the_side(browser: "Browser", width: int) -> None:
    async with visit(browser, FakeGateway(), width=width, height=800) as one:
        await one.log_in()
        await one.page.wait_for_selector(".bars", state="attached")
        assert await one.page.evaluate("document.documentElement.scrollWidth") <= width


HOSTILE_NAMES = (
    "W" * 200,
    "\u05e9\u05dc\u05d5\u05dd " * 40,
    "Shop [/b] <img src=x onerror=document.title='taken'> {{1+1}} %s",
    "\u6771\u4eac\u3000\u5e97" * 40,
)


@pytest.mark.parametrize("width", [360, 1280])
async def test_names_of_any_kind_neither_hide_the_counts_nor_run(browser: "Browser", width: int) -> None:
    """A title of 200 letters without a blank pushed the counts out of their card, and the page to 2,500 pixels."""
    scenes = tuple(replace(scene, title=title) for scene, title in zip(SCENES, HOSTILE_NAMES, strict=True))
    async with visit(browser, FakeGateway(scenes), width=width, height=800) as one:
        await one.log_in()
        await one.page.wait_for_selector(".bars", state="attached")
        assert await one.page.evaluate("document.documentElement.scrollWidth") <= width
        assert await one.page.locator(".card img").count() == 0
        for scene in scenes:
            card = one.page.locator(f"[data-camera={scene.camera_id}]")
            await expect(card.locator("h2")).to_have_text(scene.title.strip())
            inside, counts = await card.bounding_box(), await card.locator("[data-direction=out]").first.bounding_box()
            assert inside is not None
            assert counts is not None
            assert counts["x"] + counts["width"] <= inside["x"] + inside["width"]
        assert "taken" not in await one.page.title()

"""The page on a real system: `countline up` with its demo cameras, looked at as a newcomer does."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from tests.fixtures.dashboard.visit import CHROMIUM

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.timeout(420),
]

COUNTLINE = Path(sys.executable).with_name("countline")
READY_WITHIN_S = 150
VERIFIED_AT_LEAST_S = 30
CAMERAS = 4

EVERY_CAMERA_IS_VERIFIED = """([cameras, seconds]) => {
    const rows = [...document.querySelectorAll("[data-verified-s]")];
    const cards = new Set(rows.map(row => row.closest("[data-camera]").dataset.camera));
    const seen = rows.every(row => Number(row.dataset.verifiedS) >= seconds);
    const crossed = camera => [...document.querySelectorAll(`[data-camera="${camera}"] [data-true]`)]
        .some(cell => Number(cell.dataset.true) > 0);
    return cards.size === cameras && seen && [...cards].every(crossed);
}"""
HELD_AGAINST_THE_DATABASE = """async () => {
    const cookie = { "content-type": "application/json", "x-countline-session": "cookie" };
    const login = await fetch("/api/v1/auth/refresh", { method: "POST", headers: cookie, body: "{}" });
    const { tokens } = (await login.json()).data;
    const headers = { authorization: `Bearer ${tokens.access_token}` };
    const shown = () => {
        const all = {};
        for (const cell of document.querySelectorAll("[data-count]")) {
            const camera = cell.closest("[data-camera]").dataset.camera;
            const line = cell.closest("[data-line]").dataset.line;
            (all[`${camera}/${line}`] ??= {})[cell.dataset.direction] = Number(cell.dataset.count);
        }
        return all;
    };
    const stored = async () => {
        const start = new Date(Date.now() - 1000).toISOString();
        const answer = await fetch(`/api/v1/analytics/counts?bucket=1d&start=${start}`, { headers });
        const { data } = await answer.json();
        return Object.fromEntries(data.buckets.map(b => [`${b.camera_id}/${b.line_id}`, { in: b.in, out: b.out }]));
    };
    // Crossings go on all the time: the two are held against each other when none came in between.
    for (let i = 0; i < 100; i++) {
        const before = JSON.stringify(shown());
        const held = await stored();
        await new Promise(done => setTimeout(done, 500));
        const now = shown();
        if (JSON.stringify(now) !== before) continue;
        const differs = line => JSON.stringify(now[line]) !== JSON.stringify(held[line]);
        return Object.keys(now).filter(differs).map(line => [line, now[line], held[line]]);
    }
    return "never quiet for half a second";
}"""


@dataclass(frozen=True)
class System:
    """A running `countline up`."""

    url: str
    password: str


def _status(data: Path) -> dict[str, object]:
    command = [COUNTLINE, "status", "--json", "--data", data]
    said = subprocess.run(command, capture_output=True, check=False, timeout=30).stdout
    found: dict[str, object] = json.loads(said) if said.strip() else {}
    return found


def _ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> dict[str, object]:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"countline up ended:\n{log.read_text()[-4000:]}"
        status = _status(data)
        if status.get("ready"):
            return status
        time.sleep(0.5)
    raise TimeoutError(f"not ready after {READY_WITHIN_S} s:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Starts everything on a data folder of its own, on any free ports, and stops it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium-headless-shell)")
    # Short, since the path of a Unix socket has at most 107 characters.
    data = Path(tempfile.mkdtemp(prefix="countline-"))
    log = data / "up-of-test.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [COUNTLINE, "up", "--data", data, "--any-ports"], stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = _ready(process, data, log)
            yield System(str(status["url"]), (data / "credentials" / "admin-password").read_text().strip())
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=30)
            shutil.rmtree(data, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def page(browser: Browser, system: System) -> AsyncIterator[Page]:
    """The page, logged in through its form."""
    context = await browser.new_context(viewport={"width": 1440, "height": 960}, color_scheme="dark")
    page = await context.new_page()
    await page.goto(system.url)
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", system.password)
    await page.click("button[type=submit]")
    await page.wait_for_selector("[data-connection=live]")
    yield page
    await context.close()


async def test_a_newcomer_sees_four_running_cameras_with_live_pictures(page: Page) -> None:
    await expect(page.locator("[data-state=running]")).to_have_count(CAMERAS, timeout=90_000)
    await expect(page.locator("[data-picture=live]")).to_have_count(CAMERAS, timeout=30_000)


async def test_counted_equals_true_on_every_camera_in_both_directions(page: Page, screenshots: Path) -> None:
    await page.wait_for_function(EVERY_CAMERA_IS_VERIFIED, arg=[CAMERAS, VERIFIED_AT_LEAST_S], timeout=180_000)
    await page.screenshot(path=screenshots / "real-system.png", full_page=True)
    cells = await page.eval_on_selector_all(
        "[data-checked]",
        "cells => cells.map(cell => ({ camera: cell.closest('[data-camera]').dataset.camera, ...cell.dataset }))",
    )
    assert all(int(cell["counted"]) == int(cell["true"]) - int(cell["missed"]) + int(cell["false"]) for cell in cells)
    wrong = [cell for cell in cells if cell["missed"] != "0" or cell["false"] != "0"]
    assert wrong == [], f"frames dropped: {await _dropped_frames(page)}"


async def test_the_counters_are_those_of_the_database(page: Page) -> None:
    """The page's totals, fed row by row, against the buckets of today, summed by the database, at the same moment."""
    await page.wait_for_function("() => window.countlineLatency.length > 0")
    difference = await page.evaluate(HELD_AGAINST_THE_DATABASE)
    assert difference == []


async def _dropped_frames(page: Page) -> list[str]:
    """Frames that each camera dropped since its start; where frames are dropped, counts may be wrong."""
    return await page.locator(".vitals div:last-child dd").all_text_contents()

"""A browser, the built page and a gateway that breaks on demand."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright
from tests.e2e.dashboard.fake_gateway import PASSWORD, STATIC, FakeGateway

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium; skips where there is none, or where the page is not built."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the dashboard is not built (make dashboard)")
    async with async_playwright() as playwright:
        # Root has no sandbox of its own in a container, and CI runs as root.
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        await started.close()


@dataclass
class Visit:
    """One gateway and one page that looks at it."""

    gateway: FakeGateway
    page: Page
    url: str

    async def log_in(self) -> None:
        await self.page.goto(self.url)
        await self.page.fill("input[name=password]", PASSWORD)
        await self.page.click("button[type=submit]")
        await self.page.wait_for_selector("[data-connection=live]")
        await self.page.wait_for_selector("[data-total-in]")

    async def count(self, camera: str, line: str, direction: str) -> int:
        cell = self.page.locator(f"[data-camera={camera}] [data-line={line}] [data-direction={direction}]")
        return int(await cell.get_attribute("data-count") or -1)

    async def until_counts_agree(self) -> None:
        """Waits until the page shows, for each line, what the gateway has."""
        wanted = {f"{camera}/{line}": dict(totals) for (camera, line), totals in self.gateway.totals.items()}
        await self.page.wait_for_function(
            """wanted => Object.entries(wanted).every(([name, totals]) => {
                const [camera, line] = name.split("/");
                const row = document.querySelector(`[data-camera="${camera}"] [data-line="${line}"]`);
                const shown = way => row?.querySelector(`[data-direction=${way}]`)?.dataset.count;
                return ["in", "out"].every(way => shown(way) === String(totals[way]));
            })""",
            arg=wanted,
            timeout=15_000,
        )


@asynccontextmanager
async def visit(
    browser: Browser, gateway: FakeGateway, *, width: int = 1440, height: int = 900
) -> AsyncIterator[Visit]:
    """Serves the gateway on a free port and opens a page; fails on errors in the page that no test asked for."""
    runner = web.AppRunner(gateway.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    context = await browser.new_context(viewport={"width": width, "height": height})
    page = await context.new_page()
    wrong: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # Requests that fail on purpose are written there too; a breach of the security policy is never on purpose.
        if "Content Security Policy" in message.text:
            wrong.append(message.text)

    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", heard)
    try:
        yield Visit(gateway, page, f"http://127.0.0.1:{port}/")
    finally:
        await context.close()
        await runner.cleanup()
    assert wrong == []


@pytest_asyncio.fixture(loop_scope="module")
async def dashboard(browser: Browser) -> AsyncIterator[Visit]:
    """A page that is logged in to a gateway of its own."""
    async with visit(browser, FakeGateway()) as one:
        await one.log_in()
        yield one


@pytest.fixture
def screenshots(request: pytest.FixtureRequest) -> Path:
    """Where pictures for people to look at are kept."""
    folder = request.config.rootpath / ".benchmarks" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
